"""Which clips show only people who were held back."""

from kept_crops import site

from pipeline.fitting.facts import Piece, SiteFacts
from pipeline.fitting.fit import fit_site_settings
from pipeline.fitting.held_back import clips_of_numbers
from pipeline.fitting.threshold import HELD_BACK, LEARNED_FROM

TRACKS = [("a", 1, 1, 0, 10, 100), ("a", 2, 2, 0, 10, 300)]


def facts_of(footage, store, pieces):
    """`(track's place, first crop, crop after the last, number)` each."""
    keys = [track.key for track in footage.tracklets]
    made = [
        Piece(keys[i]._replace(epoch=f"1/piece {first}"), store.crops_of(keys[i])[first:last])
        for i, first, last, _ in pieces
    ]
    return SiteFacts(tuple(made), tuple(number for *_, number in pieces), frozenset(), {})


def test_a_clip_belongs_to_the_fold_that_holds_every_piece_that_it_shows():
    footage, store = site(TRACKS)
    facts = facts_of(footage, store, [(0, 0, 10, 0), (0, 10, 20, 1), (1, 0, 20, 2)])
    first, second, both = clips_of_numbers(footage, facts, [[0, 2], [1], [0, 1]])
    assert {clip.key.track_id for clip in first} == {1, 2}
    assert all(clip.end_s <= 4.5 for clip in first if clip.key.track_id == 1)
    assert all(clip.start_s >= 5.0 for clip in second)
    crossing = [clip for clip in footage.clips if clip.key.track_id == 1 and clip.start_s <= 4.5 and clip.end_s >= 5.0]
    assert crossing and not {id(c) for c in crossing} & {id(c) for c in first + second}
    assert {id(c) for c in crossing} <= {id(c) for c in both}


def test_what_shows_no_piece_and_a_fold_of_nobody_give_no_clips():
    footage, store = site(TRACKS)
    facts = facts_of(footage, store, [(0, 0, 20, 0)])
    nobody, held = clips_of_numbers(footage, facts, [[], [0]])
    assert nobody == []
    assert {clip.key.track_id for clip in held} == {1}
    assert clips_of_numbers(footage, facts, []) == []


def test_the_threshold_comes_from_the_held_back_where_they_are_enough_else_from_all_with_a_warning():
    from pipeline.config import CameraConfig, Config

    tracks = [("a", n, n, 0, 40, 100 * n) for n in range(1, 7)]
    footage, _ = site(tracks)
    config = Config(cameras=(CameraConfig("a", "a.mp4"),))
    groups = [[clip for clip in footage.clips if clip.key.track_id % 2 == odd] for odd in (0, 1)]
    enough = fit_site_settings(footage, config, None, None, held_back=groups)
    assert enough.threshold.chosen_on == HELD_BACK
    assert enough.threshold.different < fit_site_settings(footage, config, None, None).threshold.different
    for little in ([], [groups[0][:1]]):
        fit = fit_site_settings(footage, config, None, None, held_back=little)
        assert fit.threshold.chosen_on == LEARNED_FROM
        assert fit.threshold.threshold is not None
        assert "may be too large for others" in fit.warnings[0]

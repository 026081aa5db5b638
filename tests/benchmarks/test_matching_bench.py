"""The matching benchmark: figures of ids that are known by hand, thresholds, sites, and the whole way."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from matching.judging import Figures, Links, SiteJudge, final_ids, said
from matching.operating import operating_place, rate_rows, summed
from matching.ours import match, match_quickly, stored_threshold
from matching.sites import BOXES, Footage, Site, real_footage, recording_folder, sites_of
from matching.sweeping import (
    CEILING,
    CLUSTERING,
    FACTORS,
    GREEDY,
    OURS,
    STORED,
    WITH_CLIPS,
    Line,
    Point,
    SiteReport,
    Sweep,
    chosen_elsewhere,
    ids_by_truth,
    report,
    sweep,
)
from matching.tables import details_table, rates_table, summary_table, verdict
from matching.tracks import SiteTracks, read_tracks
from matching_site import A1, A2, B1, B2, FPS, MODEL, PEOPLE, said_all, tiny_site

from pipeline.config import Config
from pipeline.types import Tick


@pytest.fixture(scope="module")
def tracks(tmp_path_factory: pytest.TempPathFactory) -> SiteTracks:
    return read_tracks(tiny_site(tmp_path_factory.mktemp("tiny")))


@pytest.fixture(scope="module")
def judge(tracks: SiteTracks) -> SiteJudge:
    return SiteJudge(tracks)


# -- figures ----------------------------------------------------------------------------------------------------------


def test_a_recording_is_read_as_the_replay_delivers_it(tracks: SiteTracks) -> None:
    times = [m.at_s for m in tracks.messages if isinstance(m, Tick)]
    assert all(earlier <= later for earlier, later in pairwise(times))
    assert sorted(tracks.clips) == sorted(PEOPLE)
    assert [len(of_track) for _, of_track in sorted(tracks.clips.items())] == [5, 5, 5, 4]
    assert tracks.fps == FPS and tracks.model_id == MODEL


def test_tracks_show_the_people_they_lie_on(judge: SiteJudge) -> None:
    assert judge.people_of_tracks == PEOPLE
    assert judge.people == 2


def test_right_ids_score_as_the_ceiling_does(judge: SiteJudge) -> None:
    right, ceiling = judge.figures(said_all(PEOPLE, -1.0)), judge.ceiling()
    assert right.idf1 == ceiling.idf1 == pytest.approx(1.0)
    assert right.links == ceiling.links == Links(2, 0, 0)
    assert (right.identities, right.at_once) == (2, 0)
    assert right.online_idf1 == pytest.approx(1.0)


def test_an_id_a_track_misses_every_link_and_halves_the_score(judge: SiteJudge) -> None:
    figures = judge.figures(said_all({A1: 1, A2: 2, B1: 3, B2: 4}), online=False)
    assert figures.links == Links(0, 0, 2)
    assert figures.idf1 == pytest.approx(100 / 190)  # 50 of person 1 and 50 of person 2, of 190 boxes
    assert figures.online_idf1 is None


def test_exchanged_ids_are_false_and_missed_links(judge: SiteJudge) -> None:
    assert judge.figures(said_all({A1: 1, A2: 2, B1: 2, B2: 1})).links == Links(0, 2, 2)


def test_what_is_said_late_costs_online_only(judge: SiteJudge) -> None:
    late = judge.figures(said_all(PEOPLE, 4.0))
    assert late.idf1 == pytest.approx(1.0)
    assert late.online_idf1 is not None and late.online_idf1 < 0.9


def test_two_people_under_one_id_at_one_time_are_counted(judge: SiteJudge) -> None:
    assert judge.at_once(said_all({A1: 1, A2: 1, B1: 2, B2: 3})) == 1
    assert judge.at_once(said_all({A1: 1, A2: 2, B1: 1, B2: 1})) == 1
    corrected = [said(A1, 1, 0.5), said(A2, 1, 3.0), said(A2, 2, 4.0)]
    assert judge.at_once(corrected) == 1  # for a second
    assert judge.at_once(said_all({A1: 1, B1: 1})) == 0


@pytest.mark.parametrize("seed", range(8))
def test_the_quick_score_is_the_whole_one(judge: SiteJudge, seed: int) -> None:
    drawn = np.random.default_rng(seed).integers(0, 4, len(PEOPLE))
    ids = {key: int(identity) for key, identity in zip(sorted(PEOPLE), drawn, strict=True) if identity}
    idf1, links = judge.quick(ids)
    whole = judge.figures(said_all(ids), online=False)
    assert idf1 == pytest.approx(whole.idf1)
    assert links == whole.links


def test_nothing_said_scores_every_track_by_itself(judge: SiteJudge) -> None:
    figures = judge.figures([])
    assert figures.identities == 0
    assert figures.idf1 == pytest.approx(100 / 190)
    assert figures.online_idf1 is not None and figures.online_idf1 < 0.02  # a box each, at most


# -- the matcher ------------------------------------------------------------------------------------------------------


def test_the_matcher_says_the_same_quickly(tracks: SiteTracks) -> None:
    assert final_ids(match_quickly(tracks, 0.3)) == final_ids(match(tracks, 0.3))


def test_the_matcher_finds_two_people_who_look_like_themselves(tracks: SiteTracks, judge: SiteJudge) -> None:
    assert judge.figures(match(tracks, None)).links == Links(2, 0, 0)


# -- thresholds -------------------------------------------------------------------------------------------------------


def swept(name: str, idf1: Sequence[float], *, variant: str = "", generated: bool = False) -> Sweep:
    """A site whose scores at the first thresholds are these, and 0 at the others."""
    site = Site(name, name.partition("/")[0], "detector", variant, Config(), Path(), Path(), True, generated)
    padded = [*idf1, *[0.0] * (len(FACTORS) - len(idf1))]
    points = tuple(Point(value, Links(3, 1, 2), Links(3, 2, 2)) for value in padded)
    return Sweep(site, {OURS: FACTORS, GREEDY: FACTORS}, {OURS: points, GREEDY: points}, 1.0)


def test_a_threshold_is_chosen_on_other_clips() -> None:
    sweeps = [swept("x", [1, 0, 0]), swept("y", [0, 1, 0]), swept("y/pair", [0, 0, 1]), swept("z", [0, 0.9, 1])]
    assert chosen_elsewhere(sweeps, OURS, sweeps[0].site) == FACTORS[2]  # y gives its mean, z decides
    assert chosen_elsewhere(sweeps, OURS, sweeps[1].site) == chosen_elsewhere(sweeps, OURS, sweeps[2].site)
    assert chosen_elsewhere(sweeps[:1], OURS, sweeps[0].site) is None


def test_sites_that_know_more_choose_no_threshold() -> None:
    sweeps = [swept("x", [1, 0]), swept("y", [0, 1]), swept("y", [1, 0], variant="+cal")]
    assert chosen_elsewhere(sweeps, OURS, sweeps[0].site) == FACTORS[1]


def test_generated_clips_choose_for_generated_ones_only() -> None:
    real, other = swept("x", [1, 0, 0]), swept("y", [0, 1, 0])
    generated, more = swept("g", [0, 0, 1], generated=True), swept("h", [0, 1, 0], generated=True)
    assert chosen_elsewhere([real, other, generated], OURS, real.site) == FACTORS[1]
    assert chosen_elsewhere([real, other, generated, more], OURS, more.site) == FACTORS[2]
    assert chosen_elsewhere([real, generated], OURS, generated.site) == FACTORS[0]
    assert chosen_elsewhere([real, generated], OURS, real.site) is None


def test_of_equally_good_thresholds_the_middle_one_is_chosen() -> None:
    sweeps = [swept("x", [0]), swept("y", [0.1, 0.8, 0.8, 0.8, 0.3])]
    assert chosen_elsewhere(sweeps, OURS, sweeps[0].site) == FACTORS[2]


def test_false_links_weigh_against_a_threshold() -> None:
    plain, other = swept("x", [0]), swept("y", [0.7, 0.8, 0.6])
    points = [replace(point, links=Links(3, 2 * i, 2)) for i, point in enumerate(other.points[OURS])]
    other = replace(other, points={OURS: tuple(points)})
    assert chosen_elsewhere([plain, other], OURS, plain.site) == FACTORS[0]


def test_decisions_are_compared_where_enough_links_are_found() -> None:
    points = [Point(0.0, Links(found, 1, 10 - found), Links()) for found in (3, 7, 9)]
    assert operating_place(points) == 1
    assert operating_place(points[:1]) is None
    assert operating_place([]) is None


def test_links_of_several_sites_are_added_up() -> None:
    together_ = summed([swept("x", [0.5]), swept("y", [1.0])])
    assert together_[3].links == Links(6, 2, 4)
    assert together_[3].decided == Links(6, 4, 4)
    assert together_[0].idf1 == 0.75


# -- the whole way ----------------------------------------------------------------------------------------------------


class InThisProcess:
    """An executor that does not start processes."""

    map = staticmethod(map)


def test_a_site_is_swept_reported_and_told(tmp_path: Path) -> None:
    site = tiny_site(tmp_path)
    one = sweep(site)
    assert one.thresholds[OURS][FACTORS.index(1.0)] == pytest.approx(stored_threshold(read_tracks(site)))
    assert one.ceiling == pytest.approx(1.0)
    whole = report(site, {OURS: 0.2, GREEDY: 0.2})
    assert [line.way for line in whole.lines] == [OURS, STORED, GREEDY, CLUSTERING, WITH_CLIPS, CEILING]
    assert whole.share(CLUSTERING) == pytest.approx(1.0)
    rows = rate_rows([one], InThisProcess())  # type: ignore[arg-type]
    assert [row.at for row in rows] == ["70 %", "stored"]
    told = f"{summary_table([whole])}\n{details_table([whole])}\n{rates_table(rows)}"
    assert "tiny" in told and "2/0/0" in told


def test_without_other_clips_only_the_stored_threshold_is_reported(tmp_path: Path) -> None:
    whole = report(tiny_site(tmp_path), {OURS: None, GREEDY: None})
    assert [line.way for line in whole.lines] == [STORED, CLUSTERING, WITH_CLIPS, CEILING]
    assert "tiny" in summary_table([whole])


def judged(
    ours: float,
    greedy: float,
    clusters: float,
    ceiling: float,
    *,
    calibrated: bool = False,
    generated: bool = False,
    at_once: int = 0,
) -> str:
    def line(way: str, idf1: float) -> Line:
        return Line(way, None, Figures(idf1, idf1, idf1, idf1, Links(), 1, at_once))

    lines = (
        line(OURS, ours),
        line(GREEDY, greedy),
        line(CLUSTERING, clusters),
        line(CEILING, ceiling),
        line(WITH_CLIPS, ceiling),
    )
    return verdict(SiteReport("site", "clip", "truth", calibrated, generated, 2, 4, lines))


def test_true_ids_go_to_tracks_with_clips_only(tracks: SiteTracks, judge: SiteJudge) -> None:
    ids = ids_by_truth(tracks, judge)
    assert ids == PEOPLE
    fewer = replace(tracks, clips={key: of for key, of in tracks.clips.items() if key != B2})
    assert ids_by_truth(fewer, judge) == {A1: 1, A2: 2, B1: 1}


def test_the_goal_is_a_share_of_the_ceiling_and_more_than_both_baselines() -> None:
    assert judged(0.85, 0.7, 0.8, 1.0) == "reached"
    assert judged(0.85, 0.7, 0.8, 1.0, calibrated=True) == "missed: share 0.85"
    assert judged(0.85, 0.85, 0.9, 1.0) == "missed: greedy, clustering"
    assert judged(1.0, 0.9, 1.0, 1.0) == "reached"  # nobody gets above the ceiling


def test_the_goal_on_generated_sites_is_a_score_and_no_id_for_two() -> None:
    assert judged(0.96, 0.7, 0.8, 1.0, generated=True) == "reached"
    assert judged(0.94, 0.7, 0.8, 0.94, generated=True) == "missed: IDF1 0.94"
    assert judged(0.96, 0.7, 0.8, 1.0, generated=True, at_once=1) == "missed: at once"


# -- sites ------------------------------------------------------------------------------------------------------------


def test_two_cameras_at_a_time_share_the_recording_of_all(tmp_path: Path) -> None:
    lab = real_footage(Path("media"), tmp_path)[0]
    sites = sites_of(lab, tmp_path, "truth")
    assert len(sites) == 14 and len({site.label for site in sites}) == 14
    assert {site.recording for site in sites} == {tmp_path / "lab4cam" / "truth"}
    assert sum(site.is_whole for site in sites) == 2
    pair = next(site for site in sites if site.label == "lab4cam/cam1+cam3 +cal")
    assert [camera.id for camera in pair.config.cameras] == ["cam1", "cam3"]
    assert pair.is_calibrated and not sites[0].is_calibrated


def test_halves_are_of_the_clip_that_they_are_cut_from(tmp_path: Path) -> None:
    clips = {one.name: one.clip for one in real_footage(Path("media"), tmp_path)}
    assert clips["pets_halves"] == clips["pets_s2l1_view1"] != clips["one_by_one"]


def test_a_recording_elsewhere_is_used(tmp_path: Path) -> None:
    footage = Footage("g", "g", {"": Config()}, tmp_path, recorded={"detector": tmp_path / "run"})
    folders = [recording_folder(tmp_path, footage, boxes) for boxes in BOXES]
    assert folders == [tmp_path / "run", tmp_path / "g" / "truth"]

"""Which queries are shown, and what the picture shows of them."""

import numpy as np
import pytest
from evaluation_examples import three_cameras, tracklet

from pipeline.retrieval import QueryScores
from reid.datasets.tracklets import ImageTracklet
from reid.ranked_lists import (
    _CELL_W,
    _FRAME,
    _GAP,
    _HEADER_H,
    _LABEL_W,
    _RIGHT,
    _WRONG,
    RankedEntry,
    RankedList,
    choose_queries,
    draw_ranked_lists,
    ranked_list,
)


def scores(average_precision):
    values = np.array(average_precision, float)
    return QueryScores(np.where(np.isnan(values), 0, 1), values, values, values)


def test_worst_median_and_best_are_chosen_without_repeats():
    chosen = choose_queries(scores(np.linspace(0, 1, 21)), 9)
    assert [kind for kind, _ in chosen] == ["worst"] * 3 + ["median"] * 3 + ["best"] * 3
    assert [i for _, i in chosen] == [0, 1, 2, 9, 10, 11, 18, 19, 20]


@pytest.mark.parametrize("count", range(1, 14))
def test_no_query_is_chosen_twice(count):
    chosen = [i for _, i in choose_queries(scores(np.random.default_rng(count).random(count)), 9)]
    assert len(set(chosen)) == len(chosen) == min(count, 9)


def test_queries_without_a_match_are_not_shown():
    assert [i for _, i in choose_queries(scores([np.nan, 0.4, np.nan, 0.2]), 9)] == [3, 1]
    assert choose_queries(scores([np.nan]), 9) == []
    assert choose_queries(scores([]), 9) == []


def test_ties_are_chosen_in_order_of_the_queries():
    assert [i for _, i in choose_queries(scores([1.0] * 12), 3)] == [0, 5, 11]


def test_a_list_has_the_nearest_ten_and_no_junk(tmp_path):
    picture = tracklet(tmp_path, 1, 0, [(1, 2, 3)]).images
    gallery = [ImageTracklet(person, camera, picture) for person in (1, 2, 3, -1) for camera in range(6)]
    query = ImageTracklet(1, 0, picture)
    shown = ranked_list("best", query, 1.0, gallery, np.arange(24, dtype=np.float32)[::-1] / 24)
    assert [(e.tracklet.person_id, e.tracklet.camera_id) for e in shown.entries] == [
        *((3, c) for c in (5, 4, 3, 2, 1, 0)),
        *((2, c) for c in (5, 4, 3, 2)),
    ]
    assert not any(e.correct for e in shown.entries)
    assert shown.matches == 5  # of six, the own camera's is junk


def example(folder):
    data = three_cameras(folder, pictures=3)
    right, wrong = data.gallery[0], data.gallery[2]
    return RankedList("worst", data.query[0], 0.5, 2, (RankedEntry(wrong, 0.1, False), RankedEntry(right, 0.2, True)))


def corner(column):
    """A pixel of the frame of an entry of the first list."""
    return _HEADER_H + 1, _LABEL_W + (column + 1) * _CELL_W + _GAP + 1


def test_right_entries_have_green_frames_and_wrong_ones_red(tmp_path):
    picture = draw_ranked_lists([example(tmp_path)], "title", {1: "anna"}, {})
    assert picture.dtype == np.uint8 and picture.ndim == 3
    assert tuple(picture[corner(0)]) == _WRONG
    assert tuple(picture[corner(1)]) == _RIGHT
    assert (picture[corner(2)] == 255).all()  # no third entry


def test_the_middle_picture_is_shown_and_the_nearest_to_it_where_that_cannot_be_read(tmp_path):
    shown = tracklet(tmp_path, 5, 1, [(255, 0, 0), (0, 255, 0), (0, 0, 255)])
    one = RankedList("best", shown, 1.0, 0, ())
    inside = _HEADER_H + _FRAME + 50, _LABEL_W + _FRAME + 40
    assert draw_ranked_lists([one], "", {}, {})[inside].tolist() == [0, 255, 0]
    shown.images[1].write_bytes(b"?")
    assert draw_ranked_lists([one], "", {}, {})[inside].tolist() == [255, 0, 0]
    for path in shown.images:
        path.unlink()
    assert len(set(draw_ranked_lists([one], "", {}, {})[inside].tolist())) == 1  # grey


def test_names_of_any_script_and_length_are_no_error(tmp_path):
    draw_ranked_lists([example(tmp_path)], "Straße 北京", {1: "Zoë " * 20}, {1: "入口"})


def test_no_lists_give_the_title_alone():
    assert draw_ranked_lists([], "nothing", {}, {}).shape[0] < 100

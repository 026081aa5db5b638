"""What the tables of methods are made of: rows, cut queries, intervals; a tiny run of each kind."""

import numpy as np
import pytest
from methods.local_features import _posed_distance, _posed_parts
from methods.report import add_result, done, interval, read_results, table_lines
from methods.rows import Length, head_rows, loss_rows, part_rows, tuning_rows
from methods.trials import chosen, score_distances

from reid.crop_stack import CropStack
from reid.datasets.tracklets import DataSet, ImageTracklet
from reid.tracklet_vectors import Sampling
from reid.training.recipe import Recipe


@pytest.mark.parametrize("rows", [loss_rows, head_rows, part_rows, tuning_rows])
def test_every_row_is_a_recipe_and_no_two_are_the_same(rows):
    recipes = list(rows("w", Length()).values())
    assert all(isinstance(recipe, Recipe) and recipe.model.weights == "w" for recipe in recipes)
    assert all(a != b for i, a in enumerate(recipes) for b in recipes[:i])


@pytest.mark.parametrize("length", [1, 3, 4, 5, 8, 31])
def test_pictures_that_speak_are_those_of_even_sampling(length: int):
    assert chosen(length) == Sampling("even", 4).choose(length).tolist()


def test_an_interval_is_students_over_seeds():
    assert interval([0.5]) == ".500"
    assert interval([0.4, 0.5, 0.6]) == ".500 ± .248"  # t(0.975, 2) = 4.303, deviation 0.1 / sqrt(3)
    assert interval([-0.25, -0.25]) == "-.250 ± .000"


def test_runs_are_kept_line_by_line_and_not_run_again(tmp_path):
    file = tmp_path / "results.jsonl"
    assert done(file) == set() and table_lines(read_results(file), "t") == []
    add_result(file, "t", "a", 0, {"mAP": 0.5})
    add_result(file, "t", "a", 1, {"mAP": 0.7})
    assert done(file) == {("t", "a", 0), ("t", "a", 1)}
    assert table_lines(read_results(file), "t")[-1].startswith("| a | 2 | .600 ± ")


def stack(rows: np.ndarray) -> CropStack:
    stripes = rows[None, None].astype(np.float32)
    return CropStack(stripes, np.square(stripes).sum(-1), np.ones((1, 1), np.float32))


def test_with_a_known_pose_a_cut_body_is_compared_where_it_is_seen():
    body = np.repeat(np.eye(4), 2, axis=0)  # 8 rows, two of each part
    upper = np.repeat(np.eye(4)[:2], 4, axis=0)  # its upper half, as large as the picture
    whole, cut = _posed_parts(stack(body), 1.0, None), _posed_parts(stack(upper), 0.5, None)
    assert cut[1].tolist() == [1, 1, 0, 0]
    assert _posed_distance(cut, whole)[0, 0] == pytest.approx(0, abs=1e-6)


def test_scores_are_those_of_the_protocol(tmp_path):
    people = [ImageTracklet(person, camera, (tmp_path / "x",)) for person in (1, 2) for camera in (1, 2)]
    part = DataSet("d", (), (people[0], people[2]), tuple(people))
    distance = np.array([[0, 0.1, 0.5, 0.5], [0.1, 0.9, 0, 0.5]], np.float32)
    assert score_distances(distance, part) == {"rank1": 0.5, "mAP": 0.75}

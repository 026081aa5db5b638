"""The matcher's threshold and quality gate, from distances."""

import numpy as np
import pytest
from fitting_scenes import comparisons

from pipeline.fitting.quality import fit_quality
from pipeline.fitting.threshold import fit_threshold, leave_one_out, threshold_for
from pipeline.scoring.clips import PairDistances


def rng():
    return np.random.default_rng(0)


def spread(low, high, count=400):
    return np.linspace(low, high, count)


def test_between_separate_distances_the_threshold_is_in_the_middle():
    fit = fit_threshold(comparisons(spread(0.05, 0.15), spread(0.45, 0.9)), rng())
    assert fit.threshold == pytest.approx(0.3, abs=0.005)
    assert (fit.false_share, fit.missed_share) == (0.0, 0.0)
    assert fit.warnings == ()


def test_where_they_overlap_a_false_link_counts_twice():
    fit = fit_threshold(comparisons(spread(0.1, 0.4), spread(0.3, 1.3)), rng())
    # Each 0.01 adds 1/30 of the same pairs and 2/100 of the different ones: worth it up to the last same pair.
    assert fit.threshold == pytest.approx(0.4, abs=0.006)
    denser = fit_threshold(comparisons(spread(0.1, 0.4), spread(0.3, 0.6)), rng())
    assert denser.threshold == pytest.approx(0.3, abs=0.006)


def test_never_more_than_a_tenth_of_the_different_pairs_lies_within():
    near = np.concatenate([spread(0.1, 0.2, 100), spread(0.9, 1.0, 300)])  # a quarter looks like one person
    fit = fit_threshold(comparisons(np.concatenate([spread(0.0, 0.05), spread(0.2, 0.3, 4000)]), near), rng())
    assert fit.false_share <= 0.1
    assert any("does not tell" in warning for warning in fit.warnings)


def test_certain_pairs_allow_two_percent_whatever_the_same_pairs_say():
    different = spread(0.2, 1.2, 1000)
    near = fit_threshold(comparisons(spread(0.0, 0.02), different, basis="certain pairs"), rng())
    none = fit_threshold(comparisons([], different, basis="certain pairs"), rng())
    assert near.threshold == none.threshold == pytest.approx(0.22, abs=0.006)
    assert near.false_share <= 0.02
    assert none.missed_share is None
    assert any("no track is long enough" in warning for warning in none.warnings)


@pytest.mark.parametrize(
    ("same", "different", "people"),
    [
        ([], [], 12),
        ([0.1] * 20, [], 12),
        ([0.1] * 20, [0.5] * 29, 12),  # too few different pairs
        ([0.1] * 20, [0.5] * 100, 2),  # two people
        ([0.1] * 9, [0.5] * 100, 12),  # hardly anybody twice
    ],
)
def test_too_little_data_gives_no_threshold_and_says_why(same, different, people):
    fit = fit_threshold(comparisons(same, different, people), rng())
    assert fit.threshold is None and fit.interval is None
    assert len(fit.warnings) == 1 and "too little" in fit.warnings[0]


def test_few_people_are_warned_about():
    fit = fit_threshold(comparisons(spread(0.1, 0.2), spread(0.5, 0.9), people=4), rng())
    assert fit.threshold is not None
    assert any("4 people only" in warning for warning in fit.warnings)


def test_the_interval_is_wide_where_one_person_is_unlike_the_others_and_repeats_with_its_seed():
    even = comparisons(spread(0.1, 0.3), spread(0.5, 0.9))
    mixed = comparisons(spread(0.1, 0.3), spread(0.5, 0.9))
    mixed.different[mixed.different_of[:, 0] == 3] -= 0.35
    narrow, wide = (fit_threshold(c, rng()).interval for c in (even, mixed))
    assert wide[1] - wide[0] > narrow[1] - narrow[0] + 0.05
    assert fit_threshold(mixed, rng()).interval == wide


def test_leave_one_out_scores_each_footage_by_the_others_threshold():
    def footage(same, different):
        return PairDistances(np.asarray(same, np.float32), np.asarray(different, np.float32))

    clips = {
        "near": footage(spread(0.0, 0.1), spread(0.3, 0.6)),
        "far": footage(spread(0.3, 0.5), spread(0.7, 0.9)),
    }
    rows = {row["left_out"]: row for row in leave_one_out(clips)}
    assert rows["near"]["threshold"] == pytest.approx(0.6, abs=0.005)
    assert (rows["near"]["missed"], rows["near"]["false"]) == (0.0, pytest.approx(1.0, abs=0.02))
    assert rows["far"]["threshold"] == pytest.approx(0.2, abs=0.005)
    assert (rows["far"]["missed"], rows["far"]["false"]) == (1.0, 0.0)
    assert rows[None]["threshold"] == threshold_for(list(clips.values()))


def test_leave_one_out_of_one_footage_or_of_empty_ones_has_no_threshold():
    nothing = PairDistances(np.zeros(0, np.float32), np.zeros(0, np.float32))
    assert [row["threshold"] for row in leave_one_out({"only": nothing})] == [None, None]
    assert [row["threshold"] for row in leave_one_out({})] == [None]


def judged(bad_below, people=12):
    """Same pairs of poor pictures are far apart; quality is even over 0 to 1."""
    quality = np.tile(np.linspace(0.01, 1.0, 100), 20)
    same = np.where(quality < bad_below, 0.6, 0.1)
    return comparisons(same, np.full(2000, 0.8), people, qualities=(quality, quality))


def test_the_gate_is_put_where_poor_pictures_begin_to_go_wrong():
    fit = fit_quality(judged(0.2), 0.3, 0.15, rng())
    assert fit.min_quality == 0.2
    assert fit.errors[0.0] == pytest.approx(0.1, abs=0.01) and fit.errors[0.2] == 0.0


def test_the_gate_stays_where_quality_makes_no_difference():
    fit = fit_quality(judged(0.0), 0.3, 0.15, rng())
    assert fit.min_quality is None and "not make the comparisons clearly better" in fit.reason


def test_the_gate_stays_without_poor_pictures_a_threshold_or_ground_truth():
    good = comparisons(spread(0.1, 0.2), spread(0.5, 0.9))
    assert "hardly any" in fit_quality(good, 0.3, 0.15, rng()).reason
    assert "no threshold" in fit_quality(good, None, 0.15, rng()).reason
    certain = comparisons(spread(0.1, 0.2), spread(0.5, 0.9), basis="certain pairs")
    assert "ground truth only" in fit_quality(certain, 0.3, 0.15, rng()).reason

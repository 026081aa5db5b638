import random

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.scoring.appearances import Appearance
from pipeline.scoring.links import Links, find_links, joined


def appearance(start_s, identity_id, person_id, camera_id="a", unit=0):
    frame = int(start_s * 10) + 1
    places = np.zeros(1, np.int64)
    return Appearance(
        camera_id, identity_id, unit, frame, frame, start_s, start_s, person_id, person_id is not None, places, places
    )


def starts(links):
    return [(link.appearance.start_s, link.earlier.start_s) for link in links]


def test_every_kind_of_link_is_counted_as_worked_out_by_hand():
    links = find_links(
        [
            appearance(0, 1, person_id=1),
            appearance(1, 2, person_id=2),
            appearance(2, 1, person_id=1, camera_id="b"),  # correct: id 1 was person 1 at 0 s
            appearance(3, 2, person_id=1),  # false: id 2 was person 2; missed: person 1 was known as id 1
            appearance(4, 3, person_id=2),  # missed: person 2 was known as id 2
            appearance(5, 3, person_id=None),  # false: id 3 was person 2
            appearance(6, 3, person_id=None),  # nobody after nobody: not counted
            appearance(7, 3, person_id=2),  # false: id 3 was nobody last; not missed: person 2 had id 3 at 4 s
        ]
    )
    assert starts(links.correct) == [(2, 0)]
    assert starts(links.false) == [(3, 1), (5, 4), (7, 6)]
    assert starts(links.missed) == [(3, 2), (4, 1)]
    # precision 1 / (1 + 3), recall 1 / (1 + 2)
    assert links.figures() == {"correct": 1, "false": 3, "missed": 2, "precision": 0.25, "recall": 1 / 3}


def test_nothing_to_link_gives_counts_of_zero_and_no_fractions():
    expected = {"correct": 0, "false": 0, "missed": 0, "precision": None, "recall": None}
    assert find_links([]).figures() == expected
    assert find_links([appearance(0, 1, person_id=1)]).figures() == expected


def test_appearances_are_judged_in_order_of_time_however_they_are_given():
    parts = [appearance(2, 1, person_id=1), appearance(0, 1, person_id=2), appearance(1, 1, person_id=2)]
    links = find_links(parts)
    assert starts(links.correct) == [(1, 0)]
    assert starts(links.false) == [(2, 1)]


def test_appearances_that_start_together_are_ordered_by_camera():
    parts = [appearance(0, 1, 1, camera_id=c) for c in ("c", "a", "b")]
    links = find_links(parts)
    assert [(link.appearance.camera_id, link.earlier.camera_id) for link in links.correct] == [("b", "a"), ("c", "b")]


def test_a_new_id_for_a_known_person_is_missed_and_no_false_link():
    links = find_links([appearance(0, 1, person_id=1), appearance(1, 2, person_id=1)])
    assert (len(links.correct), len(links.false), len(links.missed)) == (0, 0, 1)


def test_links_of_sequences_without_shared_identities_add_up():
    one = [appearance(0, 1, person_id=1), appearance(1, 1, person_id=1)]
    other = [appearance(0, 1, person_id=2), appearance(1, 2, person_id=2)]
    assert joined([find_links(one), find_links(other)]).figures() == {
        "correct": 1,
        "false": 0,
        "missed": 1,
        "precision": 1.0,
        "recall": 0.5,
    }
    assert joined([]).figures() == Links().figures()


parts = st.lists(
    st.tuples(st.integers(0, 4), st.integers(0, 3), st.sampled_from([None, 1, 2, 3]), st.sampled_from("ab")),
    max_size=12,
)


@settings(max_examples=60, deadline=None)
@given(parts, st.permutations(range(4)), st.randoms(use_true_random=False))
def test_renamed_identities_and_another_order_change_no_figure(given_parts, names, chance: random.Random):
    plain = [appearance(t, i, p, camera_id=c, unit=n) for n, (t, i, p, c) in enumerate(given_parts)]
    renamed = [appearance(t, names[i] + 50, p, camera_id=c, unit=n) for n, (t, i, p, c) in enumerate(given_parts)]
    chance.shuffle(renamed)
    assert find_links(plain).figures() == find_links(renamed).figures()

"""When a track is cut because its person has changed, with crops whose look is known."""

import itertools

import numpy as np
import pytest
from test_looks import QUALITY, WholeHead

from pipeline.tracking.looks import KnownDistances
from pipeline.tracking.switches import HELD_S, REMEMBERED_S, Switch, SwitchWatch
from pipeline.types import CropFeature, Tracks

RED, BLUE, GREEN = (1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)
APART, BESIDE, FAR = 0.0, 50.0, 400.0  # left edges of boxes 40 px wide


def experienced():
    """A camera in which one person's looks differ by at most .1, and those of two by at least .6."""
    known = KnownDistances()
    for i in range(40):
        known.add_same(0.1 * i / 39)
        known.add_different(0.6 + 0.4 * i / 39)
    return known


class Scene:
    """Ten frames a second; every track gives a good crop on each third one. What is to be cut is cut."""

    def __init__(self, known=None):
        self.watch = SwitchWatch(WholeHead(), known or experienced())
        self.frame = 0
        self.switches = []
        self.new_ids = itertools.count(100)
        self.ids = {}  # what the tracks are called now, by what they were called first

    @property
    def now_s(self):
        return self.frame * 0.1

    @property
    def cut(self):
        """The tracks that were cut, by their first names."""
        return sorted(switch.track_id for switch in self.switches)

    def show(self, seconds, people, quality=QUALITY):
        """`people`: track → (left edge px, look); the crops come in this order."""
        for _ in range(round(seconds * 10)):
            boxes = np.array([[x, 0, x + 40, 120] for x, _ in people.values()], np.float32).reshape(-1, 4)
            ids = np.array([self.ids.setdefault(i, i) for i in people], np.int64)
            self.watch.see(self.now_s, Tracks(ids, boxes, np.full(len(ids), 0.9)))
            if self.frame % 3 == 0:
                for name, (_, look) in people.items():
                    self.crop(name, look, quality)
            self.frame += 1
        return self

    def crop(self, name, look, quality=QUALITY):
        rng = np.random.default_rng(self.frame)
        stripes = (np.array(look) + 0.02 * rng.random(3)).reshape(1, 3).astype(np.float32)
        crop = CropFeature(self.now_s, stripes, np.ones(1, np.float32), quality, "model")
        for switch in self.watch.accept(self.ids.get(name, name), crop):
            (first,) = (name for name, now in self.ids.items() if now == switch.track_id)
            self.ids[first] = next(self.new_ids)
            self.watch.split(switch, self.ids[first])
            self.switches.append(Switch(first, switch.after_s))


def test_a_track_of_one_person_is_never_cut():
    scene = Scene().show(5, {1: (APART, RED)}).show(1, {1: (APART, RED), 2: (20.0, BLUE)}).show(5, {1: (APART, RED)})
    assert scene.switches == []


def test_two_tracks_that_exchanged_people_are_both_cut_where_they_overlapped():
    scene = Scene().show(3, {1: (APART, RED), 2: (BESIDE, BLUE)})
    scene.show(0.2, {1: (APART, RED), 2: (20.0, BLUE)})
    overlapped_s = (scene.frame - 1) * 0.1
    scene.show(1.2, {1: (APART, BLUE), 2: (BESIDE, RED)})
    assert scene.cut == [1, 2]
    assert all(overlapped_s - 0.15 <= s.after_s <= overlapped_s + 0.01 for s in scene.switches)


def test_without_any_overlap_the_moment_lies_between_the_crops_of_the_two():
    scene = Scene().show(3, {1: (APART, RED), 2: (BESIDE, BLUE)})
    changed_s = scene.now_s
    scene.show(1.5, {1: (APART, BLUE), 2: (BESIDE, RED)})
    assert scene.cut == [1, 2]
    assert all(changed_s - 0.3 < s.after_s < changed_s + 0.1 for s in scene.switches)


def test_a_track_found_again_as_somebody_else_is_cut_at_the_gap():
    scene = Scene().show(3, {1: (APART, RED)})
    lost_s = (scene.frame - 1) * 0.1
    scene.show(1, {}).show(1.2, {1: (APART, GREEN)})
    (switch,) = scene.switches
    assert switch == Switch(1, pytest.approx(lost_s))


def test_a_stranger_far_away_is_no_partner():
    """Nobody was near: the change must be clear by itself, and only the track that shows it is cut."""
    scene = Scene().show(3, {1: (APART, RED), 2: (FAR, BLUE)}).show(1.5, {1: (APART, BLUE), 2: (FAR, BLUE)})
    assert scene.cut == [1]


def test_a_moderate_change_needs_a_partner_who_looked_so():
    """Half way between two people: as far as nobody is from himself, not as far as two are."""
    purple = (1.0, 0.8, 0.0)
    alone = Scene().show(3, {1: (APART, RED)}).show(1.5, {1: (APART, purple)})
    assert alone.switches == []
    beside = Scene().show(3, {1: (APART, RED), 2: (BESIDE, purple)})
    beside.show(1.5, {1: (APART, purple), 2: (BESIDE, RED)})
    assert beside.cut == [1, 2]


def test_the_partner_is_not_cut_when_it_looks_after_as_before():
    scene = Scene().show(2.7, {2: (BESIDE, BLUE), 1: (APART, RED)})
    scene.show(1.5, {2: (BESIDE, BLUE), 1: (APART, BLUE)})
    assert scene.cut == [1]


def test_a_partner_that_ended_is_remembered_and_not_cut():
    scene = Scene().show(3, {1: (APART, RED), 2: (BESIDE, (1.0, 0.8, 0.0))})
    scene.show(0.6, {1: (APART, RED)}).show(1.5, {1: (APART, (1.0, 0.8, 0.0))})
    assert scene.cut == [1]


@pytest.mark.parametrize("change", [{"overlap": 0.6}, {"truncation": 0.5}, {"height_px": 5.0}])
def test_bad_crops_decide_nothing(change):
    bad = type(QUALITY)(**{name: getattr(QUALITY, name) for name in QUALITY.__slots__} | change)
    scene = Scene().show(3, {1: (APART, RED)}).show(3, {1: (APART, GREEN)}, bad)
    assert scene.switches == []


def test_two_good_crops_of_somebody_else_are_not_enough():
    scene = Scene().show(3, {1: (APART, RED)}).show(0.6, {1: (APART, GREEN)}).show(3, {1: (APART, RED)})
    assert scene.switches == []


def test_a_camera_that_knows_no_distances_yet_cuts_nothing_and_learns():
    known = KnownDistances()
    scene = (
        Scene(known).show(1.5, {1: (APART, RED), 2: (BESIDE, BLUE)}).show(1.5, {1: (APART, GREEN), 2: (BESIDE, BLUE)})
    )
    assert scene.switches == []
    scene.show(20, {1: (APART, GREEN), 2: (BESIDE, BLUE)})
    limits = known.limits()
    assert limits.ordinary < limits.stranger < 1.1


def test_a_crop_of_a_track_nobody_saw_is_ignored():
    scene = Scene()
    scene.crop(9, RED)
    assert scene.switches == []


def test_what_follows_an_overlap_is_settled_by_a_look_or_by_time():
    scene = Scene().show(3, {1: (APART, RED)})
    assert scene.watch.settled_until_s(1) == float("inf")
    assert scene.watch.settled_until_s(9) == float("inf")
    overlapped_s = scene.now_s
    scene.show(0.2, {1: (APART, RED), 2: (20.0, BLUE)})
    assert scene.watch.settled_until_s(1) == pytest.approx(overlapped_s)
    scene.show(1.5, {1: (APART, RED), 2: (FAR, BLUE)})
    assert scene.watch.settled_until_s(1) == float("inf")
    overlapped_s = scene.now_s
    bad = type(QUALITY)(200.0, 500.0, 0.0, 0.9, 0.9)
    scene.show(HELD_S - 0.5, {1: (APART, RED), 2: (20.0, BLUE)}, bad)
    assert scene.watch.settled_until_s(1) == pytest.approx(overlapped_s)
    scene.show(1.0, {1: (APART, RED), 2: (20.0, BLUE)}, bad)
    assert scene.watch.settled_until_s(1) == float("inf")


def test_after_a_split_both_parts_are_known_by_what_they_showed():
    scene = Scene().show(3, {1: (APART, RED), 2: (BESIDE, BLUE)})
    scene.show(5, {1: (APART, BLUE), 2: (BESIDE, RED)})
    assert scene.cut == [1, 2]
    scene.show(1.5, {1: (APART, RED), 2: (BESIDE, BLUE)})
    assert scene.cut == [1, 1, 2, 2]


def test_tracks_that_ended_long_ago_are_forgotten():
    scene = Scene().show(3, {1: (APART, RED)}).show(REMEMBERED_S + 1, {2: (FAR, BLUE)})
    assert scene.watch.accept(1, CropFeature(scene.now_s, np.ones((1, 3)), np.ones(1), QUALITY, "model")) == []
    assert [*scene.watch._tracks] == [2]


def test_frames_without_anybody_are_fine():
    scene = Scene().show(1, {})
    assert scene.switches == []

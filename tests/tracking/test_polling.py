"""Looks every so often: whom they encode, and when the next one is."""

from dataclasses import replace

import numpy as np
import pytest

from pipeline.config import ReidConfig
from pipeline.tracking.encoding_policy import EVENLY, EVENT, EventPolicy, PollPolicy
from pipeline.tracking.polling import PollSampler
from pipeline.types import CropFeature, Frame, FusedClip, Tracks

CONFIG = ReidConfig(clip_frames=4, first_clip_s=0.4, every_s=1.0, crop_every_s=0.25)
IMAGE = np.random.default_rng(0).integers(0, 256, (360, 640, 3), np.uint8)
BOXES = {n: (100.0 * n, 50.0, 100.0 * n + 60, 250.0) for n in range(1, 6)}


class Head:
    """Takes the crops' mean vector as it is."""

    clip_model_id = "head"

    def fuse(self, crops):
        mean = np.mean([crop.stripes[0] for crop in crops], axis=0)
        vector = (mean / np.linalg.norm(mean)).astype(np.float32)
        return FusedClip(vector, vector[None], np.ones(1, np.float32), np.full((len(crops), 1), 1 / len(crops)))


def frame_at(time_s, damaged=False):
    return Frame("cam", "1", round(time_s * 100), time_s, IMAGE, damaged)


def tracks_of(ids):
    boxes = np.array([BOXES[i] for i in ids], np.float32).reshape(-1, 4)
    return Tracks(np.array(ids, np.int64), boxes, np.full(len(ids), 0.9, np.float32))


class Camera:
    """People by track; `looks` says how each track looks, as an angle."""

    def __init__(self, policy, looks=None):
        self.sampler = PollSampler(CONFIG, policy, Head())
        self.looks = looks or {}
        self.rng = np.random.default_rng(0)

    def see(self, time_s, ids, damaged=False):
        """Ids that were encoded."""
        requests = self.sampler.offer(frame_at(time_s, damaged), tracks_of(ids))
        for request in requests:
            angle = self.looks.get(request.track_id, float(request.track_id)) + self.rng.normal(0, 0.01)
            stripes = np.array([[np.cos(angle), np.sin(angle)]], np.float32)
            one = np.ones(1, np.float32)
            self.sampler.accept(
                request.track_id, CropFeature(request.captured_at_s, stripes, one, request.quality, "model")
            )
        return [request.track_id for request in requests]

    def watch(self, who, until_s, dt_s=0.1):
        """(time, ids) of the looks; `who(t)` says who is there."""
        looks = []
        for step in range(round(until_s / dt_s) + 1):
            time_s = step * dt_s
            before = self.sampler._next_s
            ids = self.see(time_s, who(time_s))
            if self.sampler._next_s != before:
                looks.append((round(time_s, 3), ids))
        return looks


def test_everybody_is_encoded_at_a_look_and_nobody_in_between():
    looks = Camera(PollPolicy(2.0, 0.5)).watch(lambda t: [1, 2], 6.0)
    assert looks == [(0.0, [1, 2]), (2.0, [1, 2]), (4.0, [1, 2]), (6.0, [1, 2])]


def test_looks_come_more_often_once_somebody_is_missing():
    looks = Camera(PollPolicy(2.0, 0.5)).watch(lambda t: [1, 2] if t < 3 else [1], 6.0)
    assert [t for t, _ in looks] == [0.0, 2.0, 4.0, 4.5, 5.0, 5.5, 6.0]  # that he is gone is seen at a look, too


def test_a_poll_of_an_empty_picture_encodes_nothing():
    camera = Camera(PollPolicy(1.0, 1.0))
    assert camera.watch(lambda t: [], 3.0) == [(0.0, []), (1.0, []), (2.0, []), (3.0, [])]
    assert camera.sampler.due_clips(3.0) == []


def learned(looks):
    """A camera that has seen 1 and 2 for long enough to know what looking alike means."""
    camera = Camera(PollPolicy(1.0, 0.5), looks)
    for time_s in np.arange(0, 20.0, 1.0).tolist():
        camera.see(time_s, [1, 2])
    return camera


def test_who_comes_back_is_recognised_and_looks_are_rare_again():
    camera = learned({1: 0.0, 2: 1.5, 3: 1.5})
    camera.see(20.0, [1])
    assert camera.sampler._next_s == pytest.approx(20.5)
    camera.see(20.5, [1, 3])  # looks as 2 did
    assert not camera.sampler._missing
    camera.see(21.0, [1, 3])
    assert camera.sampler._next_s == pytest.approx(22.0)


def test_a_stranger_does_not_stand_for_somebody_who_is_missing():
    camera = learned({1: 0.0, 2: 1.5, 3: 3.0})
    camera.see(20.0, [1])
    camera.see(20.5, [1, 3])
    camera.see(21.0, [1, 3])
    assert camera.sampler._next_s == pytest.approx(21.5)


def test_a_damaged_picture_puts_the_look_off():
    camera = Camera(PollPolicy(1.0, 0.5))
    assert camera.see(0.0, [1], damaged=True) == []
    assert camera.see(0.1, [1]) == [1]


def test_each_look_gives_one_clip_of_everybody_and_the_end_of_a_track_none():
    camera = Camera(PollPolicy(1.0, 0.5))
    camera.see(0.0, [1, 2])
    assert [clip.track_id for clip in camera.sampler.due_clips(0.0)] == [1, 2]
    camera.see(0.5, [1, 2])
    assert camera.sampler.due_clips(0.5) == [] and camera.sampler.flush(1) == []
    assert camera.sampler.last_clip(1) is None


@pytest.mark.parametrize("times", [(0.0, 0.0), (1.0, 0.0), (1.0, 2.0), (-1.0, -2.0)])
def test_a_poll_that_makes_no_sense_is_refused(times):
    with pytest.raises(ValueError, match="missing_every_s"):
        PollPolicy(*times)


@pytest.mark.parametrize("change", [{"growth": -1.0}, {"longest_s": 0.0}, {"doubt_every_s": -1.0}])
def test_an_event_policy_that_makes_no_sense_is_refused(change):
    with pytest.raises(ValueError, match="expected a growth"):
        replace(EVENT, **change)


def test_chunks_and_gaps_grow_up_to_a_limit_and_evenly_they_do_not():
    policy = EventPolicy(growth=2.0, longest_s=5.0)
    assert [policy.chunk_s(age_s, CONFIG) for age_s in (0.0, 0.4, 1.2, 100.0)] == pytest.approx([0.4, 0.8, 2.4, 5.0])
    assert [policy.clip_gap_s(age_s, CONFIG) for age_s in (0.2, 0.6, 100.0)] == pytest.approx([0.3, 0.6, 1.0])
    assert {EVENLY.chunk_s(age_s, CONFIG) for age_s in (0.0, 1.0, 100.0)} == {0.25}
    assert {EVENLY.clip_gap_s(age_s, CONFIG) for age_s in (0.0, 100.0)} == {1.0}

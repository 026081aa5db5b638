"""How a track of a camera is cut in two, and what is called how meanwhile."""

import numpy as np
import pytest

from pipeline.config import Config
from pipeline.runtime.camera_stream import CameraStream
from pipeline.tracking.sampling import ClipSampler, CropRequest
from pipeline.tracking.switches import Switch, SwitchWatch
from pipeline.tracking.tracker import PersonTracker
from pipeline.types import CropQuality, Detections, Frame, FusedClip


class NoHead:
    clip_model_id = "model/none"

    def fuse(self, crops):
        return FusedClip(np.ones(1), np.ones((1, 1)), np.ones(1), np.ones((len(crops), 1)))


BOXES = np.array([[100, 50, 140, 170], [300, 50, 340, 170]], np.float32)


def frame_at(index):
    return Frame("door", "1", index, index * 0.1, np.zeros((240, 640, 3), np.uint8))


@pytest.fixture
def followed():
    """Two people who stand for two seconds, ten frames a second: the stream, and the tracks of its last frame."""
    config = Config()
    stream = CameraStream(
        "1", PersonTracker("door", "1", config.tracker), ClipSampler(config.reid), SwitchWatch(NoHead())
    )
    for index in range(21):
        frame = frame_at(index)
        tracks, _ = stream.tracker.update(frame, Detections(BOXES, np.array([0.9, 0.8], np.float32)))
        stream.seen.add(frame.captured_at_s, tracks)
        stream.watch.see(frame.captured_at_s, tracks)
        stream.sampler.offer(frame, tracks, stream.tracker.births())
    return stream, tracks


def crop(track_id, at_s):
    quality = CropQuality(100.0, 1.0, 0.0, 0.0, 0.9)
    return CropRequest(track_id, at_s, frame_at(round(at_s * 10)), BOXES[0], quality)


def test_a_cut_gives_what_came_after_it_to_the_new_track(followed):
    stream, tracks = followed
    stream.split(Switch(1, 1.05))
    assert [stream.owner(crop(1, at_s)) for at_s in (1.0, 1.1)] == [1, 3]
    assert stream.owner(crop(2, 1.1)) == 2
    assert stream.seen.take(1)[0].max() <= 1.05 < stream.seen.take(3)[0].min()
    (cut,) = stream.take_cuts()
    assert (cut.new_id, cut.after_s, len(cut.tracklet.captured_at_s)) == (3, 1.05, 11)
    assert stream.take_cuts() == []
    shown = stream.relabelled(tracks)
    assert shown.ids.tolist() == [2, 3]
    np.testing.assert_array_equal(shown.xyxy, BOXES[::-1])


def test_a_track_cut_twice_in_one_frame_has_its_last_name(followed):
    stream, tracks = followed
    stream.split(Switch(1, 0.55))
    stream.split(Switch(3, 1.55))
    assert [cut.tracklet.key.track_id for cut in stream.take_cuts()] == [1, 3]
    assert stream.relabelled(tracks).ids.tolist() == [2, 4]


def test_the_next_frame_knows_the_new_names_already(followed):
    stream, tracks = followed
    stream.split(Switch(1, 1.05))
    stream.relabelled(tracks)
    assert stream.owner(crop(3, 1.1)) == 3
    assert stream.relabelled(tracks) is tracks


@pytest.mark.parametrize("switch", [Switch(7, 1.0), Switch(1, -1.0), Switch(1, 5.0)])
def test_nothing_is_cut_that_is_not_open_then(followed, switch):
    stream, tracks = followed
    stream.split(switch)
    assert stream.take_cuts() == []
    assert stream.relabelled(tracks) is tracks


def test_without_a_watch_everything_is_settled_and_nothing_cut():
    config = Config()
    stream = CameraStream("1", PersonTracker("door", "1", config.tracker), ClipSampler(config.reid))
    stream.split(Switch(1, 0.0))
    assert stream.settled_until_s(1) == float("inf")
    assert stream.take_cuts() == []

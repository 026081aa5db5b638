"""One camera from frames to messages, with a scripted detector and drawn frames."""

import itertools
from dataclasses import replace

import numpy as np
import pytest

from pipeline.config import BackgroundConfig, CameraConfig, Config
from pipeline.errors import InferenceUnavailable
from pipeline.runtime.camera import CameraPipeline
from pipeline.tracking.encoding_policy import EVENLY, EVENT, PollPolicy
from pipeline.types import CameraState, ClipFeature, Detections, Frame, Tick, Tracklet
from reid.handcrafted import HandcraftedEncoder
from reid.load import load_head

FPS = 25.0


class Scripted:
    """One person who walks to the right, visible from `first` until `last` (frame numbers)."""

    def __init__(self, first=0, last=10_000):
        self.first, self.last = first, last
        self.seen = []

    def detect(self, frames):
        found = []
        for frame in frames:
            self.seen.append(frame.index)
            if self.first <= frame.index <= self.last:
                x = 100.0 + 2 * frame.index
                found.append(Detections(np.array([[x, 40, x + 60, 200]], np.float32), np.array([0.9], np.float32)))
            else:
                found.append(Detections.empty())
        return found


def frame(index, epoch="1", start_s=0.0):
    image = np.full((240, 640, 3), 90, np.uint8)
    x = 100 + 2 * index
    image[40:120, x : x + 60] = (20, 20, 200)
    image[120:200, x : x + 60] = (160, 40, 20)
    return Frame("door", epoch, index, start_s + index / FPS, image)


@pytest.fixture
def make():
    def build(detector=None, encoder=None, policy=EVENT, **camera):
        config = Config()
        encoder = encoder or HandcraftedEncoder(config.reid.stripes)
        return CameraPipeline(
            CameraConfig("door", "none", **camera),
            config or Config(),
            detector=detector or Scripted(),
            encoder=encoder,
            head=load_head(config.reid, encoder.describe()),
            policy=policy,
        )

    return build


def run(pipeline, count, **options):
    return [message for index in range(count) for message in pipeline.process(frame(index, **options)).messages]


def of(messages, kind):
    return [message for message in messages if isinstance(message, kind)]


def test_messages_are_numbered_without_gaps(make):
    pipeline = make(Scripted(last=30))
    messages = run(pipeline, 100) + pipeline.finish("end")
    assert [m.sequence for m in messages] == list(range(1, len(messages) + 1))
    assert of(messages, ClipFeature) and of(messages, Tracklet)


def test_times_of_messages_never_fall(make):
    pipeline = make(Scripted(last=30))
    messages = run(pipeline, 100) + pipeline.finish("end")
    assert all(a.at_s <= b.at_s for a, b in itertools.pairwise(messages))


def test_evenly_the_first_clip_comes_0_4_s_after_birth_and_later_ones_every_second(make):
    clips = of(run(make(Scripted(first=5), policy=EVENLY), 80), ClipFeature)
    assert [c.made_at_s for c in clips] == pytest.approx([0.6, 1.6, 2.6])
    assert {c.first_visible_s for c in clips} == {0.2}
    assert all(c.key == ("door", "1", 1) and c.start_s <= c.end_s <= c.made_at_s for c in clips)


def test_an_event_is_told_of_as_soon_as_a_whole_person_is_there(make):
    clips = of(run(make(Scripted(first=5)), 130), ClipFeature)
    times = [c.made_at_s for c in clips]
    assert times[0] == pytest.approx(0.32)  # confirmed 0.1 s after the first box, at 25 frames a second
    assert max(b - a for a, b in itertools.pairwise(times[1:])) <= 1.0 + 2 / FPS  # they carry the boxes
    assert {c.first_visible_s for c in clips} == {0.2}


def test_an_event_costs_a_few_crops_and_a_poll_one_a_look(make):
    counts = {}
    for name, policy in (("evenly", EVENLY), ("event", EVENT), ("poll", PollPolicy(2.0, 1.0))):
        pipeline = make(Scripted(), policy=policy)
        run(pipeline, 150)  # 6 s
        counts[name] = pipeline.encoded_crops
    assert counts["poll"] == 2  # nobody was confirmed at the first look
    assert counts["event"] <= 0.7 * counts["evenly"]  # most of it for learning how people look here


def test_the_policy_is_the_configurations_unless_another_one_is_handed_in():
    polled = replace(Config(), background=BackgroundConfig(policy="poll", poll_s=2.0, poll_missing_s=1.0))
    counts = []
    for config, policy in ((polled, None), (Config(), PollPolicy(2.0, 1.0)), (Config(), None)):
        encoder = HandcraftedEncoder(config.reid.stripes)
        head = load_head(config.reid, encoder.describe())
        camera = CameraConfig("door", "none")
        pipeline = CameraPipeline(camera, config, detector=Scripted(), encoder=encoder, head=head, policy=policy)
        run(pipeline, 110)
        counts.append(pipeline.encoded_crops)
    assert counts[0] == counts[1] == 2 < counts[2]


def test_a_poll_makes_clips_at_its_looks_only(make):
    clips = of(run(make(Scripted(first=5), policy=PollPolicy(2.0, 1.0)), 150), ClipFeature)
    assert [c.made_at_s for c in clips] == pytest.approx([2.0, 4.0])  # the first look, at 0 s, saw nobody


def test_a_tick_follows_every_message_and_comes_every_0_2_s_without_any(make):
    nobody = make(Scripted(first=10_000))
    ticks = run(nobody, 26)
    assert all(isinstance(t, Tick) for t in ticks)
    assert [t.processed_until_s for t in ticks] == pytest.approx([0.0, 0.2, 0.4, 0.6, 0.8, 1.0])
    pipeline = make()
    for index in range(60):
        messages = pipeline.process(frame(index)).messages
        assert not messages or (isinstance(messages[-1], Tick) and messages[-1].processed_until_s == index / FPS)


def test_without_frames_idle_ticks_keep_the_clock_going_and_never_turn_it_back(make):
    pipeline = make()
    assert pipeline.idle(5.0) == []  # nothing has begun
    run(pipeline, 10)
    assert pipeline.idle(0.1) == []
    (tick,) = pipeline.idle(5.0)
    assert tick.processed_until_s == 5.0


def test_a_new_epoch_ends_the_old_ones_tracks_first_and_numbers_from_1(make):
    pipeline = make()
    old = run(pipeline, 30)
    new = pipeline.process(frame(0, epoch="2", start_s=2.0)).messages
    ended = of(new, Tracklet)
    assert [t.epoch for t in ended] == ["1"]
    first, rest = [m for m in new if m.epoch == "1"], [m for m in new if m.epoch == "2"]
    assert new == first + rest
    assert [m.sequence for m in old + first] == list(range(1, len(old + first) + 1))
    assert [m.sequence for m in rest] == list(range(1, len(rest) + 1))


@pytest.mark.parametrize("policy", [EVENT, EVENLY])
def test_the_clips_of_a_short_track_come_before_its_tracklet(make, policy):
    pipeline = make(Scripted(first=0, last=6), policy=policy)
    messages = [m for m in run(pipeline, 100) if not isinstance(m, Tick)]
    assert {type(m) for m in messages[:-1]} == {ClipFeature} and type(messages[-1]) is Tracklet


def test_between_two_detections_boxes_are_predicted(make):
    detector = Scripted()
    pipeline = make(detector, detect_every_s=0.2)
    shown = [pipeline.process(frame(index)).tracked for index in range(31)]
    assert detector.seen == [0, 5, 10, 15, 20, 25, 30]
    between = shown[27].tracks
    assert len(between) == 1 and between.confidence.tolist() == [0.0]
    assert between.xyxy[0, 0] == pytest.approx(100 + 2 * 27, abs=4)


def test_the_end_is_told_once_with_the_last_frames_time(make):
    pipeline = make()
    run(pipeline, 30)
    last = pipeline.finish("end")[-1]
    assert isinstance(last, CameraState) and (last.status, last.at_s, last.epoch) == ("end", 29 / FPS, "1")


def test_a_pause_ends_the_tracks_and_says_nothing_of_the_camera(make):
    pipeline = make()
    run(pipeline, 30)
    messages = pipeline.finish(None)
    assert of(messages, Tracklet) and not of(messages, CameraState)
    assert pipeline.finish(None) == []


def test_a_camera_that_never_gave_a_frame_can_be_offline(make):
    (state,) = make().finish("offline", at_s=12.0)
    assert (state.status, state.at_s, state.sequence) == ("offline", 12.0, 1)


def test_boxes_of_every_frame_go_to_the_overlay(make):
    pipeline = make()
    tracked = [pipeline.process(frame(index)).tracked for index in range(20)]
    assert [t.index for t in tracked] == list(range(20))
    assert (tracked[-1].width_px, tracked[-1].height_px, len(tracked[-1].tracks)) == (640, 240, 1)


class AwayEncoder(HandcraftedEncoder):
    """Stands for an inference process that is away when crops are to be encoded."""

    def encode(self, frames, boxes):
        raise InferenceUnavailable("the inference process is away")


def test_tracks_that_end_are_still_told_while_no_crop_can_be_encoded(make):
    pipeline = make(Scripted(last=30), encoder=AwayEncoder(Config().reid.stripes))
    messages = run(pipeline, 120)
    assert len(of(messages, Tracklet)) == 1
    assert not of(messages, ClipFeature)
    assert [m.sequence for m in messages] == list(range(1, len(messages) + 1))
    assert pipeline.lost_crops > 0


def test_a_detector_that_is_away_as_a_new_epoch_begins_loses_nothing_of_the_old_one(make):
    detector = Scripted()
    pipeline = make(detector)
    old = run(pipeline, 30)

    def away(frames):
        raise InferenceUnavailable("the inference process is away")

    there, detector.detect = detector.detect, away
    with pytest.raises(InferenceUnavailable):
        pipeline.process(frame(0, epoch="2", start_s=2.0))
    detector.detect = there
    messages = pipeline.process(frame(1, epoch="2", start_s=2.0)).messages
    ended = [m for m in messages if m.epoch == "1"]
    assert len(of(ended, Tracklet)) == 1
    assert [m.sequence for m in old + ended] == list(range(1, len(old + ended) + 1))


class SideBySide:
    """Two people who walk beside each other: the boxes go on whoever is in them."""

    def detect(self, frames):
        boxes = [[[x, 40, x + 60, 200], [x + 70, 40, x + 130, 200]] for x in (60.0 + f.index for f in frames)]
        return [Detections(np.array(b, np.float32), np.array([0.9, 0.9], np.float32)) for b in boxes]


LOOKS = ((20, 20, 200), (160, 40, 20)), ((30, 160, 30), (210, 210, 210))  # upper and lower half, BGR
EXCHANGED = 250  # frame; at 25 a second


def pair(index):
    """After `EXCHANGED` each of the two is where the other one was expected."""
    image = np.full((240, 640, 3), 90, np.uint8)
    image[::7] += np.uint8(index % 5)  # no two pictures alike
    for place, look in enumerate(LOOKS if index < EXCHANGED else LOOKS[::-1]):
        x = 60 + index + 70 * place
        image[40:120, x : x + 60], image[120:200, x : x + 60] = look
    return Frame("door", "1", index, index / FPS, image)


@pytest.fixture
def make_pair():
    def build(config=None, **options):
        encoder = HandcraftedEncoder(Config().reid.stripes)
        return CameraPipeline(
            CameraConfig("door", "none"),
            config or Config(),
            detector=SideBySide(),
            encoder=encoder,
            head=load_head(Config().reid, encoder.describe()),
            **{"policy": EVENLY, **options},
        )

    return build


def run_pair(pipeline, count=350):
    results = [pipeline.process(pair(index)) for index in range(count)]
    return results, [m for r in results for m in r.messages] + pipeline.finish("end")


def test_tracks_that_exchanged_people_end_there_and_go_on_under_fresh_ids(make_pair):
    results, messages = run_pair(make_pair())
    tracklets = {t.key.track_id: t for t in of(messages, Tracklet)}
    assert sorted(tracklets) == [1, 2, 3, 4]
    for old, new in ((1, 3), (2, 4)) if tracklets[3].xyxy[0, 0] < tracklets[4].xyxy[0, 0] else ((1, 4), (2, 3)):
        assert tracklets[old].frame_index[-1] + 1 == tracklets[new].frame_index[0]
        assert abs(tracklets[new].frame_index[0] - EXCHANGED) <= 7  # one crop comes each quarter of a second
        assert tracklets[old].frame_index[0] == 0 and tracklets[new].frame_index[-1] == 349
        assert not tracklets[old].left_picture
    assert results[EXCHANGED - 1].tracked.tracks.ids.tolist() == [1, 2]
    assert results[-1].tracked.tracks.ids.tolist() == [3, 4]
    assert of(messages, Tick)[-1].visible == (3, 4)


def test_clips_of_a_track_that_was_cut_show_one_person_each(make_pair):
    _, messages = run_pair(make_pair())
    last = {clip.key.track_id: clip for clip in of(messages, ClipFeature)}
    left, right = (3, 4) if last[3].seen_xyxy[-1, 0] < last[4].seen_xyxy[-1, 0] else (4, 3)
    likeness = {(a, b): float(last[a].embedding @ last[b].embedding) for a in (1, 2) for b in (left, right)}
    assert min(likeness[1, right], likeness[2, left]) > max(likeness[1, left], likeness[2, right]) + 0.05
    ends = {t.key.track_id: t for t in of(messages, Tracklet)}
    for clip in last.values():
        own = ends[clip.key.track_id].captured_at_s
        assert own[0] == pytest.approx(clip.first_visible_s)
        assert own[0] <= clip.start_s <= clip.end_s <= own[-1]
        assert len(clip.seen_s) == 0 or own[0] <= clip.seen_s[0] <= clip.seen_s[-1] <= own[-1]


def test_a_cut_breaks_neither_numbers_nor_times_and_is_told_in_order(make_pair):
    _, messages = run_pair(make_pair())
    assert [m.sequence for m in messages] == list(range(1, len(messages) + 1))
    assert all(a.at_s <= b.at_s for a, b in itertools.pairwise(messages))
    places = {}
    for place, message in enumerate(messages):
        if isinstance(message, ClipFeature | Tracklet):
            places.setdefault((type(message), message.key.track_id), []).append(place)
    for track_id in (1, 2):
        assert max(places[ClipFeature, track_id]) < places[Tracklet, track_id][0]
    assert max(places[Tracklet, 1][0], places[Tracklet, 2][0]) < min(*places[ClipFeature, 3], *places[ClipFeature, 4])


def test_the_same_frames_are_cut_at_the_same_places(make_pair):
    first, second = (of(run_pair(make_pair())[1], Tracklet) for _ in range(2))
    assert [(t.key, t.sequence, t.captured_at_s.tolist()) for t in first] == [
        (t.key, t.sequence, t.captured_at_s.tolist()) for t in second
    ]


COARSE = replace(Config(), reid=replace(Config().reid, backbone="handcrafted"))


UNCUT = replace(Config(), tracker=replace(Config().tracker, cut_switches=False))


@pytest.mark.parametrize("options", [{"config": UNCUT}, {"on_crop": lambda *crop: None}, {"config": COARSE}])
def test_nothing_is_cut_where_it_is_not_wanted_or_would_not_be_heard(make_pair, options):
    _, messages = run_pair(make_pair(**options))
    assert [t.key.track_id for t in of(messages, Tracklet)] == [1, 2]


def test_who_listens_to_crops_hears_which_track_they_are_of(make_pair):
    crops, splits = [], []
    _, messages = run_pair(
        make_pair(
            on_crop=lambda key, crop, request: crops.append((key, crop.captured_at_s)),
            on_split=lambda *split: splits.append(split),
        )
    )
    first = {t.key: t.captured_at_s[0] for t in of(messages, Tracklet)}
    assert {old.track_id for old, _, _ in splits} == {1, 2}
    for old, new, after_s in splits:
        moved = [(key, at_s) for key, at_s in crops if key == old and at_s > after_s]
        assert moved and all(at_s >= first[new] for _, at_s in moved)
    assert {key.track_id for key, _ in crops} == {1, 2, 3, 4}

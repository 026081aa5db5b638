"""One camera from frame to messages: detect → track → sample → encode → fuse. The same code live and in replay.

A track whose crops show that its person has changed is cut: it ends at the change, and goes on from there as a new one.
"""

import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from pipeline.background.background_model import BackgroundModel
from pipeline.background.kept_frames import FrameKeeper
from pipeline.config import CameraConfig, Config
from pipeline.errors import DecodeError, InferenceUnavailable
from pipeline.ports import ClipHead, CropEncoder, Detector
from pipeline.runtime.camera_stream import CameraStream
from pipeline.runtime.latency import LatencyRecorder
from pipeline.tracking.encoding_policy import EncodingPolicy, PollPolicy, policy_of
from pipeline.tracking.looks import KnownDistances
from pipeline.tracking.polling import PollSampler
from pipeline.tracking.quality import frame_qualities, pixel_window, sharpness
from pipeline.tracking.sampling import ClipSampler, CropRequest, DueClip
from pipeline.tracking.switches import SwitchWatch
from pipeline.tracking.tracker import PersonTracker
from pipeline.types import (
    CameraState,
    CameraStatus,
    ClipFeature,
    ClipMessage,
    CropFeature,
    Detections,
    Frame,
    FramePointer,
    Tick,
    TrackedFrame,
    TrackKey,
    Tracklet,
    Tracks,
)

_log = logging.getLogger(__name__)

_PLATE_EVERY_S = 1.0  # the clean plate follows light, which changes over seconds
_SAVE_PLATE_EVERY_S = 10.0
_STILL_S = 0.5  # of one picture: a recorder that repeats frames to keep its rate does it for less; sensors have noise
_SAMPLE_PX = 8  # every eighth row and column is compared
_SLACK_S = 1e-4  # frame times are rounded
_COARSE = ("handcrafted",)  # backbones too coarse to cut tracks by: 9 of PETS' 25 tracks of one person would be cut


@dataclass(frozen=True, eq=False, slots=True)
class FrameResult:
    """What one frame led to: messages for the `clips` stream in order, and the boxes for overlays."""

    messages: list[ClipMessage]
    tracked: TrackedFrame


class PictureKeeping:
    """The pictures a camera leaves on its host: one frame per track, and the clean plate."""

    def __init__(self, out_dir: Path, camera_id: str, host: str) -> None:
        self._out_dir = out_dir
        self._camera_id = camera_id
        self._frames = FrameKeeper(out_dir, camera_id, host)
        self._plate = _earlier_plate(out_dir, camera_id) or BackgroundModel()
        self._plate_at_s = -np.inf
        self._saved_at_s = -np.inf
        self._sample = b""
        self._changed_s = -np.inf
        self.frozen_frames = 0  # not kept, because the camera repeated an earlier picture

    def observe(self, frame: Frame, tracks: Tracks) -> None:
        now_s = frame.captured_at_s
        if not self._stands_still(frame):
            self._frames.observe(frame, tracks, _scores(frame, tracks))
        if now_s >= self._plate_at_s + _PLATE_EVERY_S or now_s < self._plate_at_s:
            self._plate_at_s = now_s
            self._plate.update(frame, tracks.xyxy)
            self._frames.sweep(now_s)
        if now_s >= self._saved_at_s + _SAVE_PLATE_EVERY_S or now_s < self._saved_at_s:
            self._saved_at_s = now_s
            self._plate.save(self._out_dir, self._camera_id)

    def _stands_still(self, frame: Frame) -> bool:
        """Whether the camera has been repeating one picture: nobody knows when that was taken."""
        sample = frame.image[::_SAMPLE_PX, ::_SAMPLE_PX].tobytes()
        if sample != self._sample or frame.captured_at_s < self._changed_s:
            self._sample, self._changed_s = sample, frame.captured_at_s
        still = frame.captured_at_s >= self._changed_s + _STILL_S - _SLACK_S
        self.frozen_frames += still
        return still

    def pointer(self, track_id: int, until_s: float = np.inf) -> FramePointer | None:
        """The track's picture; None when it has none, or one from later than `until_s`."""
        pointer = self._frames.pointer(track_id)
        return pointer if pointer is not None and pointer.captured_at_s <= until_s else None

    def finish(self, track_id: int) -> None:
        self._frames.finish(track_id)


def _scores(frame: Frame, tracks: Tracks) -> dict[int, float]:
    """How good a picture of each track the frame is, 0 to 1."""
    height_px, width_px = frame.image.shape[:2]
    scores = {}
    for track_id, xyxy, quality in zip(tracks.ids.tolist(), tracks.xyxy, frame_qualities(frame, tracks), strict=True):
        x1, y1, x2, y2 = pixel_window(xyxy, width_px, height_px)
        scores[track_id] = replace(quality, sharpness=sharpness(frame.image[y1:y2, x1:x2])).score
    return scores


def _earlier_plate(out_dir: Path, camera_id: str) -> BackgroundModel | None:
    """What a worker that was restarted left; None at the first start or when it cannot be read."""
    try:
        return BackgroundModel.load(out_dir, camera_id)
    except (FileNotFoundError, DecodeError):
        return None


class CameraPipeline:
    """Turns the frames of one camera into numbered messages.

    Args:
        keeping: None keeps no pictures (then no reference frames can be taken).
        latency: durations of the stages are recorded here.
        on_crop: told of every crop that was encoded, with what it was cut from.
        on_clip: told of every clip, before it is returned, with the crops that it was fused from.
        on_split: told of every track that was cut: crops of the first one after this time are the second one's. Who
            listens to crops and not to this gets no track cut.
        policy: when people are looked at; None: as the configuration says. With a coarse backbone, and where people
            are polled, no track is cut.
    """

    def __init__(
        self,
        camera: CameraConfig,
        config: Config,
        *,
        detector: Detector,
        encoder: CropEncoder,
        head: ClipHead,
        keeping: PictureKeeping | None = None,
        latency: LatencyRecorder | None = None,
        on_crop: Callable[[TrackKey, CropFeature, CropRequest], None] | None = None,
        on_clip: Callable[[ClipFeature, Sequence[CropFeature]], None] | None = None,
        on_split: Callable[[TrackKey, TrackKey, float], None] | None = None,
        policy: EncodingPolicy | None = None,
    ) -> None:
        self._camera = camera
        self._config = config
        self._detector = detector
        self._encoder = encoder
        self._head = head
        self._keeping = keeping
        self._latency = latency or LatencyRecorder()
        self._on_crop = on_crop
        self._on_clip = on_clip
        self._on_split = on_split
        heard = on_crop is None or on_split is not None
        policy = policy or policy_of(config)
        can_tell = config.reid.backbone not in _COARSE and not isinstance(policy, PollPolicy)
        self._watches = config.tracker.cut_switches and heard and can_tell
        self._policy = policy
        self._known = KnownDistances()
        self._stream: CameraStream | None = None
        self.encoded_crops = 0  # through the backbone
        self.lost_crops = 0  # not encoded, because the inference process was away

    def process(self, frame: Frame) -> FrameResult:
        """One frame, in order of time; a frame of a new epoch first ends everything of the old one.

        Raises:
            InferenceUnavailable: nothing was detected; the frame does not count, the next one may be processed.
        """
        detections = self._detect(frame)  # first: when it fails, nothing has changed
        messages: list[ClipMessage] = []
        stream = self._stream
        if stream is None or stream.epoch != frame.epoch:
            messages += self._end_tracks(stream) if stream else []
            stream = self._stream = self._begin(frame.epoch)
        height_px, width_px = frame.image.shape[:2]
        stream.picture_px = (width_px, height_px)
        tracks, ended = self._track(stream, frame, detections)
        stream.last_s = max(stream.last_s, frame.captured_at_s)
        if self._keeping and tracks is not None:
            self._keeping.observe(frame, tracks)
        if tracks is not None:
            stream.seen.add(frame.captured_at_s, tracks)
            if stream.watch:
                stream.watch.see(frame.captured_at_s, tracks)
            doubtful = stream.watch.doubtful() if stream.watch else ()
            requests = stream.sampler.offer(frame, tracks, stream.tracker.births(), doubtful)
            self._encode(stream, requests)
            messages += self._ended(stream, ended)
            messages += self._cut(stream)
            tracks = stream.relabelled(tracks)
            for due in stream.sampler.due_clips(frame.captured_at_s, stream.settled_until_s):
                messages.append(self._clip(stream, due, frame.captured_at_s, stream.settled_until_s(due.track_id)))
        visible = None if tracks is None else tuple(sorted(tracks.ids.tolist()))
        messages += self._tick(stream, frame.captured_at_s, bool(messages), visible)
        shown = tracks if tracks is not None else stream.tracker.predicted(frame.captured_at_s)
        tracked = TrackedFrame(
            frame.camera_id, frame.epoch, frame.index, frame.captured_at_s, width_px, height_px, shown
        )
        return FrameResult(messages, tracked)

    def idle(self, now_s: float) -> list[ClipMessage]:
        """A tick for a camera without a new frame, so that the site's clock goes on; `now_s` is stream time."""
        if self._stream is None or now_s <= self._stream.last_s:
            return []
        return self._tick(self._stream, now_s, False)

    def finish(self, status: CameraStatus | None, at_s: float | None = None) -> list[ClipMessage]:
        """End all tracks, and say how the stream ended (None: it only pauses, a new epoch will follow)."""
        stream, self._stream = self._stream, None
        if stream is None:
            if status is None:
                return []
            stream = self._begin("none")
        messages = self._end_tracks(stream)
        if status is not None:
            last_s = stream.last_s if np.isfinite(stream.last_s) else 0.0
            when = last_s if at_s is None else at_s
            messages.append(CameraState(self._camera.id, stream.epoch, self._number(stream), when, status))
        return messages

    def _begin(self, epoch: str) -> CameraStream:
        exits = self._camera.exits
        tracker = PersonTracker(self._camera.id, epoch, self._config.tracker, exits=exits)
        watch = SwitchWatch(self._head, self._known) if self._watches else None
        return CameraStream(epoch, tracker, self._sampler(), watch)

    def _sampler(self) -> ClipSampler:
        if isinstance(self._policy, PollPolicy):
            return PollSampler(self._config.reid, self._policy, self._head)
        return ClipSampler(self._config.reid, self._policy)

    def _detect(self, frame: Frame) -> Detections | None:
        """The frame's detections; None between two detections (`detect_every_s`)."""
        stream = self._stream
        if stream is not None and stream.epoch == frame.epoch:
            due_s = stream.detected_s + self._camera.detect_every_s
            if frame.captured_at_s < due_s - _SLACK_S:
                return None
        with self._latency.measure("detect"):
            return self._detector.detect([frame])[0]

    def _track(
        self, stream: CameraStream, frame: Frame, detections: Detections | None
    ) -> tuple[Tracks | None, list[Tracklet]]:
        """The frame's tracks and the tracklets that ended; None without detections."""
        if detections is None:
            return None, []
        stream.detected_s = frame.captured_at_s
        with self._latency.measure("track"):
            return stream.tracker.update(frame, detections)

    def _encode(self, stream: CameraStream, requests: Sequence[CropRequest]) -> None:
        if not requests:
            return
        try:
            with self._latency.measure("encode"):
                features = self._encoder.encode([r.crop_frame for r in requests], [r.xyxy[None] for r in requests])
        except InferenceUnavailable as error:  # the tracks go on, and so do the messages about those that ended
            self.lost_crops += len(requests)
            _log.warning("camera %s: %d crops were not encoded: %s", self._camera.id, len(requests), error)
            return
        self.encoded_crops += len(requests)
        for request, (feature,) in zip(requests, features, strict=True):
            described: CropFeature = replace(feature, quality=request.quality, captured_at_s=request.captured_at_s)
            track_id = stream.owner(request)
            stream.sampler.accept(track_id, described)
            if self._on_crop:
                self._on_crop(TrackKey(self._camera.id, stream.epoch, track_id), described, request)
            for switch in stream.watch.accept(track_id, described) if stream.watch else ():
                stream.split(switch)

    def _end_tracks(self, stream: CameraStream) -> list[ClipMessage]:
        return self._ended(stream, stream.tracker.finish())

    def _ended(self, stream: CameraStream, tracklets: Iterable[Tracklet]) -> list[ClipMessage]:
        messages: list[ClipMessage] = []
        for tracklet in tracklets:
            track_id = tracklet.key.track_id
            self._encode(stream, stream.sampler.flush(track_id))
            until_s = min(stream.settled_until_s(track_id), float(tracklet.captured_at_s[-1]))
            last = stream.sampler.last_clip(track_id, until_s)
            if last is not None:
                messages.append(self._clip(stream, last, tracklet.ended_at_s, until_s))
            stream.sampler.forget(track_id)
            stream.seen.forget(track_id)
            if self._keeping:
                self._keeping.finish(track_id)
            messages.append(replace(tracklet, sequence=self._number(stream)))
        return messages

    def _cut(self, stream: CameraStream) -> list[ClipMessage]:
        """The ends of the tracks that were cut."""
        messages: list[ClipMessage] = []
        for one in stream.take_cuts():
            messages += self._ended(stream, [one.tracklet])
            if self._on_split:
                key = one.tracklet.key
                self._on_split(key, key._replace(track_id=one.new_id), one.after_s)
        return messages

    def _clip(self, stream: CameraStream, due: DueClip, made_at_s: float, until_s: float) -> ClipFeature:
        """`until_s`: boxes and picture are from no later."""
        with self._latency.measure("fuse"):
            fused = self._head.fuse(due.crops)
        seen_s, seen_xyxy = stream.seen.take(due.track_id, until_s)
        clip = ClipFeature(
            key=TrackKey(self._camera.id, stream.epoch, due.track_id),
            sequence=self._number(stream),
            first_visible_s=due.first_visible_s,
            start_s=due.crops[0].captured_at_s,
            end_s=due.crops[-1].captured_at_s,
            made_at_s=made_at_s,
            embedding=fused.embedding,
            parts=fused.parts,
            visibility=fused.visibility,
            attention=fused.attention,
            quality=max(crop.quality.score for crop in due.crops),
            model_id=self._head.clip_model_id,
            frame=self._keeping.pointer(due.track_id, until_s) if self._keeping else None,
            seen_s=seen_s,
            seen_xyxy=seen_xyxy,
            picture_px=stream.picture_px,
        )
        if self._on_clip:
            self._on_clip(clip, due.crops)
        return clip

    def _tick(
        self, stream: CameraStream, now_s: float, news: bool, visible: tuple[int, ...] | None = None
    ) -> list[ClipMessage]:
        """A tick after every message, and otherwise often enough that nobody waits for an empty picture."""
        if not news and now_s < stream.ticked_s + self._config.runtime.tick_every_s - _SLACK_S:
            return []
        stream.ticked_s = now_s
        return [Tick(self._camera.id, stream.epoch, self._number(stream), now_s, visible)]

    def _number(self, stream: CameraStream) -> int:
        stream.sequence += 1
        return stream.sequence

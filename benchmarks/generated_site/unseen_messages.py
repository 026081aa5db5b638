"""What a camera would publish about tracks that were never rendered, with crops of a pool for their looks."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from generated_site.crop_pool import CropPool, PoolStay
from generated_site.unseen_tracks import UnseenTrack
from pipeline.config import Config
from pipeline.ports import ClipHead
from pipeline.tracking.sampling import MOST_CROPS, evenly_spread
from pipeline.types import CameraState, ClipFeature, ClipMessage, CropFeature, Tick, TrackKey, Tracklet

EPOCH = "1"
_SEEN_EVERY_S = 0.2  # of the boxes that go with a clip, as live
_SLACK_S = 1e-4
_HIDDEN_COUNTS = 0.5  # a crop is chosen by when in the stay it was taken, and half as much by how much was hidden
_WITHIN = 2  # of the best crops, one by chance


@dataclass
class Looks:
    """Chooses crops of the pool; the same track keeps to one stay of the pool for each person it is on."""

    pool: CropPool
    camera_id: str
    rng: np.random.Generator
    chosen: dict[tuple[int, int], PoolStay] = field(default_factory=dict)

    def crop(self, number: int, track: UnseenTrack, place: int, at_s: float) -> CropFeature:
        """A crop of whoever is in the box of a track, its number given, at a place among its frames."""
        person_id = int(track.person_ids[place])
        key = (number, person_id)
        if key not in self.chosen:
            stays = self.pool.stays[person_id, self.camera_id]
            self.chosen[key] = stays[int(self.rng.integers(len(stays)))]
        stay = self.chosen[key]
        hidden = np.array([crop.quality.overlap for crop in stay.crops])
        away = np.abs(stay.progress - track.progress[place])
        away += _HIDDEN_COUNTS * np.abs(hidden - (1 - track.visibility[place]))
        best = np.argsort(away, kind="stable")[:_WITHIN]
        return replace(stay.crops[int(self.rng.choice(best))], captured_at_s=at_s)


def publish(
    camera_id: str,
    tracks: Sequence[UnseenTrack],
    frame_count: int,
    fps: float,
    config: Config,
    looks: Looks,
    head: ClipHead,
    picture_px: tuple[int, int],
) -> Iterator[tuple[int, list[ClipMessage]]]:
    """(frame, its messages) of every frame in order; the last one ends the camera."""
    lost_frames = round(config.tracker.lost_s * fps) + 1
    begins, ends, visible = _calendar(tracks, frame_count, lost_frames)
    writer = _Writer(camera_id, tracks, fps, config, looks, head, picture_px)
    for frame in range(frame_count):
        for number in begins[frame]:
            writer.begin(number)
        messages = [m for number in ends[frame] for m in writer.end(number, frame / fps)]
        messages += writer.due(frame)
        messages += writer.tick(frame / fps, tuple(sorted(n + 1 for n in visible[frame])), bool(messages))
        if frame == frame_count - 1:
            messages += [m for number in writer.open_numbers() for m in writer.end(number, frame / fps)]
            messages.append(CameraState(camera_id, EPOCH, writer.number(), frame / fps, "end"))
        yield frame, messages


def _calendar(
    tracks: Sequence[UnseenTrack], frame_count: int, lost_frames: int
) -> tuple[dict[int, list[int]], dict[int, list[int]], dict[int, list[int]]]:
    """Frame → numbers of the tracks that begin, end (once lost for long enough) and are seen in it."""
    begins, ends, visible = defaultdict(list), defaultdict(list), defaultdict(list)
    for number, track in enumerate(tracks):
        begins[int(track.frames[0])].append(number)
        ends[int(track.frames[-1]) + lost_frames].append(number)
        for frame in track.frames[track.found].tolist():
            visible[frame].append(number)
    return begins, ends, visible


@dataclass(slots=True)
class _Open:
    """A track that has not ended: its crops so far, and when its last clip was."""

    crops: list[CropFeature] = field(default_factory=list)
    chunk: int = -1
    clipped_at_s: float | None = None
    fresh: bool = False
    told: int = 0  # places of the track whose boxes went out


@dataclass
class _Writer:
    camera_id: str
    tracks: Sequence[UnseenTrack]
    fps: float
    config: Config
    looks: Looks
    head: ClipHead
    picture_px: tuple[int, int]
    open: dict[int, _Open] = field(default_factory=dict)
    sequence: int = 0
    ticked_s: float = -np.inf

    def begin(self, number: int) -> None:
        self.open[number] = _Open()

    def open_numbers(self) -> list[int]:
        return sorted(self.open)

    def number(self) -> int:
        self.sequence += 1
        return self.sequence

    def due(self, frame: int) -> list[ClipMessage]:
        """Take this frame's crops, and make the clips that are due."""
        clips: list[ClipMessage] = []
        now_s = frame / self.fps
        for number, state in sorted(self.open.items()):
            track = self.tracks[number]
            place = frame - int(track.frames[0])
            born_s = int(track.frames[0]) / self.fps
            if place < len(track.frames) and track.found[place]:
                self._take(number, state, place, now_s, born_s)
            if state.fresh and self._is_due(state, now_s, born_s):
                state.clipped_at_s = now_s
                clips.append(self._clip(number, state, now_s))
        return clips

    def _take(self, number: int, state: _Open, place: int, now_s: float, born_s: float) -> None:
        chunk = int((now_s - born_s + _SLACK_S) // self.config.reid.crop_every_s)
        if chunk > state.chunk:
            state.chunk = chunk
            state.crops.append(self.looks.crop(number, self.tracks[number], place, now_s))
            state.fresh = True
            if len(state.crops) > MOST_CROPS:
                del state.crops[1::2]

    def _is_due(self, state: _Open, now_s: float, born_s: float) -> bool:
        reid = self.config.reid
        if state.clipped_at_s is None:
            return now_s >= born_s + reid.first_clip_s - _SLACK_S
        return now_s >= state.clipped_at_s + reid.every_s - _SLACK_S

    def end(self, number: int, now_s: float) -> list[ClipMessage]:
        """The track's last clip, where there is news, and the tracklet."""
        state, track = self.open.pop(number), self.tracks[number]
        messages: list[ClipMessage] = [self._clip(number, state, now_s)] if state.fresh else []
        key = TrackKey(self.camera_id, EPOCH, number + 1)
        times = track.frames / self.fps
        sequence = self.number()
        messages.append(
            Tracklet(key, sequence, now_s, track.left_picture, track.frames, times, track.xyxy, track.confidence)
        )
        return messages

    def _clip(self, number: int, state: _Open, now_s: float) -> ClipFeature:
        track = self.tracks[number]
        crops = evenly_spread(state.crops, self.config.reid.clip_frames)
        fused = self.head.fuse(crops)
        state.fresh = False
        upto = int(np.searchsorted(track.frames, round(now_s * self.fps), side="right"))
        places = np.arange(state.told, upto)[track.found[state.told : upto]]
        places = places[:: max(round(_SEEN_EVERY_S * self.fps), 1)]
        state.told = upto
        return ClipFeature(
            key=TrackKey(self.camera_id, EPOCH, number + 1),
            sequence=self.number(),
            first_visible_s=int(track.frames[0]) / self.fps,
            start_s=crops[0].captured_at_s,
            end_s=crops[-1].captured_at_s,
            made_at_s=now_s,
            embedding=fused.embedding,
            parts=fused.parts,
            visibility=fused.visibility,
            attention=fused.attention,
            quality=max(crop.quality.score for crop in crops),
            model_id=self.head.clip_model_id,
            seen_s=track.frames[places] / self.fps,
            seen_xyxy=track.xyxy[places],
            picture_px=self.picture_px,
        )

    def tick(self, now_s: float, visible: tuple[int, ...], news: bool) -> list[ClipMessage]:
        """As live: after every message, and often enough."""
        if not news and now_s < self.ticked_s + self.config.runtime.tick_every_s - _SLACK_S:
            return []
        self.ticked_s = now_s
        return [Tick(self.camera_id, EPOCH, self.number(), now_s, visible)]

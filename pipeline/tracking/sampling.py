"""Which crops of which tracks are encoded, and when a clip is made of them.

Restricted sampling, live: a track's life is cut into chunks of `crop_every_s` and, as it goes on, of more and more
(`EventPolicy`); the best crop of each chunk is encoded. A candidate is copied out of its frame at once, so that no
picture is needed later; a better one of the same chunk replaces it. A clip spreads `clip_frames` of the encoded crops
evenly over the life of the track so far.

The order of calls for a frame: `offer`, encode what it returns, `accept` each, then `due_clips`. For a track that
ended: `flush`, encode, `accept`, `last_clip`, `forget`. Nothing here reads a clock or a random number.

Clips take crops up to a time only, where later ones may be of somebody else; then `split` gives these to a new track.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace

import cv2
import numpy as np

from pipeline.config import ReidConfig
from pipeline.tracking.encoding_policy import EVENT, EventPolicy
from pipeline.tracking.quality import frame_qualities, pixel_window, sharpness
from pipeline.types import CropFeature, CropQuality, FloatArray, Frame, ImageArray, Tracks

MOST_CROPS = 32  # stored features of a track: 32 x (16 stripes x 128 channels x 4 B) = 256 KiB; ResNet-50's 4 MiB
TALLEST_CROP_PX = 512  # twice the height of the backbones' input; a taller copy only costs memory
SHARPEST = 1e12  # the limit of `CropQuality.score` in sharpness
TIME_SLACK_S = 1e-4  # s; frame times are rounded
MOST_OVERLAP, MOST_TRUNCATION = 0.3, 0.35  # of a crop that is worth encoding in any case (`CropQuality`)
CLOSE_CHUNKS = 3  # crops of a close look: what `switches` needs to judge
WHOLE_TRUNCATION = 0.05  # of a whole person: boxes are shaky
FEW_CROPS = 2  # with as many the end of a track brings nothing that would be worth another
POOR_EVERY_S = 5.0  # after the last crop of a track, one that is not


@dataclass(frozen=True, eq=False, slots=True)
class CropRequest:
    """A crop to encode: `xyxy` (4,) px in `crop_frame`, a small picture of its own.

    Attributes:
        quality: to be put into the encoded feature; measured in the full picture.
    """

    track_id: int
    captured_at_s: float
    crop_frame: Frame
    xyxy: FloatArray
    quality: CropQuality


@dataclass(frozen=True, eq=False, slots=True)
class DueClip:
    """A clip to fuse: N >= 1 crop features of one track in order of time."""

    track_id: int
    first_visible_s: float
    crops: list[CropFeature]


@dataclass(slots=True)
class _Sampling:
    """What is known of one track.

    Attributes:
        opens_s, closes_s: the present chunk. given: it has given its crop.
        has_whole: a crop was given that shows a whole person.
        close_s: when a close look at it began last. close_left: crops that it still wants.
        seen_s: when it was in a frame last.
    """

    born_s: float
    opens_s: float
    closes_s: float
    given: bool = False
    has_whole: bool = False
    close_s: float = -np.inf
    close_left: int = 0
    seen_s: float = -np.inf
    candidate: CropRequest | None = None
    crops: list[CropFeature] = field(default_factory=list)
    first_taken: bool = False  # the crops of the first clip were released
    clipped_at_s: float | None = None
    clipped_until_s: float = -np.inf  # the newest crop that the last clip could take

    def settled(self, until_s: float) -> list[CropFeature]:
        return [crop for crop in self.crops if crop.captured_at_s <= until_s]

    def has_news(self, until_s: float) -> bool:
        """Whether there is a crop that the last clip could not take."""
        return any(self.clipped_until_s < crop.captured_at_s <= until_s for crop in self.crops)


class ClipSampler:
    """Chooses the crops and clips of one camera's tracks in one epoch."""

    def __init__(self, config: ReidConfig, policy: EventPolicy = EVENT) -> None:
        self._config = config
        self._policy = policy
        self._tracks: dict[int, _Sampling] = {}

    def offer(
        self, frame: Frame, tracks: Tracks, births: Mapping[int, float] | None = None, doubtful: Collection[int] = ()
    ) -> list[CropRequest]:
        """Look at a frame; returns the crops that are due for encoding, by track id.

        A crop is due when its chunk is over, or when the first clip is. A chunk gives at most one crop. Must be called
        for every frame, also for one without tracks: time alone may make crops due.

        Args:
            births: time of the first box of each track, from `PersonTracker.births`; without it a track is born when it
                is first offered.
            doubtful: tracks that may show somebody else by now: they are looked at as closely as after their birth.
        """
        now_s = frame.captured_at_s
        self._note_births(now_s, tracks, births or {})
        for track_id in doubtful:
            if track_id in self._tracks:
                self._look_closely(self._tracks[track_id], now_s)
        due = [crop for crop in self._take(lambda s: now_s >= s.closes_s - TIME_SLACK_S) if self._is_worth_it(crop)]
        for sampling in self._tracks.values():
            self._go_on(sampling, now_s)
        # A Python loop, because every crop is cut and scored as a picture of its own.
        for i, quality in enumerate(frame_qualities(frame, tracks)):
            self._consider(frame, int(tracks.ids[i]), tracks.xyxy[i], quality)
        due += self._take(lambda s: self._is_awaited(s) or (not s.first_taken and self._first_is_due(s, now_s)))
        for sampling in self._tracks.values():
            sampling.first_taken |= self._first_is_due(sampling, now_s)
        return sorted(due, key=lambda crop: (crop.track_id, crop.captured_at_s))

    def accept(self, track_id: int, crop: CropFeature) -> None:
        """Store an encoded crop, its quality filled in; one of a track that was forgotten meanwhile is dropped."""
        sampling = self._tracks.get(track_id)
        if sampling is None:
            return
        sampling.crops.append(crop)
        sampling.crops.sort(key=lambda c: c.captured_at_s)
        if len(sampling.crops) > max(MOST_CROPS, self._config.clip_frames):
            del sampling.crops[_least_needed(sampling.crops)]

    def due_clips(self, now_s: float, until_s: Callable[[int], float] = lambda _: np.inf) -> list[DueClip]:
        """The clips to make now, by track id: one `first_clip_s` after birth, then every `every_s` if there is news.

        Args:
            until_s: the last moment that a track's clips may take crops from.
        """
        clips = []
        for track_id, sampling in sorted(self._tracks.items()):
            if sampling.clipped_at_s is None:
                due = self._first_is_due(sampling, now_s)
            else:
                gap_s = self._policy.clip_gap_s(sampling.clipped_at_s - sampling.born_s, self._config)
                due = now_s >= sampling.clipped_at_s + gap_s - TIME_SLACK_S
            limit_s = until_s(track_id)
            if due and (sampling.has_news(limit_s) or self._goes_on(sampling, now_s, limit_s)):
                sampling.clipped_at_s = now_s
                clips.append(self._clip(track_id, sampling, limit_s))
        return clips

    def _goes_on(self, sampling: _Sampling, now_s: float, until_s: float) -> bool:
        """Whether a clip without a new crop is due, to say where the track is: other cameras' are compared with it."""
        if not self._policy.growth or sampling.clipped_at_s is None or not sampling.settled(until_s):
            return False
        return sampling.seen_s == now_s and now_s >= sampling.clipped_at_s + self._config.every_s - TIME_SLACK_S

    def flush(self, track_id: int) -> list[CropRequest]:
        """The crop of the open chunk, for a track that ended: at most one, and none where enough are there."""
        ended = self._tracks.get(track_id)
        if ended is None or (self._policy.growth and len(ended.crops) >= FEW_CROPS):
            return []
        return self._take(lambda sampling: sampling is ended)

    def last_clip(self, track_id: int, until_s: float = np.inf) -> DueClip | None:
        """The clip to make at the end of a track, however short it was; None when the last one has everything."""
        sampling = self._tracks.get(track_id)
        return self._clip(track_id, sampling, until_s) if sampling and sampling.has_news(until_s) else None

    def split(self, track_id: int, new_id: int, after_s: float, born_s: float) -> None:
        """The track went on as another one, born `born_s`: the crops after a moment, the candidate too, are its."""
        old = self._tracks.get(track_id)
        if old is None:
            return
        new = self._tracks[new_id] = self._born(born_s)
        new.crops = [c for c in old.crops if c.captured_at_s > after_s]
        old.crops = old.settled(after_s)
        if old.clipped_until_s > after_s:
            old.clipped_until_s = -np.inf  # that clip was not of one person: the last one is to be
        if old.candidate is not None and old.candidate.captured_at_s > after_s:
            new.candidate, old.candidate = replace(old.candidate, track_id=new_id), None
        newest = [c.captured_at_s for c in (*new.crops[-1:], new.candidate) if c is not None]
        self._go_on(new, max(newest, default=born_s))
        new.given = bool(newest) and new.candidate is None

    def forget(self, track_id: int) -> None:
        """Drop all that is kept of a track; an unknown one is fine."""
        self._tracks.pop(track_id, None)

    def _note_births(self, now_s: float, tracks: Tracks, births: Mapping[int, float]) -> None:
        for track_id in tracks.ids.tolist():
            if track_id not in self._tracks:
                self._tracks[track_id] = self._born(births.get(track_id, now_s))
            self._tracks[track_id].seen_s = now_s

    def _born(self, born_s: float) -> _Sampling:
        return _Sampling(born_s, born_s, born_s + max(self._policy.chunk_s(0.0, self._config), TIME_SLACK_S))

    @property
    def _every_s(self) -> float:
        return max(self._config.crop_every_s, TIME_SLACK_S)

    def _look_closely(self, sampling: _Sampling, now_s: float) -> None:
        """A few short chunks, the first from now on; those that were broken off by an overlap are made up for."""
        if not sampling.close_left:
            if now_s < sampling.close_s + self._policy.doubt_gap_s(now_s - sampling.born_s) - TIME_SLACK_S:
                return
            sampling.close_s, sampling.close_left = now_s, CLOSE_CHUNKS
        if sampling.given:
            sampling.opens_s, sampling.given, sampling.closes_s = now_s, False, now_s + self._every_s
        sampling.closes_s = min(sampling.closes_s, max(sampling.opens_s, sampling.close_s) + self._every_s)

    def _go_on(self, sampling: _Sampling, now_s: float) -> None:
        """To the chunk that a time lies in."""
        while now_s >= sampling.closes_s - TIME_SLACK_S:
            sampling.opens_s, sampling.given = sampling.closes_s, False
            age_s = sampling.opens_s - sampling.born_s
            sampling.closes_s += max(self._policy.chunk_s(age_s, self._config), TIME_SLACK_S)

    def _first_is_due(self, sampling: _Sampling, now_s: float) -> bool:
        early = bool(self._policy.growth) and sampling.has_whole
        return early or now_s >= sampling.born_s + self._config.first_clip_s - TIME_SLACK_S

    def _take(self, is_due: Callable[[_Sampling], bool]) -> list[CropRequest]:
        taken = []
        for sampling in self._tracks.values():
            if sampling.candidate is not None and is_due(sampling):
                taken.append(sampling.candidate)
                sampling.has_whole |= _is_whole(sampling.candidate.quality)
                if sampling.close_left and sampling.candidate.captured_at_s >= sampling.close_s:
                    sampling.close_left -= 1
                sampling.candidate, sampling.given = None, True
        return taken

    def _is_awaited(self, sampling: _Sampling) -> bool:
        """The first crop that shows a whole person, unhidden, is not held back: nothing tells more."""
        whole = sampling.candidate is not None and _is_whole(sampling.candidate.quality)
        return bool(self._policy.growth) and whole and not sampling.has_whole

    def _is_worth_it(self, request: CropRequest) -> bool:
        """Poor crops tell little: with a back-off they are encoded where a track has hardly any others."""
        crops, quality = self._tracks[request.track_id].crops, request.quality
        if not self._policy.growth or (quality.overlap <= MOST_OVERLAP and quality.truncation <= MOST_TRUNCATION):
            return True
        return not crops or request.captured_at_s >= crops[-1].captured_at_s + POOR_EVERY_S

    def _take_all(self, frame: Frame, tracks: Tracks) -> list[CropRequest]:
        """A crop of everybody in this frame, whatever it is worth."""
        for i, quality in enumerate(frame_qualities(frame, tracks)):
            self._tracks[int(tracks.ids[i])].given = False
            self._consider(frame, int(tracks.ids[i]), tracks.xyxy[i], quality)
        return sorted(self._take(lambda _: True), key=lambda crop: crop.track_id)

    def _consider(self, frame: Frame, track_id: int, xyxy: FloatArray, quality: CropQuality) -> None:
        sampling = self._tracks[track_id]
        best = sampling.candidate
        if best is None and sampling.given:
            return  # this chunk has given its crop
        least = -1.0 if best is None else _rank(best.crop_frame, best.quality)
        if _rank(frame, replace(quality, sharpness=SHARPEST)) <= least:
            return
        x1, y1, x2, y2 = pixel_window(xyxy, frame.image.shape[1], frame.image.shape[0])
        quality = replace(quality, sharpness=sharpness(frame.image[y1:y2, x1:x2]))
        if y2 > y1 and x2 > x1 and _rank(frame, quality) > least:
            sampling.candidate = _request(frame, track_id, xyxy, (x1, y1, x2, y2), quality)

    def _clip(self, track_id: int, sampling: _Sampling, until_s: float) -> DueClip:
        crops = sampling.settled(until_s)
        sampling.clipped_until_s = crops[-1].captured_at_s
        return DueClip(track_id, sampling.born_s, evenly_spread(crops, self._config.clip_frames))


def evenly_spread(crops: Sequence[CropFeature], count: int) -> list[CropFeature]:
    """Up to `count` of the crops (rising in time): the best of each of `count` equal spans of time.

    Spans without a crop are made up for by the best of the others; all of them when there are no more than `count`.
    """
    if len(crops) <= count:
        return list(crops)
    times = np.array([crop.captured_at_s for crop in crops])
    scores = np.array([crop.quality.score for crop in crops])
    span = np.clip(((times - times[0]) / max(times[-1] - times[0], TIME_SLACK_S) * count).astype(int), 0, count - 1)
    order = np.lexsort((times, -scores))  # best first, ties to the earlier
    _, first_of_span = np.unique(span[order], return_index=True)
    chosen = list(order[first_of_span])
    chosen += [i for i in order if i not in chosen][: count - len(chosen)]
    return [crops[i] for i in sorted(chosen)]


def _is_whole(quality: CropQuality) -> bool:
    return quality.overlap <= MOST_OVERLAP and quality.truncation <= WHOLE_TRUNCATION


def _rank(frame: Frame, quality: CropQuality) -> float:
    """A crop of a damaged frame is better than none, and worse than any other."""
    return -0.5 if frame.damaged else quality.score


def _least_needed(crops: Sequence[CropFeature]) -> int:
    """The worse of the two neighbours that lie closest in time: so what is kept stays even in time."""
    gaps = np.diff([crop.captured_at_s for crop in crops])
    left = int(np.argmin(gaps))
    return left if crops[left].quality.score < crops[left + 1].quality.score else left + 1


def _request(
    frame: Frame, track_id: int, xyxy: FloatArray, window: tuple[int, int, int, int], quality: CropQuality
) -> CropRequest:
    pixels: ImageArray = frame.image[window[1] : window[3], window[0] : window[2]].copy()
    box = xyxy - np.array([window[0], window[1], window[0], window[1]], np.float32)
    scale = TALLEST_CROP_PX / pixels.shape[0]
    if scale < 1:
        width = max(1, round(pixels.shape[1] * scale))
        box = box * np.array([width / pixels.shape[1], scale] * 2, np.float32)
        pixels = np.asarray(cv2.resize(pixels, (width, TALLEST_CROP_PX), interpolation=cv2.INTER_AREA), np.uint8)
    pixels.flags.writeable = False
    box = np.clip(box, 0, [pixels.shape[1], pixels.shape[0]] * 2).astype(np.float32)
    return CropRequest(track_id, frame.captured_at_s, replace(frame, image=pixels), box, quality)

"""The messages of a made-up site as its matcher gets them, in order of time, made one by one as they are asked for.

What is sent is what camera workers send: clip features with the boxes since the clip before, a tracklet when the
tracker has given the track up, and of every camera a tick each 0.5 s (the longest that is allowed; the site's clock
follows) and one after every other message, with the tracks that are visible. At 1,000 cameras these are over 2,000
ticks a second: most of what the matcher is sent. Nothing arrives late or twice.

Assumed: boxes at 5 Hz of people who cross a 1280 x 720 picture at an even pace and leave it at its edge nine times out
of ten; qualities between 0.3 and 0.9; every track has a picture. Every message has arrays of its own, as decoded ones
have, so that what a matcher keeps costs it what it would cost live.
"""

import heapq
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from pipeline.types import ClipFeature, ClipMessage, FloatArray, FramePointer, Tick, TimeArray, TrackKey, Tracklet
from scale.appearance import MODEL_ID, STRIPES, AppearanceModel, parts_of
from scale.site import SiteMap
from scale.walks import CLIP_EVERY_S, FIRST_CLIP_S, LOST_S, Visits

TICK_EVERY_S = 0.5  # DESIGN: a worker publishes a tick at least this often
BOX_EVERY_S = 0.2  # of `ClipFeature.seen_s`, and of tracklets here
PICTURE_PX = (1280, 720)
PERSON_PX = (80.0, 240.0)
LEFT_PICTURE = 0.9  # share of the tracks that end at the picture's edge
QUALITY = (0.3, 0.9)
CROPS = 2  # rows of a clip's attention
EPOCH = "1"

_CLIP, _GONE, _ENDED = range(3)  # what may happen to a track, in this order at equal times


@dataclass(slots=True)
class _Camera:
    """One producer."""

    name: str
    sequence: int = 0
    tracks: int = 0
    visible: set[int] = field(default_factory=set)

    def number(self) -> int:
        self.sequence += 1
        return self.sequence

    def tick(self, at_s: float) -> Tick:
        return Tick(self.name, EPOCH, self.number(), at_s, tuple(sorted(self.visible)))


@dataclass(eq=False, slots=True)
class _Track:
    """A visit while it lasts."""

    camera: _Camera
    key: TrackKey
    first_s: float
    last_s: float
    embeddings: FloatArray
    quality: float
    left_picture: bool
    told: int = 0  # clips published
    boxes_s: float = -np.inf  # newest box published

    def seen(self, until_s: float, after_s: float = -np.inf) -> tuple[TimeArray, FloatArray]:
        """Times and boxes of the track at 5 Hz: once across the picture from left to right."""
        at_s = np.arange(self.first_s, min(until_s, self.last_s) + 1e-6, BOX_EVERY_S)
        at_s = at_s[at_s > after_s]
        width, height = PERSON_PX
        reach = PICTURE_PX[0] - width
        x1 = reach * (at_s - self.first_s) / max(self.last_s - self.first_s, BOX_EVERY_S)
        y1 = np.full_like(x1, PICTURE_PX[1] - height - 40)
        return at_s, np.stack([x1, y1, x1 + width, y1 + height], axis=1).astype(np.float32)


class Traffic:
    """One hour of a site.

    Attributes:
        person_of: whom each track shows that has begun so far.
    """

    def __init__(self, site: SiteMap, visits: Visits, appearance: AppearanceModel, seconds: float, seed: int) -> None:
        self._visits = visits
        self._appearance = appearance
        self._seconds = seconds
        self._seed = seed
        self._cameras = [_Camera(name) for name in site.camera_ids]
        self._due: list[tuple[float, int, int, _Track]] = []  # (time, what, visit, track)
        self.person_of: dict[TrackKey, int] = {}

    def messages(self) -> Iterator[ClipMessage]:
        """All messages in order of time; to be asked for once."""
        born = 0
        for at_s, camera in self._tick_times():
            while True:
                next_s = self._visits.first_s[born] if born < len(self._visits) else np.inf
                due_s = self._due[0][0] if self._due else np.inf
                if min(next_s, due_s) > at_s:
                    break
                if next_s <= due_s:
                    self._begin(born)
                    born += 1
                else:
                    yield from self._happen()
            yield camera.tick(at_s)

    def _tick_times(self) -> Iterator[tuple[float, _Camera]]:
        """Every camera in its turn; where in the half second its turn is is drawn once."""
        phases = np.random.default_rng((self._seed, 8)).uniform(0, TICK_EVERY_S, len(self._cameras))
        turns = [(float(phases[i]), self._cameras[i]) for i in np.argsort(phases, kind="stable").tolist()]
        for turn in range(int(self._seconds / TICK_EVERY_S)):
            for phase_s, camera in turns:
                yield round(turn * TICK_EVERY_S + phase_s, 3), camera

    def _begin(self, visit: int) -> None:
        visits, rng = self._visits, np.random.default_rng((self._seed, 9, visit))
        person, place = int(visits.person[visit]), int(visits.camera[visit])
        camera, first_s, last_s = self._cameras[place], float(visits.first_s[visit]), float(visits.last_s[visit])
        camera.tracks += 1
        key = TrackKey(camera.name, EPOCH, camera.tracks)
        made_s = first_s + FIRST_CLIP_S + CLIP_EVERY_S * np.arange(visits.clips[visit])
        embeddings = self._appearance.clips(person, place, visit, made_s)
        left_picture = bool(rng.random() < LEFT_PICTURE)
        track = _Track(camera, key, first_s, last_s, embeddings, float(rng.uniform(*QUALITY)), left_picture)
        self.person_of[key] = person
        camera.visible.add(key.track_id)
        for at_s in made_s.tolist():
            heapq.heappush(self._due, (round(at_s, 3), _CLIP, visit, track))
        heapq.heappush(self._due, (last_s, _GONE, visit, track))
        heapq.heappush(self._due, (round(last_s + LOST_S, 3), _ENDED, visit, track))

    def _happen(self) -> Iterator[ClipMessage]:
        at_s, what, _, track = heapq.heappop(self._due)
        if what == _GONE:
            track.camera.visible.discard(track.key.track_id)
            return
        yield self._clip(track, at_s) if what == _CLIP else self._tracklet(track, at_s)
        yield track.camera.tick(at_s)

    def _clip(self, track: _Track, at_s: float) -> ClipFeature:
        seen_s, seen_xyxy = track.seen(at_s, track.boxes_s)
        track.boxes_s = float(seen_s[-1]) if len(seen_s) else track.boxes_s
        embedding = track.embeddings[track.told].copy()
        track.told += 1
        name = track.camera.name
        return ClipFeature(
            key=track.key,
            sequence=track.camera.number(),
            first_visible_s=track.first_s,
            start_s=track.first_s,
            end_s=min(at_s, track.last_s),
            made_at_s=at_s,
            embedding=embedding,
            parts=parts_of(embedding),
            visibility=np.ones(STRIPES, np.float32),
            attention=np.full((CROPS, STRIPES), 1 / CROPS, np.float32),
            quality=track.quality,
            model_id=MODEL_ID,
            frame=FramePointer("host", name, track.first_s, f"kept/{name}/{EPOCH}_{track.key.track_id}.jpg"),
            seen_s=seen_s,
            seen_xyxy=seen_xyxy,
            picture_px=PICTURE_PX,
        )

    def _tracklet(self, track: _Track, at_s: float) -> Tracklet:
        seen_s, xyxy = track.seen(track.last_s)
        index, confidence = np.arange(len(seen_s)), np.full(len(seen_s), 0.9, np.float32)
        number = track.camera.number()
        return Tracklet(track.key, number, at_s, track.left_picture, index, seen_s, xyxy, confidence)


def make_traffic(site: SiteMap, visits: Visits, seconds: float, seed: int) -> Traffic:
    """The messages of these visits with the default model's embeddings."""
    return Traffic(site, visits, AppearanceModel(seed), seconds, seed)

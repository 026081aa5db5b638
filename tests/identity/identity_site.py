"""Small sites for tests of the matcher: messages of cameras, and a run of the matcher over them."""

import itertools
import random
from dataclasses import dataclass, field

import numpy as np

from pipeline.config import MatcherConfig
from pipeline.identity.matcher import Matcher
from pipeline.resolution import IdentityBook
from pipeline.types import CameraState, ClipFeature, Forget, Merge, Rename, Split, Tick, TrackKey, Tracklet

# For clips about once a second; looks as they are, so that a test can say how far apart two are.
CONFIG = MatcherConfig(decide_every_s=0.2, patience_s=1.5, subtract_camera_mean=False)
COLOURS = np.eye(16, dtype=np.float32)  # one person each: as far from each other as can be
LINKS = ("entered", "handed_over", "reentered", "continued")


def near(colour, distance, towards=15):
    """A unit vector at this cosine distance, as float16 carries it."""
    cosine = 1 - distance
    mixed = cosine * colour + np.sqrt(max(0.0, 1 - cosine**2)) * COLOURS[towards]
    return mixed.astype(np.float16).astype(np.float32)


class Camera:
    """One producer: numbers its messages."""

    def __init__(self, camera_id, epoch="1"):
        self.camera_id, self.epoch = camera_id, epoch
        self._number = itertools.count(1)

    def key(self, track_id):
        return TrackKey(self.camera_id, self.epoch, track_id)

    def clip(self, track_id, colour, first_s, at_s, quality=0.8, model_id="test", **about):
        """`about`: anything else of a clip; `seen` is (times, boxes) in a picture of 1280 by 720."""
        if (seen := about.pop("seen", None)) is not None:
            about |= {"seen_s": seen[0], "seen_xyxy": seen[1], "picture_px": (1280, 720)}
        whole = {"parts": np.tile(colour, (2, 1)), "visibility": np.ones(2), "attention": np.ones((1, 2))}
        return ClipFeature(
            key=self.key(track_id),
            sequence=next(self._number),
            first_visible_s=first_s,
            start_s=first_s,
            end_s=at_s,
            made_at_s=at_s,
            embedding=colour,
            quality=quality,
            model_id=model_id,
            **(whole | about),
        )

    def tracklet(self, track_id, first_s, last_s, left_picture=True, ended_s=None, boxes=None):
        boxes = np.array([[10, 10, 50, 110]] * 2) if boxes is None else boxes
        ended_s = last_s if ended_s is None else ended_s
        number = next(self._number)
        return Tracklet(self.key(track_id), number, ended_s, left_picture, [0, 1], [first_s, last_s], boxes, [0.9, 0.9])

    def tick(self, at_s, *visible, tells=False):
        """With track ids, or with `tells`: the camera says who is visible."""
        seen = tuple(sorted(visible)) if visible or tells else None
        return Tick(self.camera_id, self.epoch, next(self._number), at_s, seen)

    def state(self, at_s, status="end"):
        return CameraState(self.camera_id, self.epoch, next(self._number), at_s, status)


class Operator:
    """Somebody who gives orders; each `epoch` counts its own."""

    def __init__(self, epoch="operator-x"):
        self.epoch = epoch
        self._number = itertools.count(1)

    def rename(self, identity_id, name):
        return Rename(identity_id, name, next(self._number), epoch=self.epoch)

    def merge(self, identity_id, into_id):
        return Merge(identity_id, into_id, next(self._number), epoch=self.epoch)

    def split(self, identity_id, *keys, to_id=None):
        return Split(identity_id, keys, next(self._number), to_id, epoch=self.epoch)

    def forget(self, identity_id):
        return Forget(identity_id, next(self._number), epoch=self.epoch)


def make(config=CONFIG, cameras=("door", "hall", "yard"), threshold=0.4, **options):
    return Matcher(config, threshold, cameras, **options)


@dataclass
class Site:
    """A matcher, fed message by message; remembers what it committed."""

    matcher: Matcher
    stored: dict = field(default_factory=dict)
    events: list = field(default_factory=list)
    pending: dict = field(default_factory=dict)
    number: int = 0

    def feed(self, *messages):
        """Hand in messages, one step each; the new events."""
        before = len(self.events)
        for message in messages:
            self.number += 1
            self.pending[str(self.number)] = message
            self.matcher.receive(str(self.number), message)
            self.commit()
        return self.events[before:]

    def commit(self):
        step = self.matcher.advance()
        for name, value in step.changes.items():
            if value is None:
                self.stored.pop(name, None)
            else:
                self.stored[name] = value
        for delivery_id in step.done:
            del self.pending[delivery_id]
        self.events += step.events

    def restart(self, new_matcher):
        """Only what was committed lives on; what was not acknowledged comes again."""
        self.matcher = new_matcher(self.stored)
        for delivery_id, message in self.pending.items():
            self.matcher.receive(delivery_id, message)

    def who(self):
        """Track key -> identity, as finally known."""
        return IdentityBook(self.events).tracks()

    def kinds(self, *without):
        return [e.kind for e in self.events if e.kind not in without]


@dataclass
class Walk:
    """One track: a clip 0.4 s after it began and one every second from then on.

    Attributes:
        looks: of each clip, the last one of all the following; left: the picture, or lost in mid-picture.
        hidden: spans in which it is not visible (the tracker keeps it); boxes: time -> xyxy px, where there are any.
        given_up_s: when its end is told; a second after it was seen last if None, never if inf.
    """

    camera_id: str
    track_id: int
    first_s: float
    last_s: float
    looks: tuple
    left: bool = True
    hidden: tuple = ()
    boxes: object = None
    about: dict = field(default_factory=dict)
    epoch: str = "1"
    given_up_s: float | None = None

    @property
    def key(self):
        return TrackKey(self.camera_id, self.epoch, self.track_id)

    def is_seen(self, at_s):
        return self.first_s <= at_s <= self.last_s and not any(a < at_s < b for a, b in self.hidden)

    def clips(self):
        """(time, look) of each."""
        count = max(1, int(self.last_s - self.first_s + 0.6))
        times = [min(self.first_s + 0.4 + n, self.last_s) for n in range(count)]
        times = [at_s for at_s in times if self.is_seen(at_s)]
        return [(at_s, self.looks[min(n, len(self.looks) - 1)]) for n, at_s in enumerate(times)]

    @property
    def told_until_s(self):
        """Until when messages say that it was seen: of one whose end is never told, its last clip."""
        return (
            self.last_s if self.given_up_s != np.inf else max((at_s for at_s, _ in self.clips()), default=self.first_s)
        )

    def seen(self, after_s, until_s):
        times = [t for t in np.arange(self.first_s, until_s + 1e-6, 0.2).round(6) if after_s < t and self.is_seen(t)]
        return times, [self.boxes(t) for t in times]


def walk(camera_id, track_id, first_s, last_s, *looks, **about):
    return Walk(camera_id, track_id, first_s, last_s, looks, **about)


def stream_of(camera_id, walks, until_s, tells=1, every_s=0.5, ended=True, break_s=np.inf):
    """All messages of one camera in its order; when its stream breaks off, the next epoch begins.

    Args:
        tells: with every so many ticks the camera says who is visible; 0: never.
    """
    planned = []  # (time, rank, what)
    for one in (w for w in walks if w.camera_id == camera_id):
        after_s = -np.inf
        for at_s, look in one.clips():
            planned.append((at_s, 0, ("clip", one, look, after_s)))
            after_s = at_s
        given_up_s = min(one.last_s + 1.0, until_s) if one.given_up_s is None else one.given_up_s
        if given_up_s <= until_s:
            planned.append((given_up_s, 1, ("tracklet", one)))
    planned += [(at_s, 2, ("tick",)) for at_s in np.arange(0, until_s + 1e-6, every_s).round(6).tolist()]
    epochs = {epoch: Camera(camera_id, epoch) for epoch in ("1", "2")}
    messages, ticks = [], 0
    for at_s, _, what in sorted(planned, key=lambda p: p[:2]):
        ticks += what[0] == "tick"
        camera = epochs[what[1].epoch if len(what) > 1 else ("2" if at_s >= break_s else "1")]
        messages.append(_message(camera, at_s, what, walks if tells and ticks % tells == 0 else None))
    return [*messages, *([epochs["2" if until_s >= break_s else "1"].state(until_s)] if ended else [])]


def _message(camera, at_s, what, walks):
    if what[0] == "clip":
        _, one, look, after_s = what
        seen = {"seen": one.seen(after_s, at_s)} if one.boxes else {}
        return camera.clip(one.track_id, look, one.first_s, at_s, **seen, **one.about)
    if what[0] == "tracklet":
        one = what[1]
        boxes = [one.boxes(one.first_s), one.boxes(one.last_s)] if one.boxes else None
        return camera.tracklet(one.track_id, one.first_s, one.last_s, one.left, at_s, boxes)
    here = [w for w in walks or () if (w.camera_id, w.epoch) == (camera.camera_id, camera.epoch)]
    seen = [w.track_id for w in here if w.is_seen(at_s)]
    return camera.tick(at_s, *seen, tells=walks is not None)


def in_order(streams):
    """As they would come from cameras that are all equally fast."""
    return sorted((m for stream in streams for m in stream), key=lambda m: (m.at_s, m.camera_id))


def play(walks, until_s, config=CONFIG, cameras=("door", "hall"), restart_every=None, tells=1, ended=True, **options):
    """A site that saw these tracks."""

    def new(state=None):
        return make(config, cameras, state=state, **options)

    site = Site(new())
    messages = in_order(stream_of(c, walks, until_s, tells, ended=ended) for c in cameras)
    for number, message in enumerate(messages):
        if restart_every and number % restart_every == restart_every - 1:
            site.restart(new)
        site.feed(message)
    return site


def twice_at_once(walks, who):
    """Pairs of tracks of one camera that are one identity although both were seen at one time."""
    return [
        (a.key, b.key)
        for a, b in itertools.combinations(walks, 2)
        if a.camera_id == b.camera_id and a.key in who and who[a.key] == who.get(b.key)
        if min(a.told_until_s, b.told_until_s) - max(a.first_s, b.first_s) > 0.05
    ]


def visit(camera, track_id, colour, first_s, last_s, left=True, **about):
    """Messages of one track with two clips at least."""
    clips = [camera.clip(track_id, colour, first_s, at_s, **about) for at_s in (first_s + 0.4, last_s)]
    return [*clips, camera.tracklet(track_id, first_s, last_s, left)]


def merged(streams, seed):
    """An arrival order that keeps each stream's own order."""
    rng, queues, order = random.Random(seed), [list(s) for s in streams], []
    while any(queues):
        order.append(rng.choice([q for q in queues if q]).pop(0))
    return order


def told(events):
    """(kind, identity, camera, track) of events."""
    return [
        (e.kind, e.identity_id, e.key.camera_id if e.key else None, e.key.track_id if e.key else None) for e in events
    ]

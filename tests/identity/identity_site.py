"""Small sites for tests of the matcher: messages of cameras, and a run of the matcher over them."""

import itertools
import random
from dataclasses import dataclass, field

import numpy as np

from pipeline.config import MatcherConfig
from pipeline.identity.matcher import Matcher
from pipeline.types import CameraState, ClipFeature, Tick, TrackKey, Tracklet

CONFIG = MatcherConfig()
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

    def clip(self, track_id, colour, first_s, at_s, quality=0.8, model_id="test", frame=None):
        return ClipFeature(
            key=self.key(track_id),
            sequence=next(self._number),
            first_visible_s=first_s,
            start_s=first_s,
            end_s=at_s,
            made_at_s=at_s,
            embedding=colour,
            parts=np.tile(colour, (2, 1)),
            visibility=np.ones(2),
            attention=np.ones((1, 2)),
            quality=quality,
            model_id=model_id,
            frame=frame,
        )

    def tracklet(self, track_id, first_s, last_s, left_picture=True, ended_s=None):
        boxes = np.array([[10, 10, 50, 110]] * 2)
        ended_s = last_s if ended_s is None else ended_s
        number = next(self._number)
        return Tracklet(self.key(track_id), number, ended_s, left_picture, [0, 1], [first_s, last_s], boxes, [0.9, 0.9])

    def tick(self, at_s):
        return Tick(self.camera_id, self.epoch, next(self._number), at_s)

    def state(self, at_s, status="end"):
        return CameraState(self.camera_id, self.epoch, next(self._number), at_s, status)


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

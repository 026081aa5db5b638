"""A site with a matcher in this process, for commands that give it orders."""

import threading
from contextlib import contextmanager

import numpy as np

from pipeline.build import build_matcher
from pipeline.bus.lines import event_from_json
from pipeline.bus.redis_streams import RedisBus
from pipeline.bus.state import Lease, RedisState
from pipeline.bus.streams import CLIPS, MATCHER_GROUP
from pipeline.types import ClipFeature, TrackKey

COLOURS = np.eye(8, dtype=np.float32)
RED, BLUE, GREEN = COLOURS[:3]


def key(track_id, camera="door"):
    return TrackKey(camera, "1", track_id)


def clip(sequence, track_id, colour, at_s, camera="door", first_s=0.0):
    return ClipFeature(
        key=key(track_id, camera),
        sequence=sequence,
        first_visible_s=first_s,
        start_s=first_s,
        end_s=at_s,
        made_at_s=at_s,
        embedding=colour,
        parts=np.tile(colour, (4, 1)),
        visibility=np.ones(4),
        attention=np.ones((1, 4)),
        quality=0.8,
        model_id="test",
    )


class RunningMatcher:
    """The loop of a matcher process, in this one."""

    def __init__(self, config):
        self.bus = RedisBus(config.bus.url, config.site, consumer="matcher")
        self.store = RedisState(self.bus)
        self.matcher = build_matcher(config, 0.4, self.store.load())
        self.events = []

    def step(self, timeout_s=0.0):
        for delivery in self.bus.receive(CLIPS, MATCHER_GROUP, timeout_s):
            self.matcher.receive(delivery.id, delivery.message)
        step = self.matcher.advance()
        if step:
            self.store.commit(step.changes, step.events, step.done)
        self.events += step.events

    @contextmanager
    def running(self):
        """Hold the lease and step in a thread."""
        lease = Lease(self.bus, "the matcher")
        lease.acquire()
        stop = threading.Event()

        def run():
            while not stop.is_set():
                self.step(timeout_s=0.05)

        thread = threading.Thread(target=run)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()
            lease.release()


def messages_in(bus, stream):
    return [d.message for d in bus.read(stream, "0", 0.0, 1000)]


def log_of(out):
    return [event_from_json(line) for line in (out / "identities.jsonl").read_text().splitlines()]


def files_of(out):
    return {
        p.relative_to(out).as_posix(): p.read_bytes()
        for p in sorted(out.rglob("*"))
        if p.suffix != ".lock" and p.is_file()
    }

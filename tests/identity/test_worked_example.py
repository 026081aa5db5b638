"""The contract of the matcher, as one worked example of two cameras: messages in, exact lines out.

Two people, red and blue (orthogonal features), a door and a hall. Times in seconds:

    door  epoch 1   red   track 1   0.0 – 3.0   walks out of the picture
    hall  epoch 1   red   track 1   4.0 – 6.0   hand-over, out of the picture
    hall  epoch 1   blue  track 2   4.5 – 9.0   a new person; the hall's stream breaks off at 7.0 …
    hall  epoch 2   blue  track 1   7.5 – 9.0   … and comes back under a new epoch: the same person continues
    door  epoch 1   red   track 2  12.0 – 13.0  back at the door, via the hall: a re-entry, absent for 9 s
"""

import itertools
import json
import random

import numpy as np
import pytest

from pipeline.bus.lines import event_to_json
from pipeline.config import MatcherConfig
from pipeline.identity.matcher import Matcher
from pipeline.types import CameraState, ClipFeature, Tick, TrackKey, Tracklet

CONFIG = MatcherConfig(absence_s=5.0, occlusion_s=10.0, decide_every_s=0.2, patience_s=1.5, margin=0.05)
RED, BLUE = np.eye(8, dtype=np.float32)[:2]


class Producer:
    """One worker's epoch: numbers its messages."""

    def __init__(self, camera_id, epoch):
        self.camera_id, self.epoch = camera_id, epoch
        self.sequence = itertools.count(1)

    def clip(self, track_id, colour, first_s, at_s):
        return ClipFeature(
            key=TrackKey(self.camera_id, self.epoch, track_id),
            sequence=next(self.sequence),
            first_visible_s=first_s,
            start_s=first_s,
            end_s=at_s,
            made_at_s=at_s,
            embedding=colour,
            parts=np.tile(colour, (4, 1)),
            visibility=np.ones(4),
            attention=np.full((1, 4), 1.0),
            quality=0.8,
            model_id="test",
        )

    def tracklet(self, track_id, first_s, last_s, left_picture, ended_s=None):
        times = [first_s, last_s]
        boxes = np.array([[10, 10, 50, 110]] * 2)
        key = TrackKey(self.camera_id, self.epoch, track_id)
        number = next(self.sequence)
        return Tracklet(key, number, ended_s or last_s, left_picture, [0, 1], times, boxes, [0.9, 0.9])

    def tick(self, at_s):
        return Tick(self.camera_id, self.epoch, next(self.sequence), at_s)

    def state(self, at_s, status):
        return CameraState(self.camera_id, self.epoch, next(self.sequence), at_s, status)


def messages():
    """All messages, each producer's in its order."""
    door, hall, hall2 = Producer("door", "1"), Producer("hall", "1"), Producer("hall", "2")
    at_door = [
        door.clip(1, RED, 0.0, 0.4),
        door.tick(1.0),
        door.clip(1, RED, 0.0, 1.4),
        door.tick(3.0),
        door.tracklet(1, 0.0, 3.0, left_picture=True, ended_s=4.0),
        door.tick(8.0),
        door.clip(2, RED, 12.0, 12.4),
        door.tick(12.5),
        door.tracklet(2, 12.0, 13.0, left_picture=False),
        door.tick(13.0),
        door.state(13.0, "end"),
    ]
    in_hall = [
        hall.tick(3.0),
        hall.clip(1, RED, 4.0, 4.4),
        hall.clip(2, BLUE, 4.5, 4.9),
        hall.tick(5.0),
        hall.clip(2, BLUE, 4.5, 5.9),
        hall.tracklet(1, 4.0, 6.0, left_picture=True, ended_s=7.0),
        hall.tick(7.0),
    ]
    in_hall_again = [
        hall2.clip(1, BLUE, 7.5, 7.9),
        hall2.tick(8.0),
        hall2.tracklet(1, 7.5, 9.0, left_picture=False),
        hall2.tick(9.0),
        hall2.tick(13.0),
        hall2.state(13.0, "end"),
    ]
    return [at_door, in_hall + in_hall_again]


def matcher(state=None):
    return Matcher(CONFIG, 0.4, ["door", "hall"], state=state)


def run(order, restart_every=None):
    """Every event's line when the messages arrive in this order; optionally through a new matcher now and then."""
    lines, stored, pending = [], {}, {}
    one = matcher()
    for number, message in enumerate(order):
        if restart_every and number % restart_every == 0:  # SIGKILL: only what was committed lives on
            one = matcher(stored)
            for delivery_id, unacknowledged in pending.items():
                one.receive(delivery_id, unacknowledged)
        pending[str(number)] = message
        one.receive(str(number), message)
        step = one.advance()
        stored.update({k: v for k, v in step.changes.items() if v is not None})
        for gone in [k for k, v in step.changes.items() if v is None]:
            stored.pop(gone, None)
        for delivery_id in step.done:
            del pending[delivery_id]
        lines += [event_to_json(event) for event in step.events]
    assert not pending
    return lines


def merged(streams, seed):
    """An arrival order that keeps each camera's own order."""
    rng, queues, order = random.Random(seed), [list(s) for s in streams], []
    while any(queues):
        order.append(rng.choice([q for q in queues if q]).pop(0))
    return order


def summary(lines):
    keep = ("kind", "identity_id", "at_s", "decided_at_s", "absent_s", "via")
    rows = []
    for line in lines:
        event = json.loads(line)
        key = event["key"]
        track = (
            f"{key['camera_id']}/{key['epoch']}/{key['track_id']}" if isinstance(key, dict) else "/".join(map(str, key))
        )
        rows.append((event["sequence"], track, *(event.get(k) for k in keep)))
    return rows


EXPECTED = [
    # sequence, track, kind, identity, first visible, decided at, absent, via
    (1, "door/1/1", "entered", 1, 0.0, 1.6, None, []),  # after two clips
    (2, "hall/1/1", "handed_over", 1, 4.0, 4.6, None, ["door"]),  # a clear case: at once
    (3, "hall/1/2", "entered", 2, 4.5, 6.0, None, []),
    (4, "hall/2/1", "continued", 2, 7.5, 8.0, 1.6, []),  # lost with the stream at 5.9, the last clip's crop
    (5, "door/1/1", "left", 1, 3.0, 8.8, None, []),  # 5 s after leaving the picture, and 0.6 s grace
    (6, "hall/1/1", "left", 1, 6.0, 11.8, None, []),
    (7, "door/1/2", "reentered", 1, 12.0, 12.6, 9.0, ["hall"]),
]


def test_two_cameras_give_exactly_these_lines():
    lines = run(merged(messages(), seed=0))
    assert summary(lines) == EXPECTED


def test_the_first_line_is_exactly_this_json():
    assert run(merged(messages(), seed=0))[0] == FIRST_LINE


FIRST_LINE = (
    '{"schema":3,"sequence":1,"kind":"entered","identity_id":1,"key":{"camera_id":"door","epoch":"1","track_id":1},'
    '"at_s":0.0,"decided_at_s":1.6,"emitted_at_s":null,"evidence":{"distance":null,"threshold":0.4,"runner_up":null,'
    '"transit_prior":1.0,"excluded":[],"clips":2,"late":false,"cost":null,"place_m":null,"basis":["appearance"]},'
    '"absent_s":null,"via":[],"other_identity_id":null,"previous_key":null,"name":null,"frame":null,"by":"matcher",'
    '"exit_camera_id":null,"exit_at_s":null,"confidence":null}'
)


@pytest.mark.parametrize("seed", range(20))
def test_the_order_of_arrival_over_cameras_changes_nothing(seed):
    assert run(merged(messages(), seed)) == run(merged(messages(), seed=0))


@pytest.mark.parametrize("every", [1, 2, 3, 5, 7])
def test_a_matcher_killed_at_any_moment_carries_on_without_a_lost_or_doubled_identity(every):
    assert run(merged(messages(), seed=3), restart_every=every) == run(merged(messages(), seed=3))


def test_every_message_twice_changes_nothing():
    order = merged(messages(), seed=1)
    assert run([m for message in order for m in (message, message)]) == run(order)


def test_nothing_is_decided_before_every_camera_has_spoken():
    door_only = messages()[0][:5]
    one = matcher()
    for number, message in enumerate(door_only):
        one.receive(str(number), message)
    assert not one.advance().events

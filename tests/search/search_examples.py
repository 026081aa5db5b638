"""Clips, events and features of a small site: what the tests of `search` look through."""

import numpy as np

from pipeline.search.sources import rows_in_memory
from pipeline.types import ClipFeature, Evidence, FramePointer, IdentityEvent, TrackKey

MODEL = "net@1/mean"


def key(track_id, camera="door", epoch="1"):
    return TrackKey(camera, epoch, track_id)


def unit(*values):
    vector = np.array(values, np.float32)
    return vector / np.linalg.norm(vector)


def near(direction, towards, share):
    """A unit vector between two others: 0 is the first one."""
    return unit(*((1 - share) * np.asarray(direction) + share * np.asarray(towards)))


RED, BLUE, GREEN, GREY = np.eye(4, dtype=np.float32)


def clip(track, sequence, vector, at_s=0.0, *, quality=0.5, first_s=None, frame=None, model_id=MODEL):
    return ClipFeature(
        key=track,
        sequence=sequence,
        first_visible_s=at_s if first_s is None else first_s,
        start_s=at_s,
        end_s=at_s + 1.0,
        made_at_s=at_s + 1.0,
        embedding=np.asarray(vector, np.float16).astype(np.float32),
        parts=np.zeros((1, 2), np.float32),
        visibility=np.ones(1, np.float32),
        attention=np.ones((1, 1), np.float32),
        quality=quality,
        model_id=model_id,
        frame=frame,
    )


def event(sequence, kind, identity_id, track=None, at_s=0.0, **others):
    return IdentityEvent(sequence, kind, identity_id, track, at_s, at_s + 1.5, **others)


def pointer(track, at_s, index=3):
    return FramePointer("replay", track.camera_id, at_s, f"kept/{track.camera_id}/{at_s:.3f}_{index:06d}.jpg")


def linked(distance=0.2, cost=0.15, runner_up=(2, 0.5), **others):
    return Evidence(distance, 0.4, runner_up, cost=cost, **others)


def site():
    """Two people and a stranger: 1 at the door, in the hall and back at the door; 2 at the door, beside 1; 3 unknown.

    Number 4 was 1 in the hall, too, until it was merged.
    """
    tracks = {
        key(1): [(1, RED, 2.0), (3, near(RED, BLUE, 0.1), 4.0)],
        key(2): [(2, BLUE, 2.5), (4, near(BLUE, RED, 0.2), 5.0)],
        key(1, "hall"): [(1, near(RED, GREEN, 0.2), 12.0)],
        key(3): [(5, near(RED, GREY, 0.1), 40.0), (6, RED, 42.0)],
        key(4): [(7, GREEN, 50.0)],
    }
    clips = [clip(track, n, vector, at_s) for track, made in tracks.items() for n, vector, at_s in made]
    events = [
        event(1, "entered", 1, key(1), 2.0, evidence=linked(None, None, None)),
        event(2, "entered", 2, key(2), 2.5, evidence=linked(0.9, 0.9, None)),
        event(3, "left", 1, key(1), 8.4),
        event(4, "entered", 4, key(1, "hall"), 12.0, evidence=linked(0.41, 0.43)),
        event(5, "reentered", 1, key(3), 40.0, absent_s=31.6, previous_key=key(1), evidence=linked()),
        event(6, "merged", 4, None, 12.0, other_identity_id=1, evidence=linked(0.22)),
        event(7, "unknown", 0, key(4), 50.0),
    ]
    return events, rows_in_memory(MODEL, clips)

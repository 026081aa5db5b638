"""Messages of every kind, as tests of the bus use them."""

import numpy as np

from pipeline.ports import BusMessage
from pipeline.types import (
    CameraState,
    ClipFeature,
    Evidence,
    Forget,
    FramePointer,
    Health,
    IdentityEvent,
    Merge,
    ReferenceFrame,
    ReferenceSubject,
    Rename,
    Split,
    Tick,
    TrackedFrame,
    TrackKey,
    Tracklet,
    Tracks,
)

KEY = TrackKey("door", "1", 3)
POINTER = FramePointer("alpha", "door", 10.5, "frames/door_10.500.jpg")


def clip(sequence: int = 1, key: TrackKey = KEY, seed: int = 0) -> ClipFeature:
    rng = np.random.default_rng(seed)
    embedding = rng.normal(size=16)
    parts = rng.normal(size=(4, 8))
    return ClipFeature(
        key=key,
        sequence=sequence,
        first_visible_s=10.0,
        start_s=10.1,
        end_s=11.0,
        made_at_s=11.0,
        embedding=embedding / np.linalg.norm(embedding),
        parts=parts / np.linalg.norm(parts, axis=1, keepdims=True),
        visibility=np.ones(4, np.float32),
        attention=np.full((2, 4), 0.5, np.float32),
        quality=0.75,
        model_id="osnet_x0_25-1a2b3c4d",
        frame=POINTER,
        seen_s=np.array([10.0, 10.2, 10.4]),
        seen_xyxy=np.array([[5, 6, 25, 66], [6, 6, 26, 66], [7, 6, 27, 66]], np.float32),
        picture_px=(640, 360),
    )


def tick(sequence: int = 1, camera_id: str = "door") -> Tick:
    return Tick(camera_id, "1", sequence, sequence * 0.5, (3, 5))


def tracklet(key: TrackKey = KEY) -> Tracklet:
    boxes = np.full((3, 4), 7, np.float32)
    confidence = np.array([0.9, 0.0, 0.8], np.float32)
    return Tracklet(key, 4, 12.5, True, np.arange(3), np.array([10.0, 10.1, 10.2]), boxes, confidence)


def event(sequence: int = 1, identity_id: int = 7, key: TrackKey | None = KEY, **others: object) -> IdentityEvent:
    fields: dict[str, object] = {
        "kind": "reentered",
        "at_s": 10.0,
        "decided_at_s": 11.0,
        "evidence": Evidence(
            0.31,
            0.42,
            (9, 0.55),
            1.0,
            ((4, "in the same camera at the same time"),),
            2,
            cost=0.27,
            place_m=0.4,
            basis=("appearance", "place"),
        ),
        "absent_s": 33.5,
        "via": ("hall",),
        "previous_key": TrackKey("door", "1", 1),
        "frame": POINTER,
    }
    return IdentityEvent(sequence=sequence, identity_id=identity_id, key=key, **{**fields, **others})  # type: ignore[arg-type]


def reference(identity_id: int = 7) -> ReferenceFrame:
    return ReferenceFrame(
        "door",
        10.5,
        "references/door_10.500.png",
        "references/door_10.500_mask.png",
        "reentered",
        identity_id,
        "grabcut",
        (ReferenceSubject(identity_id, 1, (10.0, 20.0, 60.5, 180.0), 0.8),),
    )


def tracked_frame(ids: tuple[int, ...] = (3, 5)) -> TrackedFrame:
    n = len(ids)
    tracks = Tracks(np.array(ids), np.ones((n, 4), np.float32), np.full(n, 0.9, np.float32))
    return TrackedFrame("door", "1", 105, 10.5, 640, 360, tracks)


def examples() -> dict[str, BusMessage]:
    """One message per kind, by the name of the kind."""
    return {
        "clip": clip(),
        "tracklet": tracklet(),
        "tick": tick(),
        "camera": CameraState("door", "1", 9, 12.0, "offline"),
        "forget": Forget(7, 1),
        "rename": Rename(7, "visitor 12", 1),
        "merge": Merge(7, 4, 1),
        "split": Split(7, (KEY, TrackKey("hall", "1", 2)), 1, to_id=4),
        "identity": event(),
        "reference": reference(),
        "tracks": tracked_frame(),
        "health": Health("worker", "door", 4711, 12.0, "LIVE", "1", "", {"frames": 250.0, "skipped": 3.0}),
    }

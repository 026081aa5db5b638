"""Shared parts of the background tests: a folder with kept frames of drawn people."""

from pathlib import Path

import numpy as np
import pytest
from background_scene import PEOPLE, Keep, MakeEvent, Person, draw, frame_of

from pipeline.background.kept_frames import FrameKeeper
from pipeline.types import FramePointer, IdentityEvent, TrackKey, Tracks


@pytest.fixture
def keep(tmp_path: Path) -> Keep:
    """Keeps one drawn frame with tracks 1, 2, … in it; returns the pointer of track 1."""

    def one(
        people: tuple[Person, ...] = PEOPLE[:2],
        at_s: float = 10.0,
        quality: float = 0.8,
        first_id: int = 1,
        epoch: str = "1",
    ) -> FramePointer:
        image, _, boxes = draw(people)
        ids = np.arange(first_id, first_id + len(people))
        tracks = Tracks(ids, boxes, np.full(len(people), 0.9, np.float32))
        keeper = FrameKeeper(tmp_path, "door", "here")
        frame = frame_of(image, at_s, int(at_s * 10))
        object.__setattr__(frame, "epoch", epoch)
        keeper.observe(frame, tracks, {int(i): quality for i in ids})
        pointer = keeper.pointer(first_id)
        assert pointer is not None
        return pointer

    return one


@pytest.fixture
def event() -> MakeEvent:
    """An identity event about track `track` in camera door, numbered by the caller."""

    def one(sequence: int, kind: str, identity: int, track: int | None = 1, **more: object) -> IdentityEvent:
        key = None if track is None else TrackKey("door", "1", track)
        return IdentityEvent(sequence, kind, identity, key, 10.0, 10.5, **more)  # type: ignore[arg-type]

    return one

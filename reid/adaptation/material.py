"""What an encoder is adapted with: the crops of tracks, and what is certain about who they are."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from pipeline.types import FloatArray, ImageArray, IntArray, TrackKey


@dataclass(frozen=True, eq=False, slots=True)
class TrackCrops:
    """Encoded crops of one track, in order of time.

    Attributes:
        captured_at_s: (n,) float64, n >= 1.
        stripes: (n, R, C) float32. energy: (n, R) float32.
        quality: (n,) float32, `CropQuality.score`.
        pictures: (n, H, W, 3) uint8 BGR, what was encoded; None when only the head is adapted.
    """

    key: TrackKey
    captured_at_s: FloatArray
    stripes: FloatArray
    energy: FloatArray
    quality: FloatArray
    pictures: ImageArray | None = None

    def __len__(self) -> int:
        return len(self.captured_at_s)

    def __post_init__(self) -> None:
        n = len(self.captured_at_s)
        if n == 0 or self.stripes.shape[0] != n or self.energy.shape != self.stripes.shape[:2]:
            raise ValueError(f"{self.key}: expected n >= 1 crops with stripes (n, R, C) and energy (n, R)")
        if len(self.quality) != n or (self.pictures is not None and len(self.pictures) != n):
            raise ValueError(f"{self.key}: expected as many qualities and pictures as crops ({n})")


@dataclass(frozen=True)
class Material:
    """Tracks with certain facts about them; nobody's name is known.

    Attributes:
        tracks: T of them; may be empty.
        person_of: (T,) int64, a number for each track. The same number is the same person for certain (one track, or
            tracks of two cameras at one place and time); other numbers may be the same person all the same.
        apart: pairs (a, b), a < b, of such numbers that are different people for certain.
    """

    tracks: tuple[TrackCrops, ...]
    person_of: IntArray
    apart: frozenset[tuple[int, int]]

    def __post_init__(self) -> None:
        if self.person_of.shape != (len(self.tracks),):
            raise ValueError(f"person_of: expected shape {(len(self.tracks),)}, got {self.person_of.shape}")
        if any(a >= b for a, b in self.apart):
            raise ValueError("apart: expected pairs (a, b) with a < b")

    @cached_property
    def people(self) -> IntArray:
        """(G,) the numbers in use, rising."""
        return np.unique(self.person_of)

    @cached_property
    def cameras(self) -> tuple[str, ...]:
        return tuple(sorted({track.key.camera_id for track in self.tracks}))

    def are_apart(self, a: int, b: int) -> bool:
        """Whether two numbers are different people for certain."""
        return (min(a, b), max(a, b)) in self.apart

    def of_people(self, numbers: Sequence[int] | IntArray) -> "Material":
        """The part about these people alone."""
        kept = np.isin(self.person_of, numbers)
        inside = {int(n) for n in np.asarray(numbers).tolist()}
        return Material(
            tuple(track for track, keep in zip(self.tracks, kept, strict=True) if keep),
            self.person_of[kept],
            frozenset(pair for pair in self.apart if pair[0] in inside and pair[1] in inside),
        )

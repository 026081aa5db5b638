"""How the person in a track looked over a few crops, and how far apart looks of one and of two people are here."""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.ports import ClipHead
from pipeline.retrieval import comparable_vector, part_distances
from pipeline.types import CropFeature, FloatArray

REMEMBERED = 512  # distances of each kind: some minutes of a busy camera, so that the limits follow the light
LEAST_KNOWN_SAME, LEAST_KNOWN_DIFFERENT = 8, 20  # distances below which a quantile says nothing

# Quantiles, in per cent, chosen on two generated sites and four laboratory cameras; docs/tracking.md has the table.
ORDINARY = 95.0  # of the distances of one person: hardly anybody differs more from himself
STRANGER = 10.0  # of those of two people, where something had hidden the change
CLEAR_STRANGER = 25.0  # where nothing had


@dataclass(frozen=True, eq=False, slots=True)
class Look:
    """A few consecutive good crops of one track as one vector.

    Attributes:
        start_s, end_s: time of the first and of the last crop.
        crops: what it was made of; empty where they are not needed any more.
        vector, seen: see `pipeline.retrieval.comparable_vector`.
    """

    start_s: float
    end_s: float
    crops: tuple[CropFeature, ...]
    vector: FloatArray
    seen: FloatArray


def look_of(crops: Sequence[CropFeature], head: ClipHead) -> Look:
    """The look of at least one crop; they rise in time."""
    fused = head.fuse(crops)
    vector, seen = comparable_vector(fused.embedding, fused.parts, fused.visibility)
    return Look(crops[0].captured_at_s, crops[-1].captured_at_s, tuple(crops), vector, seen)


def distances(a: Sequence[Look], b: Sequence[Look]) -> FloatArray:
    """(N, M) cosine distances of looks, part by part where both are seen; neither may be empty."""
    return part_distances(
        np.stack([look.vector for look in a]),
        np.stack([look.seen for look in a]),
        np.stack([look.vector for look in b]),
        np.stack([look.seen for look in b]),
    )


def nearest(look: Look, others: Sequence[Look]) -> float:
    """Distance of a look to the most similar one of others; inf without any."""
    return float(distances([look], others).min()) if others else float("inf")


@dataclass(frozen=True, slots=True)
class Limits:
    """Distances to judge by; inf as long as too little is known.

    Attributes:
        ordinary: hardly any look is further from the earlier ones of its own track.
        stranger, clear_stranger: few looks, and a quarter of them, are nearer to somebody else's; at least `ordinary`,
            for where people can hardly be told apart.
    """

    ordinary: float
    stranger: float
    clear_stranger: float


class KnownDistances:
    """What distances mean in one camera: those inside undisturbed tracks, and those of people seen at the same time.

    Both are known without anybody saying who is who, and they are of the model, the light and the clothes at hand, so
    that no threshold needs to be given.
    """

    def __init__(self) -> None:
        self._same: deque[float] = deque(maxlen=REMEMBERED)
        self._different: deque[float] = deque(maxlen=REMEMBERED)

    def add_same(self, distance: float) -> None:
        """A look of a track to its own earlier ones, with nothing in between that could have exchanged people."""
        self._same.append(distance)

    def add_different(self, distance: float) -> None:
        """A look of a track to those of another one that is visible at the same time."""
        self._different.append(distance)

    @property
    def needs_same(self) -> bool:
        """Whether too few distances of one person are known to judge by."""
        return len(self._same) < LEAST_KNOWN_SAME

    def limits(self) -> Limits:
        ordinary, stranger, clear = float("inf"), float("inf"), float("inf")
        if len(self._same) >= LEAST_KNOWN_SAME:
            ordinary = float(np.percentile(self._same, ORDINARY))
            if len(self._different) >= LEAST_KNOWN_DIFFERENT:
                found = np.percentile(self._different, (STRANGER, CLEAR_STRANGER))
                stranger, clear = (max(float(distance), ordinary) for distance in found)
        return Limits(ordinary, stranger, clear)

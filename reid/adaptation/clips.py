"""Clips of tracks that share no crop, and which of them are for certain one person, or two."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipeline.types import FloatArray, IntArray
from reid.adaptation.material import Material, TrackCrops
from reid.heads import BatchHead

BoolArray = npt.NDArray[np.bool_]

CLIP_CROPS = 4  # of a clip, as reid.clip_frames
APART_S = 1.0  # between two clips of one camera that are compared: nearer ones are nearly one picture
_BATCH = 256  # clips fused at once: bounds memory (4 crops of 16 rows and 128 channels: 8 MB)


@dataclass(frozen=True, eq=False, slots=True)
class ClipTable:
    """Clips of the tracks of a `Material`; B of them.

    Attributes:
        track: (B,) index into its tracks. person: (B,) its number. camera: (B,) an index.
        start_s, end_s: (B,) first and last crop.
        crops: (B, N) index into the track's crops; a shorter clip repeats none: it ends in -1.
    """

    track: IntArray
    person: IntArray
    camera: IntArray
    start_s: npt.NDArray[np.float64]
    end_s: npt.NDArray[np.float64]
    crops: IntArray

    def __len__(self) -> int:
        return len(self.track)


def cut_clips(material: Material, clip_crops: int = CLIP_CROPS, most: int = 8) -> ClipTable:
    """Up to `most` clips of each track, of neighbouring crops, evenly spread; a short track gives two halves."""
    runs = [_runs(len(track), clip_crops, most) for track in material.tracks]
    rows = [(i, run) for i, own in enumerate(runs) for run in own]
    crops = np.full((len(rows), clip_crops), -1, np.int64)
    times = np.zeros((len(rows), 2))
    for row, (i, run) in enumerate(rows):
        crops[row, : len(run)] = run
        times[row] = material.tracks[i].captured_at_s[[run[0], run[-1]]]
    track = np.array([i for i, _ in rows], np.int64)
    camera = np.array([material.cameras.index(t.key.camera_id) for t in material.tracks], np.int64)
    return ClipTable(track, material.person_of[track], camera[track], times[:, 0], times[:, 1], crops)


def _runs(count: int, size: int, most: int) -> list[IntArray]:
    size = min(size, max(count // 2, 1))
    starts = np.arange(0, count - size + 1, size)
    if len(starts) > most:
        starts = starts[np.linspace(0, len(starts) - 1, most).round().astype(np.int64)]
    return [start + np.arange(size) for start in starts]


def stack_clip_crops(
    tracks: tuple[TrackCrops, ...], table: ClipTable, chosen: Iterable[int]
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Stripes (b, N, R, C), energy (b, N, R) and frame weights (b, N) of the chosen clips; fillers weigh 0."""
    rows = np.asarray(list(chosen), np.int64)
    there = table.crops[rows] >= 0
    places = np.maximum(table.crops[rows], 0)
    stripes = np.stack([tracks[t].stripes[p] for t, p in zip(table.track[rows], places, strict=True)])
    energy = np.stack([tracks[t].energy[p] for t, p in zip(table.track[rows], places, strict=True)])
    return stripes * there[:, :, None, None], energy * there[..., None], there.astype(np.float32)


def embed_clips(material: Material, table: ClipTable, head: BatchHead) -> FloatArray:
    """(B, D) the head's vector of every clip; (0, 0) without clips."""
    if not len(table):
        return np.zeros((0, 0), np.float32)
    starts = range(0, len(table), _BATCH)
    batches = (range(start, min(start + _BATCH, len(table))) for start in starts)
    return np.concatenate([head.fuse_batch(*stack_clip_crops(material.tracks, table, b)).embedding for b in batches])


def same_person(table: ClipTable, queries: IntArray) -> BoolArray:
    """(q, B): clips of the query's own number, of another camera or at least `APART_S` before or after it."""
    gap = np.maximum(table.start_s[None] - table.end_s[queries, None], table.start_s[queries, None] - table.end_s[None])
    far = (gap >= APART_S) | (table.camera[queries, None] != table.camera[None])
    return np.asarray((table.person[queries, None] == table.person[None]) & far)


def different_people(table: ClipTable, queries: IntArray, apart: Iterable[tuple[int, int]]) -> BoolArray:
    """(q, B): clips of numbers that are certainly apart from the query's."""
    numbers, place = np.unique(table.person, return_inverse=True)
    known = {int(number): i for i, number in enumerate(numbers)}
    matrix = np.zeros((len(numbers), len(numbers)), bool)
    for a, b in apart:
        if a in known and b in known:
            matrix[known[a], known[b]] = matrix[known[b], known[a]] = True
    return np.asarray(matrix[place[queries, None], place[None]])

"""Later rounds: tracks so near to each other that they are taken for one person, never against what is certain.

A wrong link poisons what is learned next, so two numbers are joined only when each is the other's nearest, and nearer
than all but one in a hundred pairs of people who are different for certain.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipeline.ports import EncoderDescription
from pipeline.retrieval import normalise_rows
from pipeline.types import FloatArray, IntArray
from reid.adaptation.clips import CLIP_CROPS, cut_clips, embed_clips
from reid.adaptation.material import Material
from reid.aligned import AlignedHead, AlignedParameters

WRONG_SHARE = 0.01  # of different pairs may be nearer than the limit
LEAST_PAIRS = 20  # of different people; with fewer their hundredth part is no more than a guess
CLIPS_PER_TRACK = 4  # whose mean stands for the track


@dataclass(frozen=True, eq=False, slots=True)
class Linked:
    """Material after a round.

    Attributes:
        material: with one number for all tracks that were joined, the lowest; what was apart from one is apart from
            all of them.
        joined: how many numbers went into others.
    """

    material: Material
    joined: int


def person_vectors(
    material: Material, encoder: EncoderDescription, parameters: AlignedParameters, clip_crops: int = CLIP_CROPS
) -> tuple[IntArray, FloatArray]:
    """The numbers (G,), rising, and the mean direction (G, D) of the clips of each, norm 1."""
    table = cut_clips(material, clip_crops, CLIPS_PER_TRACK)
    if not len(table):
        return material.people, np.zeros((0, 0), np.float32)
    vectors = embed_clips(material, table, AlignedHead(encoder, parameters))
    _, place = np.unique(table.person, return_inverse=True)
    total = np.zeros((place.max() + 1, vectors.shape[1]), np.float32)
    np.add.at(total, place, vectors)
    return material.people, normalise_rows(total)


def different_distances(numbers: IntArray, vectors: FloatArray, apart: frozenset[tuple[int, int]]) -> FloatArray:
    """(n,) cosine distances of the pairs that are certainly apart, both of them among `numbers`."""
    where = {int(number): i for i, number in enumerate(numbers)}
    pairs = np.array(sorted((where[a], where[b]) for a, b in apart if a in where and b in where), np.int64)
    first, second = pairs.reshape(-1, 2).T
    if not len(pairs):
        return np.zeros(0, np.float32)
    return np.asarray(1.0 - (vectors[first] * vectors[second]).sum(axis=1), np.float32)


def link_limit(different: npt.NDArray[np.floating]) -> float:
    """The distance below which less than `WRONG_SHARE` of different pairs lie; 0 when there are too few to know."""
    if len(different) < LEAST_PAIRS:
        return 0.0
    return float(np.sort(different)[int(len(different) * WRONG_SHARE)])


def link_people(material: Material, numbers: IntArray, vectors: FloatArray, limit: float) -> Linked:
    """Join numbers that are mutually nearest and nearer than `limit`, the nearest first.

    Args:
        numbers, vectors: of `person_vectors`.
        limit: cosine distance, not reached.
    """
    nearest = _mutually_nearest(numbers, vectors, material.apart, limit)
    joined = {int(number): int(number) for number in numbers}
    apart = {number: set[int]() for number in joined}
    for a, b in material.apart:
        if a in apart and b in apart:
            apart[a].add(b)
            apart[b].add(a)
    for a, b in nearest:
        low, high = sorted((joined[a], joined[b]))
        if low == high or high in apart[low]:
            continue
        for number, group in joined.items():
            joined[number] = low if group == high else group
        for stranger in apart.pop(high):
            apart[low].add(stranger)
            apart[stranger] = (apart[stranger] - {high}) | {low}
    return Linked(renumbered(material, joined), sum(number != group for number, group in joined.items()))


def renumbered(material: Material, group_of: Mapping[int, int]) -> Material:
    """The same tracks with other numbers; what was apart from a number is apart from its whole group.

    Raises:
        ValueError: a group would hold two who are apart.
    """
    apart = {(group_of.get(a, a), group_of.get(b, b)) for a, b in material.apart}
    if any(a == b for a, b in apart):
        raise ValueError("group_of: joins people who are apart for certain")
    person_of = np.array([group_of.get(number, number) for number in material.person_of.tolist()], np.int64)
    return Material(material.tracks, person_of, frozenset((min(pair), max(pair)) for pair in apart))


def _mutually_nearest(
    numbers: IntArray, vectors: FloatArray, apart: frozenset[tuple[int, int]], limit: float
) -> list[tuple[int, int]]:
    """Pairs of numbers, nearest first, that are not apart and of which each is the other's nearest such."""
    if len(numbers) < 2 or limit <= 0:
        return []
    distance = 1.0 - vectors @ vectors.T
    np.fill_diagonal(distance, np.inf)
    where = {int(number): i for i, number in enumerate(numbers)}
    for a, b in apart:
        if a in where and b in where:
            distance[where[a], where[b]] = distance[where[b], where[a]] = np.inf
    best = distance.argmin(axis=1)
    mutual = [(float(distance[i, j]), int(i), int(j)) for i, j in enumerate(best) if i < j and best[j] == i]
    return [(int(numbers[i]), int(numbers[j])) for far, i, j in sorted(mutual) if far < limit]

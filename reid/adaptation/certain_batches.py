"""Batches of clips of which it is partly certain who is who, and the loss that uses no more than that. PyTorch."""

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from pipeline.types import IntArray
from reid.adaptation.material import Material


class ClipBatch(NamedTuple):
    """b clips of n crops, each drawn from one track.

    Attributes:
        track: (b,) index into the material's tracks. crops: (b, n) index into the track's crops.
        same, different: (b, b) bool; what is neither is not known.
    """

    track: IntArray
    crops: IntArray
    same: Tensor
    different: Tensor


class ClipSampler:
    """Draws P numbers that are apart from one another where that can be had, and K clips of each."""

    def __init__(self, material: Material, *, people: int, clips: int, crops: int) -> None:
        numbers = [int(number) for number in material.people]
        near: dict[int, set[int]] = {number: set() for number in numbers}
        for a, b in material.apart:
            if a in near and b in near:
                near[a].add(b)
                near[b].add(a)
        self._own = {number: np.flatnonzero(material.person_of == number) for number in numbers}
        long = {n for n in numbers if sum(len(material.tracks[i]) for i in self._own[n]) > 1}
        self._numbers = [number for number in numbers if number in long and near[number] & long]
        self._near = {number: sorted(near[number] & long) for number in self._numbers}
        self._material = material
        self._sizes = (people, clips, crops)

    def __len__(self) -> int:
        """How many numbers can be learned from; below 2 nothing can be drawn."""
        return len(self._numbers)

    def draw(self, rng: np.random.Generator) -> ClipBatch:
        """The next batch: a number, people apart from it, another number, and so on until P are there."""
        most, clips, crops = self._sizes
        chosen: list[int] = []
        for number in rng.permutation(self._numbers).tolist():
            if len(chosen) >= most:
                break
            company = rng.permutation(self._near[number])[: max(most // 2, 1)].tolist()
            chosen += [n for n in (number, *company) if n not in chosen]
        chosen = chosen[:most]
        picked = [self._clip(number, crops, half % 2, rng) for number in chosen for half in range(clips)]
        person = np.repeat(np.array(chosen, np.int64), clips)
        track = np.array([t for t, _ in picked], np.int64)
        rows = np.stack([c for _, c in picked])
        near = np.array([[int(b) in self._near[int(a)] for b in chosen] for a in chosen])
        different = np.repeat(np.repeat(near, clips, axis=0), clips, axis=1)
        same = (person[:, None] == person) & ~np.eye(len(person), dtype=bool)
        return ClipBatch(track, rows, torch.from_numpy(same), torch.from_numpy(different))

    def _clip(self, number: int, crops: int, half: int, rng: np.random.Generator) -> tuple[int, IntArray]:
        """Of a track of this number, crops of its first or second half, so that two clips lie apart in time."""
        own = self._own[number]
        length = np.array([len(self._material.tracks[i]) for i in own], float)
        track = int(own[rng.choice(len(own), p=length / length.sum())])
        count = len(self._material.tracks[track])
        middle = (count + half) // 2
        low, high = ((0, max(middle, 1)), (min(middle, count - 1), count))[half]
        return track, np.sort(rng.integers(low, high, crops))


def certain_pairs_loss(vectors: Tensor, same: Tensor, different: Tensor, temperature: float) -> Tensor:
    """InfoNCE of every certain match against the certain strangers only (van den Oord et al., 2018).

    Args:
        vectors: (b, D), norm 1.

    Returns:
        The mean over clips that have both, each counting the same; 0 where there are none.
    """
    logit = vectors @ vectors.T / temperature
    strangers = torch.where(different, logit, -torch.inf).logsumexp(dim=1, keepdim=True)  # (b, 1)
    usable = same.any(dim=1) & different.any(dim=1)
    if not bool(usable.any()):
        return vectors.sum() * 0.0
    each = torch.logaddexp(logit[usable], strangers[usable]) - logit[usable]
    matches = same[usable].to(each.dtype)
    return ((each * matches).sum(dim=1) / matches.sum(dim=1)).mean()


def hardest_triplet_loss(vectors: Tensor, same: Tensor, different: Tensor) -> Tensor:
    """Soft-margin triplet loss with the farthest certain match and the nearest certain stranger (Hermans et al., 2017).

    Arguments and result as for `certain_pairs_loss`; distances are Euclidean.
    """
    usable = same.any(dim=1) & different.any(dim=1)
    if not bool(usable.any()):
        return vectors.sum() * 0.0
    distance = (2.0 - 2.0 * (vectors @ vectors.T)).clamp_min(1e-6).sqrt()[usable]
    farthest = torch.where(same[usable], distance, -torch.inf).amax(dim=1)
    nearest = torch.where(different[usable], distance, torch.inf).amin(dim=1)
    return torch.nn.functional.softplus(farthest - nearest).mean()

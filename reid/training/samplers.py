"""Which people, tracklets and pictures a batch is made of. A batch depends on seed and number only, not on history."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.types import IntArray
from reid.datasets.tracklets import ImageTracklet
from reid.training.recipe import BatchRecipe, FrameSampling

UNLABELLED = -1  # label of a picture of nobody in particular

# Streams of random numbers: [seed, stream, number].
_ORDER, _DRAW = 1, 2


@dataclass(frozen=True, slots=True)
class ClipChoice:
    """One clip of a batch: place of its tracklet, its label (0 to people - 1, or -1), the pictures in it."""

    tracklet: int
    label: int
    frames: IntArray


class IdentitySampler:
    """Batches of P people x K tracklets: every person once an epoch, in a new order each time.

    People are those of `tracklets` with ids above 0, numbered from 0 in order of id; id -1 is unlabelled; id 0,
    distractors, is left out. Where P does not divide the people, the last batch is filled with people of the epoch's
    beginning. A person with fewer than K tracklets gives some of them twice, with other pictures.
    """

    def __init__(self, tracklets: Sequence[ImageTracklet], recipe: BatchRecipe, seed: int) -> None:
        """
        Raises:
            ValueError: fewer than two people.
        """
        by_person: dict[int, list[int]] = {}
        for place, tracklet in enumerate(tracklets):
            by_person.setdefault(tracklet.person_id, []).append(place)
        self._unlabelled = by_person.pop(UNLABELLED, [])
        by_person.pop(0, None)
        if len(by_person) < 2:
            raise ValueError(f"expected at least two people to tell apart, got {len(by_person)}")
        self.people = sorted(by_person)
        self._own = [np.array(by_person[person], np.int64) for person in self.people]
        self._lengths = [len(tracklet.images) for tracklet in tracklets]
        self._recipe = recipe
        self._seed = seed

    @property
    def batches_per_epoch(self) -> int:
        """At least 1."""
        return -(-len(self.people) // self._recipe.people)

    def batch(self, number: int) -> list[ClipChoice]:
        """The clips of the batch of that number, from 0, counted over all epochs; a person's clips stand together."""
        epoch, within = divmod(number, self.batches_per_epoch)
        order = np.random.default_rng([self._seed, _ORDER, epoch]).permutation(len(self.people))
        wanted = min(self._recipe.people, len(self.people))
        first = within * self._recipe.people
        labels = np.take(order, np.arange(first, first + wanted), mode="wrap")
        rng = np.random.default_rng([self._seed, _DRAW, number])
        clips = []
        for label in labels.tolist():
            clips += [self._clip(t, label, rng) for t in _draw(self._own[label], self._recipe.tracklets, rng)]
        if self._unlabelled and self._recipe.unlabelled:
            strange = np.array(self._unlabelled, np.int64)
            clips += [self._clip(t, UNLABELLED, rng) for t in _draw(strange, self._recipe.unlabelled, rng)]
        return clips

    def _clip(self, tracklet: int, label: int, rng: np.random.Generator) -> ClipChoice:
        recipe = self._recipe
        frames = choose_frames(self._lengths[tracklet], recipe.frames, recipe.sampling, recipe.stride, rng)
        return ClipChoice(tracklet, label, frames)


def _draw(places: IntArray, count: int, rng: np.random.Generator) -> list[int]:
    """`count` of the places; all of them before one comes twice."""
    rounds = [rng.permutation(places) for _ in range(-(-count // len(places)))]
    chosen: list[int] = np.concatenate(rounds)[:count].tolist()
    return chosen


def choose_frames(length: int, count: int, sampling: FrameSampling, stride: int, rng: np.random.Generator) -> IntArray:
    """`count` pictures of a tracklet of `length`, not falling; a tracklet with fewer gives some of them twice.

    `restricted`: the tracklet in `count` equal parts, one picture of each at random (STGCN's restricted random
    sampling, Li et al., CVPR 2018). `dense`: pictures `stride` apart from a random place on (AP3D), nearer to each
    other where the tracklet is short. `even`: the middle of each part; no randomness, as in evaluation.
    """
    if length < 1 or count < 1:
        raise ValueError(f"expected at least one picture, got {count} of {length}")
    if sampling == "dense":
        step = min(stride, max((length - 1) // max(count - 1, 1), 1))
        start = int(rng.integers(max(length - step * (count - 1), 1)))
        return np.minimum(start + step * np.arange(count), length - 1)
    bounds = np.arange(count + 1) * length / count
    if sampling == "even":
        return np.asarray((bounds[:-1] + bounds[1:]) / 2, np.int64)
    low = bounds[:-1].astype(np.int64)
    high = np.maximum(np.ceil(bounds[1:]).astype(np.int64), low + 1)
    return np.minimum(rng.integers(low, high), length - 1)

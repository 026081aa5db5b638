"""Embeddings with the distances of real ones.

A clip's embedding is the sum of seven independent parts, each a share of its squared length: what the whole site has
in common, the camera, the person, the person's side and light in that camera, the track, a drift along the track and
the clip's own noise. The cosine of two clips is then about the sum of the shares that they have in common, so the
shares follow from distances measured on real clips with the default model
(osnet_x0_25_msmt17, sta-aligned: 576 values), labelled by ground truth:

    cosine distance, mean (deviation)      lab4cam, four cameras   pets_s2l1_view1    here, meant
    one track, about a second apart        0.05 (0.03)             0.07 (0.04)        0.06
    one track, more than 5 s apart         0.18 (0.11)             0.16 (0.08)        0.16
    one person, one camera, two tracks     0.23 (0.05)             0.29 (0.11)        0.26
    one person, two cameras                0.36 (0.12)             -                  0.36 (0.12)
    two people, one camera                 0.59 (0.08)             0.71 (0.15)        0.65 (0.11)
    two people, two cameras                0.66 (0.07)             -                  0.70 (0.11)

(three people and 228 clips; ten people and 468 clips.) The deviation between people says how many directions people
differ in: few, about a dozen, which is why look-alikes are common among 100,000. The deviation over two cameras says
that some visits look much more like the others than some do: side and track are weighted visit by visit.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipeline.types import FloatArray

DIMENSIONS = 576  # the default model's
STRIPES = 8  # its parts: (8, 64), the rest of the embedding is the whole body's
THRESHOLD = 0.525  # cosine distance stored for the default model (reid/catalogue.py)
MODEL_ID = "scale@1/made-up"


@dataclass(frozen=True, slots=True)
class Shares:
    """Of the squared length of an embedding, of all 1 together; how they come about stands above."""

    site: float = 0.30
    camera: float = 0.05
    person: float = 0.336
    side: float = 0.054
    track: float = 0.09
    drift: float = 0.135
    noise: float = 0.035


PERSON_DIMENSIONS = 12.0  # effective ones: deviation 0.336 / √12 ≈ 0.10 of the distance between people
OTHER_DIMENSIONS = 24.0  # of side, track, drift and noise; residuals of real tracks span 16 to 53
RANK = 64  # directions that each part is made of at most; the spectrum decays
DRIFT_S = 4.0  # message time over which half of a look is gone
VISIT_SPREAD = 1.2  # shape of the gamma law that weighs side and track of a visit: smaller is more uneven


class AppearanceModel:
    """Embeddings of visits, reproducible from a seed in any order of asking.

    Args:
        dimensions: of an embedding; at least `RANK`.
    """

    def __init__(self, seed: int, dimensions: int = DIMENSIONS, shares: Shares | None = None) -> None:
        self._seed = seed
        self._shares = shares or Shares()
        rng = np.random.default_rng((seed, 2))
        mean = rng.standard_normal(dimensions)
        self._site = np.sqrt(self._shares.site) * mean / np.linalg.norm(mean)
        self._person = _basis(rng, dimensions, PERSON_DIMENSIONS)
        self._camera = _basis(rng, dimensions, OTHER_DIMENSIONS)
        self._other = _basis(rng, dimensions, OTHER_DIMENSIONS)

    def clips(self, person: int, camera: int, visit: int, made_s: npt.NDArray[np.float64]) -> FloatArray:
        """(N, D) float32 of norm 1, as float16 carries it: one visit's clips, made at these times (N,), rising."""
        shares, rng = self._shares, np.random.default_rng((self._seed, 3, visit))
        own = self._person @ self._draw(4, person)
        place = self._camera @ self._draw(5, camera)
        side_weight, track_weight = np.sqrt(rng.gamma(VISIT_SPREAD, 1 / VISIT_SPREAD, 2))
        steady = (
            self._site
            + np.sqrt(shares.person) * own
            + np.sqrt(shares.camera) * place
            + self._other @ (np.sqrt(shares.side) * side_weight * self._draw(6, person, camera))
            + self._other @ (np.sqrt(shares.track) * track_weight * rng.standard_normal(RANK))
        )
        moving = np.sqrt(shares.drift) * _drift(rng, made_s)
        moving += np.sqrt(shares.noise) * rng.standard_normal((len(made_s), RANK))
        embeddings = steady + moving @ self._other.T
        embeddings /= np.linalg.norm(embeddings, axis=1, keepdims=True)
        return embeddings.astype(np.float16).astype(np.float32)

    def _draw(self, *key: int) -> npt.NDArray[np.float64]:
        return np.random.default_rng((self._seed, *key)).standard_normal(RANK)


def parts_of(embedding: FloatArray) -> FloatArray:
    """(STRIPES, D') float32 of norm 1: the default model's embedding is the whole body's vector, then the stripes'."""
    width = len(embedding) // (STRIPES + 1)
    stripes = embedding[-STRIPES * width :].reshape(STRIPES, width)
    lengths = np.maximum(np.linalg.norm(stripes, axis=1, keepdims=True), 1e-9)
    return np.asarray(stripes / lengths, np.float16).astype(np.float32)


def _basis(rng: np.random.Generator, dimensions: int, effective: float) -> npt.NDArray[np.float64]:
    """(D, RANK) such that standard normal draws come out with mean squared length 1 and a decaying spectrum.

    The deviation of two draws' product is 1 / √effective: effective = (Σ s²)² / Σ s⁴ over the columns' lengths s.
    """
    axes, _ = np.linalg.qr(rng.standard_normal((dimensions, RANK)))
    decay = (effective - 1) / (effective + 1)  # of a geometric series of s²: effective = (1 + decay) / (1 - decay)
    power = decay ** np.arange(RANK)
    return np.asarray(axes * np.sqrt(power / power.sum()))


def _drift(rng: np.random.Generator, made_s: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """(N, RANK) a first-order autoregressive path of deviation 1, sampled at these times."""
    path = rng.standard_normal((len(made_s), RANK))
    kept = 2.0 ** (-np.diff(made_s) / DRIFT_S)
    for i, share in enumerate(kept, start=1):
        path[i] = share * path[i - 1] + np.sqrt(1 - share**2) * path[i]
    return path

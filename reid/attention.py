"""STA's attention (Fu et al., AAAI 2019) from stripe energies, in NumPy, for any number of clips at once.

Arrays end in frames N and stripes K; any axes may stand before them (usually clips B). Nothing here loops.
"""

from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

import numpy as np
import numpy.typing as npt

from pipeline.types import FloatArray

Energy: TypeAlias = Literal["squares", "norm"]
Normalisation: TypeAlias = Literal["sum", "l2", "none"]

_SUFFIX = {"squares": "", "norm": "+norm", "sum": "", "l2": "+l2", "none": "+unnormalised"}


@dataclass(frozen=True, slots=True)
class AttentionOptions:
    """How a frame's energies become its stripe scores s_{n,k}: the paper's way, and those of its re-implementation.

    A crop leaves the sums of squares E_{n,k} of its stripes, not its map, so two of these options approximate what
    weleen/AGRL.pytorch (`sta.py`, `simple_sta.py`) computes on the map a(h, w) of the norms of f_n(h, w):

    - `energy` `squares` (paper): e_{n,k} = E_{n,k}, exactly the sum of a² over the stripe. `norm`: e_{n,k} is
      sqrt(E_{n,k}), the L2 norm of the whole stripe, where AGRL averages a over the stripe. Equal up to a constant
      where a stripe is equally strong everywhere; a stripe with its energy in few of its M places counts up to
      sqrt(M) times as much as there.
    - `normalisation` `sum` (paper): s = e / sum over k of e. `l2`: s = e / sqrt(sum over k of e²). With `norm` that
      denominator is exactly AGRL's, the L2 norm of a over the frame; with `squares` (which AGRL does not have) it is
      the norm of the K stripe sums, not of the map. `none`: s = e, so that a weak frame counts less, as in
      `simple_sta`, which takes the norm of the stripe's *mean* where `norm` takes the norm of all its values.
    - AGRL's mean instead of a sum over a stripe's places is the same after S, as all stripes have equally many.

    Its dropout and its missing regulariser are not followed; `reid.sta_torch` has the paper's regulariser.
    """

    energy: Energy = "squares"
    normalisation: Normalisation = "sum"

    def __post_init__(self) -> None:
        for name, allowed in (("energy", get_args(Energy)), ("normalisation", get_args(Normalisation))):
            if getattr(self, name) not in allowed:
                raise ValueError(f"{name}: expected one of {', '.join(allowed)}; got {getattr(self, name)!r}")

    @property
    def suffix(self) -> str:
        """What the options add to a head's name; empty for the paper's."""
        return _SUFFIX[self.energy] + _SUFFIX[self.normalisation]


PAPER = AttentionOptions()


def stripe_scores(energy: FloatArray, options: AttentionOptions = PAPER) -> npt.NDArray[np.float64]:
    """STA's s_{n,k}: by default the share of frame n's energy that lies in stripe k.

    Args:
        energy: (..., N, K), sums of squared map values per stripe, not negative.

    Returns:
        (..., N, K) float64, because sums of squares span many decades; each row sums to 1 under `sum`, has norm 1
        under `l2`, and is 0 for a frame without any energy (0/0 is taken as 0).
    """
    scores = energy.astype(np.float64)
    if options.energy == "norm":
        scores = np.sqrt(scores)
    if options.normalisation == "none":
        return scores
    if options.normalisation == "l2":
        total = np.sqrt(np.square(scores).sum(axis=-1, keepdims=True))
    else:
        total = scores.sum(axis=-1, keepdims=True)
    return np.divide(scores, total, out=np.zeros_like(scores), where=total > 0)


def temporal_attention(
    energy: FloatArray, frame_weights: FloatArray | None = None, options: AttentionOptions = PAPER
) -> FloatArray:
    """STA's S(n, k) = w_n s_{n,k} / sum over n of w_n s_{n,k}: how much frame n counts for stripe k.

    In the paper w_n = 1. Scaling one frame's map leaves S unchanged, except under `none`. A frame without energy gets
    weight 0 as long as another has some; a stripe that is empty in every frame is shared out by w alone.

    Args:
        energy: (..., N, K), N >= 1.
        frame_weights: (..., N), not negative, at least one of a clip positive; None for even ones.

    Returns:
        (..., N, K) float32; the column of each stripe sums to 1.
    """
    return _share_out(stripe_scores(energy, options), frame_weights)


def even_attention(energy: FloatArray, frame_weights: FloatArray | None = None) -> FloatArray:
    """(..., N, K): the plain mean's weights, w_n for every frame that has any energy; all frames when none has.

    Arguments as in `temporal_attention`.
    """
    seen = (energy.sum(axis=-1, keepdims=True) > 0).astype(np.float64)  # (..., N, 1)
    return np.repeat(_share_out(seen, frame_weights), energy.shape[-1], axis=-1)


def select_stripes(attention: FloatArray, stripes: FloatArray) -> FloatArray:
    """P1 (discriminative): (..., K, C), of each stripe the frame with the largest attention; the earliest wins a tie.

    Args:
        attention: (..., N, K).
        stripes: (..., N, K, C).
    """
    best = attention.argmax(axis=-2)  # (..., K)
    *clip, stripe = np.indices(best.shape, sparse=True)
    return stripes[(*clip, best, stripe)]  # whole rows: take_along_axis needs 30 times as long


def weigh_stripes(attention: FloatArray, stripes: FloatArray) -> FloatArray:
    """P2 (global): (..., K, C), the sum over frames of S(n, k) f_{n,k}; arguments as in `select_stripes`."""
    weights = np.moveaxis(attention, -1, -2)[..., None, :]  # (..., K, 1, N)
    return np.matmul(weights, np.moveaxis(stripes, -2, -3))[..., 0, :]  # einsum takes three times as long


def _share_out(scores: npt.NDArray[np.float64], frame_weights: FloatArray | None) -> FloatArray:
    """(..., N, K) float32 weighted scores divided by their sum over frames; the weights' own shares where that is 0."""
    weights = np.ones(scores.shape[:-1]) if frame_weights is None else frame_weights.astype(np.float64)
    weights = (weights / weights.sum(axis=-1, keepdims=True))[..., None]  # (..., N, 1)
    weighed = scores * weights
    total = weighed.sum(axis=-2, keepdims=True)
    even = np.broadcast_to(weights, scores.shape).copy()
    return np.divide(weighed, total, out=even, where=total > 0).astype(np.float32)

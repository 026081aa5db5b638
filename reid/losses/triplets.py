"""Losses on triplets and quadruplets of a batch of P people with K pictures or clips each.

d is the Euclidean distance, a an anchor, p another picture of the same person, n one of somebody else.
"""

import torch
from torch import Tensor
from torch.nn import functional

from reid.losses.base import MetricLoss, Pairs, mean_or_zero, root


class TripletLoss(MetricLoss):
    """(d_ap - d_an + α)₊ (Schroff et al., CVPR 2015, section 3.1; notes, 3.2 (2)), the mean over all triplets.

    Departures: Schroff squares d and picks semi-hard negatives; the notes do neither. Triplets that are far enough
    apart already count in the mean, with 0.
    """

    def __init__(self, *, margin: float = 0.3, normalise: bool = True, squared: bool = False) -> None:
        super().__init__(normalise=normalise)
        self.margin, self.squared = margin, squared

    def _of_distances(self, squared: Tensor, pairs: Pairs) -> Tensor:
        positive, negative = _all_triplets(squared if self.squared else root(squared), pairs)
        return mean_or_zero(functional.relu(positive - negative + self.margin))


class ImprovedTripletLoss(MetricLoss):
    """max(d_ap - d_an, τ1) + β max(d_ap, τ2): positives must be near as well.

    Cheng et al., *Person re-identification by multi-channel parts-based CNN with improved triplet loss function*, CVPR
    2016, its section on that loss; notes, 3.2 (2).

    The notes write d_ap + (d_ap - d_an + α)₊, which is this with β = 1 and τ2 = 0, up to the constant α = -τ1: a pull
    so strong that it outweighs the comparison. β keeps it small. (Their remark there has the comparison the wrong way
    round: positives must be *nearer* than negatives, by α.)

    Departures: features have norm 1, and the mean over all triplets is taken instead of a sum over drawn ones. The
    defaults are those that the paper is usually quoted with. The least value is τ1 + β τ2, below 0.
    """

    def __init__(
        self,
        *,
        comparison_floor: float = -1.0,
        pull_floor: float = 0.01,
        pull: float = 0.002,
        normalise: bool = True,
        squared: bool = False,
    ) -> None:
        """
        Args:
            comparison_floor: τ1, minus the margin. pull_floor: τ2, nearer than this is near enough. pull: β.
        """
        super().__init__(normalise=normalise)
        self.comparison_floor, self.pull_floor, self.pull = comparison_floor, pull_floor, pull
        self.squared = squared

    def _of_distances(self, squared: Tensor, pairs: Pairs) -> Tensor:
        positive, negative = _all_triplets(squared if self.squared else root(squared), pairs)
        compared = (positive - negative).clamp_min(self.comparison_floor)
        return mean_or_zero(compared + self.pull * positive.clamp_min(self.pull_floor))


class QuadrupletLoss(MetricLoss):
    """(d²_ap - d²_an1 + α1)₊ + (d²_ap - d²_n1n2 + α2)₊ with a, n1, n2 of three people.

    Chen et al., *Beyond triplet loss: a deep quadruplet network*, CVPR 2017, its sections on the quadruplet loss and on
    adaptive margins; notes, 3.2 (3). The second term compares pairs that share nobody. `adaptive`: the margins are
    w (μ_n - μ_p) with the mean squared distances of the batch and w = 1 and 1/2, and are not differentiated.

    Departures: the paper learns the comparison of two pictures with a layer and a softmax of its own, here it is the
    distance (norm 1, as in the notes); each term is the mean over all of its triples or quadruples; the notes write d
    without the square (`squared=False`).
    """

    def __init__(
        self,
        *,
        margin: float = 1.0,
        weak_margin: float = 0.5,
        adaptive: bool = False,
        normalise: bool = True,
        squared: bool = True,
    ) -> None:
        super().__init__(normalise=normalise)
        self.margins = (margin, weak_margin)
        self.adaptive, self.squared = adaptive, squared

    def _of_distances(self, squared: Tensor, pairs: Pairs) -> Tensor:
        distance = squared if self.squared else root(squared)
        strong, weak = self._margins(distance, pairs)
        positive, negative = _all_triplets(distance, pairs)
        loss = mean_or_zero(functional.relu(positive - negative + strong))
        anchor, other = pairs.same.triu().nonzero(as_tuple=True)
        first, second = pairs.different.triu().nonzero(as_tuple=True)
        strangers = pairs.different[anchor][:, first] & pairs.different[anchor][:, second]  # (positives, negatives)
        gap = distance[anchor, other][:, None] - distance[first, second][None]
        return loss + mean_or_zero(functional.relu(gap + weak)[strangers])

    def _margins(self, distance: Tensor, pairs: Pairs) -> tuple[Tensor | float, Tensor | float]:
        if not self.adaptive:
            return self.margins
        gap = (mean_or_zero(distance[pairs.different]) - mean_or_zero(distance[pairs.same])).detach().clamp_min(0)
        return gap, 0.5 * gap


class TriHardLoss(MetricLoss):
    """(max_p d_ap - min_n d_an + α)₊, or its soft margin, the mean over anchors.

    Hermans, Beyer and Leibe, *In defense of the triplet loss*, arXiv 1703.07737, section 2 (batch hard, and the
    soft margin: ln(1 + e^x), no α); notes, 3.2 (4). d is neither squared nor of features of norm 1, as in the paper.

    Departure: an anchor without another picture of the person, or without anybody else in the batch, is left out.
    """

    def __init__(self, *, margin: float | None = 0.3, normalise: bool = False) -> None:
        """
        Args:
            margin: α; None: the soft margin.
        """
        super().__init__(normalise=normalise)
        self.margin = margin

    def _of_distances(self, squared: Tensor, pairs: Pairs) -> Tensor:
        return trihard_gap(*hardest(root(squared), pairs), self.margin)


class MsmlLoss(MetricLoss):
    """(max d_ap - min d_mn + α)₊: of the whole batch one pair of one person, and one of two people.

    Xiao, Luo and Zhang, *Margin sample mining loss*, arXiv 1710.00478, section 3; notes, 3.2 (5). The two pairs may
    share a picture or a person, or not. At most four features of a batch get a gradient.
    """

    def __init__(self, *, margin: float = 0.3, normalise: bool = True) -> None:
        super().__init__(normalise=normalise)
        self.margin = margin

    def _of_distances(self, squared: Tensor, pairs: Pairs) -> Tensor:
        distance = root(squared)
        positive, negative = distance[pairs.same], distance[pairs.different]
        if not len(positive) or not len(negative):
            return squared.new_zeros(())
        return functional.relu(positive.max() - negative.min() + self.margin)


def hardest(distance: Tensor, pairs: Pairs) -> tuple[Tensor, Tensor]:
    """max_p d_ap and min_n d_an of every anchor that has both, (A,) each."""
    positive, negative = hardest_places(distance, pairs)
    usable = pairs.same.any(1) & pairs.different.any(1)
    rows = torch.arange(len(distance), device=distance.device)[usable]
    return distance[rows, positive[usable]], distance[rows, negative[usable]]


def hardest_places(distance: Tensor, pairs: Pairs) -> tuple[Tensor, Tensor]:
    """Which row is the farthest of the same person, and which the nearest of somebody else, (N,) each.

    A row without such a pair gets any place; N >= 1.
    """
    if not len(distance):
        empty = torch.zeros(0, dtype=torch.int64, device=distance.device)
        return empty, empty
    known = distance.detach()
    farthest = known.masked_fill(~pairs.same, -torch.inf).argmax(1)
    return farthest, known.masked_fill(~pairs.different, torch.inf).argmin(1)


def trihard_gap(positive: Tensor, negative: Tensor, margin: float | None) -> Tensor:
    """The mean of (positive - negative + margin)₊, or of the soft margin where `margin` is None."""
    gap = positive - negative
    return mean_or_zero(functional.softplus(gap) if margin is None else functional.relu(gap + margin))


def _all_triplets(distance: Tensor, pairs: Pairs) -> tuple[Tensor, Tensor]:
    """d_ap and d_an of every triplet of the batch, (T,) each."""
    anchor, positive = pairs.same.nonzero(as_tuple=True)
    triplets, negative = pairs.different[anchor].nonzero(as_tuple=True)
    return distance[anchor, positive][triplets], distance[anchor[triplets], negative]

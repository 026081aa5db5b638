"""Losses on pairs of features: the same person or not."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from reid.losses.base import UNLABELLED, Loss, MetricLoss, Pairs, find_pairs, mean_or_zero, root, squared_distances


class ContrastiveLoss(MetricLoss):
    """y d² + (1 - y) (α - d)₊², y = 1 for one person (Hadsell et al., CVPR 2006, equation 4; notes, 3.2 (1)).

    Features have norm 1 as in the notes, so that d lies in [0, 2].

    Departures: Hadsell has y the other way round and a factor 1/2. A batch has many more pairs of two people than of
    one, so each kind is averaged by itself and the two means are added; over a pair of batches with one pair each that
    is the sum of the formula.
    """

    def __init__(self, *, margin: float = 1.0, normalise: bool = True) -> None:
        super().__init__(normalise=normalise)
        self.margin = margin

    def _of_distances(self, squared: Tensor, pairs: Pairs) -> Tensor:
        apart = functional.relu(self.margin - root(squared[pairs.different])).square()
        return mean_or_zero(squared[pairs.same]) + mean_or_zero(apart)


class VerificationLoss(Loss):
    """Are these two the same person: a binary classifier on the squared difference of two features.

    Geng et al., *Deep transfer learning for person re-identification*, arXiv 1611.05244, section 3, and Zheng, Zheng
    and Yang, *A discriminatively learned CNN embedding*, TOMM 2017, section 3: (f_1 - f_2)² per channel, dropout, one
    layer, softmax over "same" and "different" (notes, 3.1).

    Departures: the softmax over two classes is written as a logistic function of one logit, which is the same; no
    dropout; all pairs of the batch are used, and the means over pairs of one person and of two count half each.
    """

    def __init__(self, channels: int, *, normalise: bool = False) -> None:
        super().__init__()
        self.normalise = normalise
        self.weight = nn.Parameter(torch.full((channels,), -1.0 / channels))  # far apart: somebody else
        self.bias = nn.Parameter(torch.zeros(()))

    def _loss(self, features: Tensor, labels: Tensor) -> Tensor:
        known = labels != UNLABELLED
        features, labels = features[known], labels[known]
        if self.normalise:
            features = functional.normalize(features, dim=1)
        logit = self.bias + squared_distances(features, self.weight.to(features.dtype))  # of "the same"
        pairs = find_pairs(labels)
        same = mean_or_zero(functional.softplus(-logit[pairs.same]))
        different = mean_or_zero(functional.softplus(logit[pairs.different]))
        return 0.5 * (same + different) + 0 * features.sum()

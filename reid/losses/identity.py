"""Who is it: cross-entropy over the people of the training set; and the neck between it and the metric losses."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from reid.losses.base import UNLABELLED, Loss, mean_or_zero

CLASSIFIER_DEVIATION = 0.001  # of the classifier's first weights, in the bag of tricks (Luo et al., CVPRW 2019)


def smoothed_cross_entropy(
    logits: Tensor, labels: Tensor, smoothing: float = 0.1, unlabelled_weight: float = 0.0
) -> Tensor:
    """Cross-entropy with label smoothing and, for unlabelled rows, with the uniform distribution.

    Label smoothing: q(c) = 1 - ε + ε/C for the right class, ε/C for the others (Szegedy et al., CVPR 2016, section 7;
    the notes' survey gives it with CamStyle, Zhong et al., CVPR 2018). LSRO (Zheng, Zheng and Yang,
    ICCV 2017, its section on LSRO): generated pictures are nobody's, so that q(c) = 1/C.

    Departures: LSRO averages labelled and unlabelled rows alike; here unlabelled ones count `unlabelled_weight`, and
    the mean is the weighted one, equal to the paper's at 1. CamStyle smooths transferred pictures only; here ε is one
    for all.

    Args:
        logits: (N, C). labels: (N,) int64, `UNLABELLED` for nobody's.
        unlabelled_weight: 0 leaves such rows out.
    """
    log_share = functional.log_softmax(logits, dim=1)
    known = labels != UNLABELLED
    right = log_share.gather(1, labels.clamp_min(0)[:, None])[:, 0]
    uniform = log_share.mean(1)
    rows = torch.where(known, (1 - smoothing) * right + smoothing * uniform, uniform)
    weight = torch.where(known, 1.0, unlabelled_weight).to(rows)
    total = weight.sum()
    return -(rows * weight).sum() / (total + (total == 0))


class IdentityLoss(Loss):
    """Identity classification: every person of the training set is a class (notes on the survey, section 3.1).

    Owns the classifier, one linear layer without bias as in the bag of tricks (Luo et al., CVPRW 2019, section 3.5);
    give it features from behind a `BNNeck` where metric losses see those before it.
    """

    def __init__(self, people: int, channels: int, *, smoothing: float = 0.1, unlabelled_weight: float = 0.0) -> None:
        """
        Args:
            people: C, labels are 0 to C - 1. channels: D.
            smoothing: ε in [0, 1). unlabelled_weight: of rows labelled `UNLABELLED` (LSRO), not negative.
        """
        super().__init__()
        if people < 1 or not 0 <= smoothing < 1 or unlabelled_weight < 0:
            raise ValueError(
                "people, smoothing, unlabelled_weight: expected at least 1, [0, 1) and at least 0; "
                f"got {people}, {smoothing}, {unlabelled_weight}"
            )
        self.smoothing, self.unlabelled_weight = smoothing, unlabelled_weight
        self.classifier = nn.Linear(channels, people, bias=False)
        nn.init.normal_(self.classifier.weight, std=CLASSIFIER_DEVIATION)

    def _loss(self, features: Tensor, labels: Tensor) -> Tensor:
        logits = self.classifier(features.to(self.classifier.weight.dtype))
        return smoothed_cross_entropy(logits, labels, self.smoothing, self.unlabelled_weight)


class AttributeLoss(Loss):
    """Attributes (clothes, hair, bags) as an auxiliary task: one classifier each, the mean of their cross-entropies.

    Lin et al., *Improving person re-identification by attribute and identity learning*, Pattern Recognition 2019
    (arXiv 1703.07220), section 3: L = λ L_id + 1/M Σ_m L_att; add it to an `IdentityLoss` with the weights that you
    want. Departures: their re-weighting of attributes by confidence (the APR module) is not here, and an attribute
    that nobody wrote down for a person is left out.
    """

    def __init__(self, channels: int, classes: Sequence[int]) -> None:
        """
        Args:
            classes: number of values of each of the A attributes.
        """
        super().__init__()
        if not classes or min(classes) < 2:
            raise ValueError(f"classes: expected at least one attribute of at least 2 values, got {list(classes)}")
        self.classifiers = nn.ModuleList(nn.Linear(channels, count) for count in classes)

    def forward(self, features: Tensor, labels: Tensor) -> Tensor:
        """Labels are (N, A) int64, `UNLABELLED` where an attribute is not known."""
        if labels.shape != (len(features), len(self.classifiers)):
            raise ValueError(f"labels: expected {(len(features), len(self.classifiers))}, got {tuple(labels.shape)}")
        return super().forward(features, labels)

    def _loss(self, features: Tensor, labels: Tensor) -> Tensor:
        losses = []
        for column, classifier in enumerate(self.classifiers):
            known = labels[:, column] != UNLABELLED
            logits = classifier(features[known].to(next(classifier.parameters()).dtype))
            losses.append(mean_or_zero(functional.cross_entropy(logits, labels[known, column], reduction="none")))
        return torch.stack(losses).mean() + 0 * features.sum()


class BNNeck(nn.Module):
    """A batch norm with a fixed bias between metric and identity losses (Luo et al., CVPRW 2019, section 3.5).

    Metric losses see the features before it, the classifier and the search those behind it: the first want a free
    space, the others one around the origin, where cosines tell people apart.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(channels)
        self.norm.bias.requires_grad_(False)

    def forward(self, features: Tensor) -> Tensor:
        """(N, D) -> (N, D)."""
        return self.norm(features)

    def in_use(self, features: Tensor) -> Tensor:
        """(..., D) with the statistics collected so far, whatever mode the module is in."""
        norm = self.norm
        flat = functional.batch_norm(
            features.reshape(-1, features.shape[-1]),
            norm.running_mean,
            norm.running_var,
            norm.weight,
            norm.bias,
            False,
            0.0,
            norm.eps,
        )
        return flat.reshape(features.shape)

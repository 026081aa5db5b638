"""PCB: horizontal stripes, each with a classifier of its own; refined part pooling; and the paper's two variants."""

from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from reid.part_heads.base import PartHead, PartVectors, classifier, concatenated, stripe_means

Classifiers = Literal["own", "shared", "averaged"]
Test = Literal["g", "h"]


class Pcb(PartHead):
    """Sun, Zheng, Yang, Tian and Wang, *Beyond part models*, ECCV 2018, its sections on PCB and on refined
    part pooling.

    The mean g_k of each of K stripes goes through a layer (to `local_dimensions`, batch norm, ReLU) to h_k, and through
    a classifier; the loss is the sum of the K cross-entropies. At test time all g (`test="g"`) or all h are
    concatenated.

    `classifiers`: `own` (PCB); `shared`, one for all stripes (the paper's variant 2); `averaged`, one for the mean of
    all h and one loss (variant 1).

    `rpp`: refined part pooling. A layer and a softmax say of each cell of the map how much it belongs to each part, and
    g_k is the mean over all cells, so weighted. Trained in stages: `parts` (PCB as above), `refine` (only that layer),
    `all`.

    Departures: K = 4 by default, because maps of 256 px have 16 rows (the paper: 6 of 24, from 384 px); the weighted
    mean of RPP is divided by the sum of its weights.
    """

    name = "pcb"

    def __init__(
        self,
        channels: int,
        people: int,
        *,
        stripes: int = 4,
        local_dimensions: int = 256,
        classifiers: Classifiers = "own",
        rpp: bool = False,
        test: Test = "g",
        smoothing: float = 0.0,
    ) -> None:
        if classifiers not in ("own", "shared", "averaged") or test not in ("g", "h"):
            raise ValueError(
                f"classifiers, test: expected own, shared or averaged, and g or h; got {classifiers}, {test}"
            )
        super().__init__(smoothing=smoothing, margin=0.3)
        self.stripes, self.classifiers, self.test = stripes, classifiers, test
        self.dimensions = stripes * (channels if test == "g" else local_dimensions)
        self.local = nn.ModuleList(_local_layer(channels, local_dimensions) for _ in range(stripes))
        count = stripes if classifiers == "own" else 1
        self.classify = nn.ModuleList(classifier(local_dimensions, people) for _ in range(count))
        self.part_of = nn.Conv2d(channels, stripes, 1, bias=False) if rpp else None
        self.register_buffer("refined", torch.tensor(False))  # a checkpoint must know
        self.stages = ("parts", "refine", "all") if rpp else ("all",)

    def forward(self, maps: Tensor) -> PartVectors:
        means = self._refined_means(maps) if bool(self.refined) else stripe_means(maps, self.stripes)  # (B, K, C)
        reduced: Tensor | None = None
        if self.training or self.test == "h":
            reduced = torch.stack([layer(means[:, k]) for k, layer in enumerate(self.local)], 1)
        embedding = concatenated(means if reduced is None or self.test == "g" else reduced)
        if not self.training or reduced is None:
            return PartVectors(embedding, (), (), means)
        return PartVectors(embedding, self._logits(reduced), (), means)

    def begin(self, stage: str) -> bool:
        super().begin(stage)
        self.refined.fill_(self.part_of is not None and stage != "parts")
        self.requires_grad_(stage != "refine")
        if self.part_of is not None:
            self.part_of.requires_grad_(stage != "parts")
        return stage != "refine"

    def live_arrays(self) -> tuple[int, dict[str, Any], dict[str, Tensor]]:
        if bool(self.refined):
            return super().live_arrays()
        layers = _layer_arrays(self.local) if self.test == "h" else {}
        return self.stripes, {"test": self.test, "whole": False}, layers

    def _logits(self, reduced: Tensor) -> tuple[Tensor, ...]:
        if self.classifiers == "averaged":
            return (self.classify[0](reduced.mean(1)),)
        own = self.classifiers == "own"
        return tuple(self.classify[k if own else 0](reduced[:, k]) for k in range(self.stripes))

    def _refined_means(self, maps: Tensor) -> Tensor:
        if self.part_of is None:
            raise ValueError("rpp: this head was made without it")
        share = self.part_of(maps).float().softmax(1).flatten(2)  # (B, K, cells)
        cells = maps.flatten(2).to(share.dtype)
        return share @ cells.transpose(1, 2) / share.sum(2, keepdim=True)


class Icnn(PartHead):
    """PCB's stripes and a global branch under the batch-hard triplet loss, concatenated.

    Zhang, Si and Liu, *Integration convolutional neural network for person re-identification in camera networks*, IEEE
    Access 6, 2018 (the notes' lecture: "PCB + global branch with triplet loss"). Departures: the global feature is the
    mean of the same last map (no layers of its own), both halves have norm 1 before they are concatenated, K = 4.
    """

    name = "icnn"

    def __init__(
        self,
        channels: int,
        people: int,
        *,
        stripes: int = 4,
        local_dimensions: int = 256,
        margin: float | None = 0.3,
        smoothing: float = 0.0,
    ) -> None:
        super().__init__(smoothing=smoothing, margin=margin)
        self.stripes = stripes
        self.dimensions = (1 + stripes) * channels
        self.local = nn.ModuleList(_local_layer(channels, local_dimensions) for _ in range(stripes))
        self.classify = nn.ModuleList(classifier(local_dimensions, people) for _ in range(stripes))

    def forward(self, maps: Tensor) -> PartVectors:
        means = stripe_means(maps, self.stripes)
        whole = means.mean(1)
        both = torch.cat([functional.normalize(whole, dim=1), concatenated(means)], 1)
        embedding = functional.normalize(both, dim=1)
        if not self.training:
            return PartVectors(embedding, (), (), means)
        logits = tuple(
            classify(layer(means[:, k]))
            for k, (layer, classify) in enumerate(zip(self.local, self.classify, strict=True))
        )
        return PartVectors(embedding, logits, (whole,), means)

    def live_arrays(self) -> tuple[int, dict[str, Any], dict[str, Tensor]]:
        return self.stripes, {"test": "g", "whole": True}, {}


def _local_layer(channels: int, outputs: int) -> nn.Sequential:
    """A 1x1 convolution of pooled values, batch norm and ReLU."""
    return nn.Sequential(nn.Linear(channels, outputs, bias=False), nn.BatchNorm1d(outputs), nn.ReLU())


def _layer_arrays(layers: nn.ModuleList) -> dict[str, Tensor]:
    """Weights (K, L, C) and biases (K, L) of the stripes' layers, their batch norms folded in."""
    weights, biases = [], []
    for linear, norm, _ in layers:
        scale = norm.weight / torch.sqrt(norm.running_var + norm.eps)
        weights.append(linear.weight * scale[:, None])
        biases.append(norm.bias - norm.running_mean * scale)
    return {"local.weight": torch.stack(weights), "local.bias": torch.stack(biases)}

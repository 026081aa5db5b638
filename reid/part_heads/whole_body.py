"""Heads whose parts only teach: at test time one vector of the whole body is left, as cheap as without them."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from reid.distances.dmli_torch import dmli_pairs
from reid.losses.base import UNLABELLED, find_pairs, root, squared_distances
from reid.losses.identity import BNNeck
from reid.losses.triplets import hardest_places, trihard_gap
from reid.part_heads.base import PartHead, PartVectors, classifier, stripe_maxima, stripe_means


class AlignedReid(PartHead):
    """A global branch, and local features of stripes that are compared along the shortest path (DMLI).

    Luo et al., *AlignedReID++*, Pattern Recognition 2019, section 3. Global: mean of the map, classifier,
    TriHard. Local: largest values of each of H = 8 stripes, batch norm, ReLU, a layer to 128 values, norm 1; TriHard on
    the DMLI distances of the triplets that are the hardest by *global* distance. At test time the local branch is
    dropped, unless `keep_local`: then `local` can re-rank (`reid.distances.dmli`).

    Departures: the local features of test and training are the same ones (the public program takes the map's 2048
    values at test time), and pooling comes before the batch norm; a `BNNeck` before the classifier and the search
    (`neck=False`: the paper's); the map's 16 rows (last stride 1) are 8 stripes of two.
    """

    name = "aligned_reid"

    def __init__(
        self,
        channels: int,
        people: int,
        *,
        stripes: int = 8,
        local_dimensions: int = 128,
        margin: float | None = 0.3,
        neck: bool = True,
        keep_local: bool = False,
        smoothing: float = 0.1,
    ) -> None:
        super().__init__(smoothing=smoothing, margin=margin)
        self.stripes, self.margin, self.keep_local = stripes, margin, keep_local
        self.dimensions = channels
        self.neck = BNNeck(channels) if neck else None
        self.classify = classifier(channels, people)
        self.local_norm = nn.BatchNorm1d(channels)
        self.local = nn.Linear(channels, local_dimensions)

    def forward(self, maps: Tensor) -> PartVectors:
        whole = maps.mean((2, 3), dtype=torch.promote_types(maps.dtype, torch.float32))
        behind = whole if self.neck is None else self.neck(whole)
        embedding = functional.normalize(behind, dim=1)
        if not self.training and not self.keep_local:
            return PartVectors(embedding, (), (), whole.new_zeros((len(whole), 0, self.local.out_features)))
        local = self._local(maps)
        if not self.training:
            return PartVectors(embedding, (), (), local)
        return PartVectors(embedding, (self.classify(behind),), (whole,), local)

    def own_losses(self, vectors: PartVectors, labels: Tensor) -> dict[str, Tensor]:
        """TriHard on the local distances of the triplets that the global features choose."""
        known = labels != UNLABELLED
        whole, local, people = vectors.metric[0][known].detach(), vectors.local[known].float(), labels[known]
        pairs = find_pairs(people)
        positive, negative = hardest_places(root(squared_distances(whole)), pairs)
        usable = pairs.same.any(1) & pairs.different.any(1)
        anchors = local[usable]
        near, far = (dmli_pairs(anchors, local[places[usable]]) for places in (positive, negative))
        return {"local": trihard_gap(near, far, self.margin) + 0 * local.sum()}

    def live_arrays(self) -> tuple[int, dict[str, Any], dict[str, Tensor]]:
        neck = {} if self.neck is None else {f"neck.{n}": v for n, v in self.neck.state_dict().items()}
        return 1, {}, neck

    def _local(self, maps: Tensor) -> Tensor:
        strongest = stripe_maxima(maps, self.stripes)  # (B, K, C)
        normed = self.local_norm(strongest.flatten(0, 1)).relu()
        return functional.normalize(self.local(normed), dim=1).unflatten(0, strongest.shape[:2])


class ScpNet(PartHead):
    """Groups of channels of the global feature learn to see what stripes see; the stripes are dropped.

    Fan, Luo, Zhang, He, Zhang and Jiang, *SCPNet: spatial-channel parallelism network*, ACCV 2018 (arXiv 1810.06996),
    section 3. R = 4 layers make R groups of C channels of the whole map's mean; group r is pulled to the mean of stripe
    r by λ Σ_r ||channel_r - part_r||², λ = 10. Each group has a classifier and a TriHard loss, and the vector is all of
    them concatenated. As in the authors' program the stripe means get no gradient from λ's term.

    Departures: the squared difference is averaged over its C values, so that λ does not depend on the backbone; the
    batch norm of a group comes after the mean over places, not before; no dropout.
    """

    name = "scpnet"

    def __init__(
        self,
        channels: int,
        people: int,
        *,
        stripes: int = 4,
        weight: float = 10.0,
        margin: float | None = 0.3,
        smoothing: float = 0.0,
    ) -> None:
        super().__init__(smoothing=smoothing, margin=margin)
        self.stripes, self.weight = stripes, weight
        self.dimensions = stripes * channels
        # A 1x1 convolution and a mean over places are a layer on the mean
        self.groups = nn.ModuleList(nn.Linear(channels, channels, bias=False) for _ in range(stripes))
        self.norms = nn.ModuleList(nn.BatchNorm1d(channels) for _ in range(stripes))
        self.classify = nn.ModuleList(classifier(channels, people) for _ in range(stripes))

    def forward(self, maps: Tensor) -> PartVectors:
        means = stripe_means(maps, self.stripes)
        whole = means.mean(1)
        groups = [norm(layer(whole)) for layer, norm in zip(self.groups, self.norms, strict=True)]
        embedding = functional.normalize(torch.cat(groups, 1), dim=1)
        if not self.training:
            return PartVectors(embedding, (), (), means[:, :0])
        logits = tuple(classify(group) for classify, group in zip(self.classify, groups, strict=True))
        return PartVectors(embedding, logits, tuple(groups), means)

    def own_losses(self, vectors: PartVectors, labels: Tensor) -> dict[str, Tensor]:
        """λ Σ_r of the mean squared difference of group r from stripe r; labels are not used."""
        difference = (torch.stack(vectors.metric, 1).float() - vectors.local.detach()).square()  # (B, R, C)
        return {"parts": self.weight * difference.mean(2).sum(1).sum() / max(len(difference), 1)}

    def live_arrays(self) -> tuple[int, dict[str, Any], dict[str, Tensor]]:
        arrays = {"embed.weight": torch.cat([layer.weight for layer in self.groups])}
        for name in ("weight", "bias", "running_mean", "running_var"):
            arrays[f"neck.norm.{name}"] = torch.cat([getattr(norm, name) for norm in self.norms])
        return 1, {}, arrays

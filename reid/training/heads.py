"""The heads in training: from what the backbone leaves of a clip to the features that the losses see."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from pipeline.errors import ConfigError, WeightsError
from pipeline.ports import Projection
from reid.clip_heads.make import CLIP_HEADS, make_clip_head
from reid.losses.identity import BNNeck
from reid.losses.make import BEHIND_THE_NECK
from reid.osnet import FEATURE_LENGTH, OSNet
from reid.part_heads.make import PART_HEADS, make_part_head
from reid.resnet import ResNet50
from reid.sta_torch import even_attention, select_stripes, temporal_attention, unit_or_zero, weigh_stripes
from reid.training.recipe import ModelRecipe

PLAIN = "plain"  # the backbone's own layer, no head of its own
PLAIN_FUSIONS = ("mean", "global", "discriminative")


@dataclass(frozen=True, slots=True)
class CropTensors:
    """What the backbone leaves of B clips of N pictures.

    Attributes:
        stripes: (B, N, K, C). energy: (B, N, K).
        maps: (B, N, C, H, W); None where crop features were made beforehand.
    """

    stripes: Tensor
    energy: Tensor
    maps: Tensor | None


@dataclass(frozen=True, slots=True)
class Features:
    """What the losses see of R rows, clips or pictures.

    Attributes:
        before: features before the neck, (R, D_i) each: metric losses take the sum over them.
        behind: (R, D) behind the neck, for the classifier; None where the head has classifiers of its own.
        labels: (R,).
        own_terms: losses of the head's own method.
    """

    before: tuple[Tensor, ...]
    behind: Tensor | None
    labels: Tensor
    own_terms: Mapping[str, Tensor] = field(default_factory=dict)


class TrainingHead(nn.Module, ABC):
    """From crop tensors and labels to `Features`.

    Attributes:
        before_length: of all features before the neck together. behind_length: 0 without a feature behind the neck.
        stages: of the training, in order.
    """

    before_length: int
    behind_length: int
    stages: tuple[str, ...] = ("all",)

    @abstractmethod
    def forward(self, crops: CropTensors, labels: Tensor) -> Features: ...

    def begin(self, stage: str) -> bool:
        """Get ready for a stage; whether the backbone is learned in it."""
        return True

    def length_for(self, loss: str) -> int:
        """How long the features are that a loss of that name sees."""
        return self.behind_length if loss in BEHIND_THE_NECK else self.before_length


class PlainHead(TrainingHead):
    """The mean, or STA's P2 or P1, through the backbone's own layer: what `reid.heads` makes of it in use.

    With OSNet the feature is what leaves its layer, ReLU included, and the neck serves the classifier only. ResNet-50
    has no layer: there the neck is in use as well (the bag of tricks).
    """

    def __init__(self, recipe: ModelRecipe, backbone: OSNet | ResNet50) -> None:
        super().__init__()
        options = dict(recipe.head.options)
        self.fusion = str(options.pop("fusion", "mean"))
        if options or self.fusion not in PLAIN_FUSIONS:
            wrong = next(iter(options), f"fusion: {self.fusion}")
            raise ValueError(f"no option {wrong!r}; head {PLAIN} has fusion, one of {', '.join(PLAIN_FUSIONS)}")
        self._layer = (backbone.fc if isinstance(backbone, OSNet) else nn.Identity(),)  # a tuple: it is the backbone's
        self.before_length = FEATURE_LENGTH if isinstance(backbone, OSNet) else backbone.channels
        self.behind_length = self.before_length
        self.neck: nn.Module = BNNeck(self.before_length) if recipe.neck else nn.Identity()

    def forward(self, crops: CropTensors, labels: Tensor) -> Features:
        attend = even_attention if self.fusion == "mean" else temporal_attention
        attention = attend(crops.energy)
        choose = select_stripes if self.fusion == "discriminative" else weigh_stripes
        before = self._layer[0](choose(attention, crops.stripes.to(attention.dtype)).mean(-2))  # (B, D)
        return Features((before,), self.neck(before), labels)


class ClipTrainingHead(TrainingHead):
    """A head of `reid.clip_heads`, over crop features."""

    def __init__(self, recipe: ModelRecipe, channels: int, projection: Projection | None) -> None:
        super().__init__()
        self.head = make_clip_head(
            recipe.head.name,
            stripes=recipe.head.stripes,
            channels=channels,
            projection=projection,
            neck=recipe.neck,
            **recipe.head.options,
        )
        self.before_length = self.behind_length = self.head.dimensions

    def forward(self, crops: CropTensors, labels: Tensor) -> Features:
        vectors = self.head(crops.stripes, crops.energy)
        return Features(vectors.metric, vectors.identity, labels)


class PartTrainingHead(TrainingHead):
    """A head of `reid.part_heads`, over the maps of single pictures."""

    def __init__(self, recipe: ModelRecipe, backbone: OSNet | ResNet50, people: int) -> None:
        super().__init__()
        if recipe.freeze:
            raise ValueError(f"head {recipe.head.name} needs maps; it cannot be trained with model.freeze")
        self.head = make_part_head(
            recipe.head.name,
            channels=backbone.channels,
            people=people,
            stripes=recipe.head.stripes,
            **recipe.head.options,
        )
        self.stages = self.head.stages
        self.before_length = self.head.dimensions
        self.behind_length = 0

    def begin(self, stage: str) -> bool:
        return self.head.begin(stage)

    def forward(self, crops: CropTensors, labels: Tensor) -> Features:
        if crops.maps is None:
            raise ValueError("expected maps")
        frames = crops.maps.shape[1]
        vectors = self.head(crops.maps.flatten(0, 1))
        of_pictures = labels.repeat_interleave(frames)
        return Features(vectors.metric, None, of_pictures, self.head.losses(vectors, of_pictures))

    @property
    def needs_maps(self) -> bool:
        """Whether its vector cannot be made of stripe means."""
        try:
            self.head.live_arrays()
        except WeightsError:
            return True
        return False

    def embed(self, maps: Tensor) -> Tensor:
        """(B, D) of pictures' maps (B, C, H, W), norm 1, at least single precision."""
        embedding: Tensor = self.head(maps).embedding
        return unit_or_zero(embedding.to(torch.promote_types(embedding.dtype, torch.float32)))


def make_head(
    recipe: ModelRecipe, backbone: OSNet | ResNet50, people: int, projection: Projection | None = None
) -> TrainingHead:
    """The head of a recipe.

    Args:
        projection: the backbone's last layer, for clip heads to start from; None: it has none that is trained.

    Raises:
        ConfigError: there is no such head, or it has no such option.
    """
    name = recipe.head.name
    try:
        if name == PLAIN:
            return PlainHead(recipe, backbone)
        if name in CLIP_HEADS:
            return ClipTrainingHead(recipe, backbone.channels, projection)
        if name in PART_HEADS:
            return PartTrainingHead(recipe, backbone, people)
    except ValueError as error:
        raise ConfigError(f"model.head: {error}") from None
    raise ConfigError(f"model.head: expected one of {', '.join((PLAIN, *CLIP_HEADS, *PART_HEADS))}; got {name!r}")

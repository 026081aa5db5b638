"""The network in training: backbone, head, neck and losses as one module, from pictures to the terms of the loss."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from pipeline.errors import ConfigError
from pipeline.ports import Projection
from reid.load import load_backbone
from reid.losses.base import UNLABELLED
from reid.losses.make import BEHIND_THE_NECK, ON_MAPS, make_loss
from reid.osnet import OSNet
from reid.resnet import ResNet50
from reid.sta_torch import pool_stripes
from reid.training.about import read_trained
from reid.training.attributes import read_attributes
from reid.training.heads import PLAIN, CropTensors, Features, PartTrainingHead, TrainingHead, make_head
from reid.training.recipe import LossRecipe, ModelRecipe, Recipe
from reid.weights import find_weights

ATTRIBUTES = "attributes"  # its labels come from a table
OWN = "own"  # the losses that the head's method is trained with, as its paper has them
ON_ALL_FEATURES = ("verification",)  # owns weights for one feature: branches are put together for it


class ReidModel(nn.Module):
    """Pictures (B, N, 3, H, W) in ImageNet normalisation and labels (B,) in, named terms of the loss out.

    The parameters of the losses (classifiers) are the module's as well.
    """

    def __init__(self, recipe: Recipe, people: int, person_ids: Sequence[int] = ()) -> None:
        """
        Args:
            people: labels are 0 to people - 1.
            person_ids: of the labels, where attributes are learned.

        Raises:
            ConfigError: a head or a loss that there is not, or with options that it does not have.
            WeightsError: the weights to start from.
        """
        super().__init__()
        self.recipe = recipe
        self.backbone, projection = make_backbone(recipe.model)
        self.head = make_head(recipe.model, self.backbone, people, projection)
        attributes = _read_attributes(recipe, person_ids)
        self.register_buffer("attributes", attributes[0], persistent=False)  # (people, A)
        self.losses = nn.ModuleList(
            _make_loss(number, recipe, people, self.head, attributes[1]) for number in range(len(recipe.losses))
        )
        self._backbone_learned, self._stage = True, -1
        self.begin_stage(0)

    def train(self, mode: bool = True) -> "ReidModel":
        super().train(mode)
        if self.recipe.model.keep_norms:
            for module in self.backbone.modules():
                if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
                    module.eval()
        if not self._backbone_learned:
            self.backbone.eval()
            for layer in self._behind_pooling():
                layer.train(mode and not self.recipe.model.keep_norms)
        return self

    def _behind_pooling(self) -> list[nn.Module]:
        return [self.backbone.fc] if isinstance(self.backbone, OSNet) else []

    def crops(self, pictures: Tensor) -> CropTensors:
        """What the backbone leaves of pictures (B, N, 3, H, W)."""
        clips, frames = pictures.shape[:2]
        flat = pictures.flatten(0, 1).contiguous(memory_format=torch.channels_last)
        maps = self.backbone(flat)
        stripes, energy = pool_stripes(maps, self.recipe.model.head.stripes)
        wide = (clips, frames)
        return CropTensors(stripes.unflatten(0, wide), energy.unflatten(0, wide), maps.unflatten(0, wide))

    def terms(self, crops: CropTensors, labels: Tensor) -> dict[str, Tensor]:
        """Every loss of the recipe by its name, not yet weighed."""
        features: Features = self.head(crops, labels)
        return {
            self.term_name(number): self._term(number, features, crops) for number in range(len(self.recipe.losses))
        }

    def begin_stage(self, number: int) -> None:
        """Get ready for the head's stage of that number; counted from 0, the last one stays.

        A backbone that is not learned in it keeps the statistics of its batch norms.
        """
        if number == self._stage:
            return
        self._stage, stages = number, self.head.stages
        learned = self.head.begin(stages[min(number, len(stages) - 1)]) and not self.recipe.model.freeze
        self._backbone_learned = learned
        self.backbone.requires_grad_(learned)
        for layer in self._behind_pooling():
            layer.requires_grad_(True)
        self.train(self.training)

    def _term(self, number: int, features: Features, crops: CropTensors) -> Tensor:
        name, loss = self.recipe.losses[number].name, self.losses[number]
        if name == OWN:
            return torch.stack(list(features.own_terms.values())).sum()
        if name in ON_MAPS:
            value: Tensor = loss(crops.maps, None)
        elif name == ATTRIBUTES:
            known = (features.labels != UNLABELLED)[:, None]
            value = loss(features.behind, self.attributes[features.labels].where(known, UNLABELLED))
        elif name in BEHIND_THE_NECK:
            value = loss(features.behind, features.labels)
        elif name in ON_ALL_FEATURES:
            value = loss(torch.cat(features.before, 1), features.labels)
        else:
            value = torch.stack([loss(before, features.labels) for before in features.before]).sum()
        return value

    def total(self, terms: Mapping[str, Tensor]) -> Tensor:
        """The weighed sum."""
        weights = {self.term_name(number): loss.weight for number, loss in enumerate(self.recipe.losses)}
        return torch.stack([weights.get(name, 1.0) * term for name, term in terms.items()]).sum()

    def term_name(self, number: int) -> str:
        """The name of a loss of the recipe; two of one name are told apart by their number."""
        names = [loss.name for loss in self.recipe.losses]
        return names[number] if names.count(names[number]) == 1 else f"{names[number]}_{number}"


def make_backbone(recipe: ModelRecipe) -> tuple[OSNet | ResNet50, Projection | None]:
    """The network, with the weights of a file or random ones (of the generator of PyTorch), and its trained last layer.

    Raises:
        WeightsError: the weights are not there, or of another network. ConfigError: they cannot be trained like that.
    """
    network: OSNet | ResNet50
    if recipe.weights is None:
        network, projection = ResNet50() if recipe.backbone == "resnet50" else OSNet(recipe.backbone), None
        _start_randomly(network)
    else:
        path = find_weights(recipe.weights)
        if path.suffix == ".onnx" and not (recipe.keep_norms or recipe.freeze):
            raise ConfigError(f"model.weights: the batch norms of {path.name} are folded; set model.keep_norms: true")
        network, projection = load_backbone(recipe.backbone, path)
        trained = read_trained(path)
        if trained is not None and trained.recipe.model.head.name != PLAIN:
            projection = None  # that layer was not used, and has its random weights
    return network.train().to(memory_format=torch.channels_last), projection


def _start_randomly(network: nn.Module) -> None:
    """He's deviation over the outputs for convolutions, as the networks' own programs start them."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")


def _read_attributes(recipe: Recipe, person_ids: Sequence[int]) -> tuple[Tensor, list[int]]:
    """(people, A) labels and the number of values of each; none where no loss wants them."""
    wanting = [(number, loss) for number, loss in enumerate(recipe.losses) if loss.name == ATTRIBUTES]
    if not wanting:
        return torch.zeros((0, 0), dtype=torch.int64), []
    number, loss = wanting[0]
    if len(wanting) > 1 or set(loss.options) != {"file"}:
        raise ConfigError(f"losses[{number}]: {ATTRIBUTES} has one option, file (docs/training.md), and comes once")
    table, classes = read_attributes(Path(str(loss.options["file"])), person_ids)
    return torch.from_numpy(table), classes


def _make_loss(number: int, recipe: Recipe, people: int, head: TrainingHead, classes: list[int]) -> nn.Module:
    loss = recipe.losses[number]
    options = {"classes": classes} if loss.name == ATTRIBUTES else loss.options
    try:
        if loss.name == OWN:
            return _check_own(loss, head)
        if loss.name in ON_MAPS and recipe.model.freeze:
            raise ValueError(f"{loss.name} needs maps; it cannot be used with model.freeze")
        if loss.name in BEHIND_THE_NECK and head.behind_length == 0:
            raise ValueError(f"head {recipe.model.head.name} has classifiers of its own; use the loss {OWN}")
        return make_loss(loss.name, people=people, channels=head.length_for(loss.name), **options)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"losses[{number}]: {error}") from None


def _check_own(loss: LossRecipe, head: TrainingHead) -> nn.Module:
    if loss.options or not isinstance(head, PartTrainingHead):
        raise ValueError(f"{OWN} is what the method of a part head is trained with, and has no options")
    return nn.Identity()

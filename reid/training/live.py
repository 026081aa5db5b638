"""Trained weights in use: the file that training leaves, and the encoder and the head that are made of it."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
import yaml
from safetensors import safe_open
from safetensors.torch import save
from torch import Tensor, nn

from pipeline.errors import ConfigError, WeightsError
from pipeline.ports import ClipHead, EncoderDescription, Projection
from pipeline.types import FloatArray
from reid.checkpoints import load_state
from reid.clip_heads.live import LiveClipHead
from reid.clip_heads.make import CLIP_HEADS, store_clip_head
from reid.clip_heads.stored import StoredClipHead
from reid.crop_input import CropInput
from reid.crops import check_stripes
from reid.encoder import choose_device
from reid.folding import fold_batch_norms
from reid.heads import FUSIONS, MeanHead, StaHead
from reid.losses.identity import BNNeck
from reid.osnet import OSNet
from reid.part_heads.make import PART_HEADS, store_part_head
from reid.pooled_encoder import PooledCropEncoder
from reid.resnet import ResNet50, read_projection
from reid.sta_torch import pool_stripes
from reid.training.about import FORMAT, KEY, Trained, read_trained
from reid.training.files import write_whole
from reid.training.heads import ClipTrainingHead, PartTrainingHead, make_head
from reid.training.model import ReidModel
from reid.training.reading import recipe_yaml
from reid.training.state import Progress
from reid.weights import model_id

MODEL_FILE, HEAD_FILE = "model.safetensors", "head.safetensors"
MAP_STRIDE = 16  # rows of a picture to a row of the backbones' maps
HEAD = "head."  # before the names of the head's tensors
_MAX_BATCH = 64  # crops a pass: bounds memory


def save_trained(folder: Path, model: ReidModel, progress: Progress, people: int, data_set: str) -> tuple[Path, ...]:
    """Write the weights in use, with the recipe in them; classifiers stay out.

    `model.safetensors`: the backbone under its usual names, which `reid.checkpoints` reads, and what else
    was learned behind `head.`. `head.safetensors`: a clip head, as `reid.head_weights` takes it.

    Raises:
        OutputError: they cannot be written.
    """
    tensors = dict(model.backbone.state_dict())
    tensors |= {f"{HEAD}{name}": value for name, value in model.head.state_dict().items()}
    neck = getattr(model.head, "neck", None)
    if isinstance(model.backbone, ResNet50) and isinstance(neck, BNNeck):  # the bag of tricks' name for it
        tensors |= {f"bottleneck.{name}": value for name, value in neck.norm.state_dict().items()}
    about: dict[str, Any] = {
        "format": FORMAT,
        "recipe": recipe_yaml(model.recipe),
        "people": people,
        "seed": progress.seed,
        "step": progress.step,
        "data_set": data_set,
    }
    own = {name: value.detach().cpu().contiguous().clone() for name, value in tensors.items()}
    weights = folder / MODEL_FILE
    write_whole(weights, save(own, {KEY: json.dumps(about, sort_keys=True)}))
    origin = f"{data_set}: {people} people, step {progress.step}, seed {progress.seed}"
    stored = _stored_head(model, model_id(weights), origin)
    if stored is None:
        return (weights,)
    stored.save(folder / HEAD_FILE)
    return weights, folder / HEAD_FILE


def _stored_head(model: ReidModel, encoder: str, origin: str) -> StoredClipHead | None:
    """The head as live cameras use it; None: the encoder is all that is needed."""
    head, recipe = model.head, yaml.safe_load(recipe_yaml(model.recipe))
    if isinstance(head, ClipTrainingHead):
        return store_clip_head(head.head, encoder=encoder, origin=origin, recipe=recipe)
    if isinstance(head, PartTrainingHead) and not head.needs_maps:
        channels = model.backbone.channels
        return store_part_head(head.head, channels, encoder=encoder, origin=origin, recipe=recipe)
    return None


class TrainedCropEncoder(PooledCropEncoder):
    """`pipeline.ports.CropEncoder` over a backbone that was trained here, for crops of the size it was trained with.

    With a part head that needs whole maps a crop leaves one stripe, the head's vector, and a clip is the mean of its
    crops. On the CPU two
    runs with the same number of threads agree to the bit; on CUDA maps are computed in half precision.
    """

    def __init__(
        self,
        backbone: OSNet | ResNet50,
        description: EncoderDescription,
        crop_input: CropInput,
        parts: PartTrainingHead | None = None,
        device: str = "auto",
    ) -> None:
        """
        Args:
            backbone: changed in place: its batch norms are folded.

        Raises:
            ConfigError: a device that is not there.
        """
        super().__init__(description, crop_input, _MAX_BATCH)
        self._device = choose_device(device)
        self._dtype = torch.float16 if self._device.type == "cuda" else torch.float32
        network: nn.Module = fold_batch_norms(backbone).requires_grad_(False)
        self._network = network.to(device=self._device, dtype=self._dtype, memory_format=torch.channels_last)
        self._parts = None if parts is None else parts.eval().requires_grad_(False).to(self._device)

    @torch.inference_mode()
    def _pool(self, pixels: FloatArray) -> tuple[FloatArray, FloatArray]:
        planes = torch.from_numpy(pixels).to(device=self._device, dtype=self._dtype)
        maps = self._network(planes.contiguous(memory_format=torch.channels_last))
        if self._parts is None:
            means, energy = pool_stripes(maps, self._description.stripes)
        else:
            means = self._parts.embed(maps.float())[:, None]  # (B, 1, D)
            energy = means.square().sum(-1)
        return means.cpu().numpy(), energy.cpu().numpy()


def load_trained_encoder(path: Path, stripes: int | None = None, device: str = "auto") -> TrainedCropEncoder:
    """The encoder of a file that training left.

    Args:
        stripes: None: those of the recipe. With a part head there is one.

    Raises:
        WeightsError: not such a file. ConfigError: a device that is not there, or more stripes of a part head.
    """
    trained = read_trained(path)
    if trained is None:
        raise WeightsError(f"{path}: was not written by `run_pipeline.py train`")
    state, model = _read_tensors(path), trained.recipe.model
    backbone, projection = _load_backbone(path, model.backbone, state)
    crop_input = CropInput(trained.recipe.pictures.height_px, trained.recipe.pictures.width_px)
    parts = _whole_map_head(path, trained, backbone, state)
    if parts is None:
        count = model.head.stripes if stripes is None else stripes
        check_stripes(count, crop_input.height_px // MAP_STRIDE)
        description = EncoderDescription(model_id(path), count, backbone.channels, projection)
        return TrainedCropEncoder(backbone, description, crop_input, device=device)
    if stripes not in (None, 1):
        raise ConfigError(f"reid.stripes: a crop of this {model.head.name} is one vector; use 1, not {stripes}")
    description = EncoderDescription(model_id(path), 1, parts.before_length)
    return TrainedCropEncoder(backbone, description, crop_input, parts, device)


def _whole_map_head(
    path: Path, trained: Trained, backbone: OSNet | ResNet50, state: dict[str, Tensor]
) -> PartTrainingHead | None:
    """The part head of the file, where it needs whole maps."""
    if trained.recipe.model.head.name not in PART_HEADS:
        return None
    head = make_head(replace(trained.recipe.model, weights=None), backbone, trained.people)
    own = {name.removeprefix(HEAD): value for name, value in state.items() if name.startswith(HEAD)}
    load_state(head, own, path)
    return head if isinstance(head, PartTrainingHead) and head.needs_maps else None


def load_trained_head(path: Path, encoder: EncoderDescription) -> ClipHead:
    """The clip head that was trained with the weights in `path`, for crop features of their encoder.

    Raises:
        WeightsError: not such a file, or its head's file is not beside it.
    """
    trained = read_trained(path)
    if trained is None:
        raise WeightsError(f"{path}: was not written by `run_pipeline.py train`")
    head = trained.recipe.model.head
    if head.name in CLIP_HEADS or (head.name in PART_HEADS and encoder.stripes > 1):
        return LiveClipHead(encoder, StoredClipHead.load(path.with_name(HEAD_FILE)))
    fusion = next((known for known in FUSIONS if known == head.options.get("fusion")), None)
    return MeanHead(encoder) if fusion is None else StaHead(encoder, fusion)


def _load_backbone(path: Path, name: str, state: dict[str, Tensor]) -> tuple[OSNet | ResNet50, Projection | None]:
    if name == "resnet50":
        resnet = ResNet50()
        load_state(resnet, state, path)
        return resnet.eval(), read_projection(state)
    osnet = OSNet(name)
    load_state(osnet, state, path)
    osnet.eval()
    return osnet, osnet.projection()


def _read_tensors(path: Path) -> dict[str, Tensor]:
    with safe_open(path, framework="pt") as file:
        return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118

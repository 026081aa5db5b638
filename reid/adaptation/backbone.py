"""Fine-tunes the backbone's last stages on what is certain, through the head that will fuse its maps. PyTorch."""

import copy
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from pipeline.errors import OutputError
from pipeline.ports import EncoderDescription, Projection
from pipeline.types import ImageArray
from reid.adaptation.augment import augment
from reid.adaptation.certain_batches import ClipBatch, ClipSampler
from reid.adaptation.material import Material, TrackCrops
from reid.adaptation.refine import batch_loss
from reid.adaptation.torch_head import TorchAlignedHead
from reid.aligned import AlignedParameters
from reid.checkpoints import read_state
from reid.crops import CROP_HEIGHT_PX, CROP_WIDTH_PX, IMAGENET_MEAN, IMAGENET_STD
from reid.load import load_backbone
from reid.osnet import OSNet
from reid.resnet import ResNet50
from reid.sta_torch import pool_stripes

CHECKPOINTS = (".pth", ".pt", ".safetensors")
_ENCODED_AT_ONCE = 64  # crops: bounds memory
_CLIPPED = 1.0  # norm of the gradient, at most


@dataclass(frozen=True, slots=True)
class BackboneToTrain:
    """Which network made the crops, and where its tuned copy goes.

    Attributes:
        name: `reid.backbone`. weights: its file. out: a `.safetensors` file to write.
        steps: each passes people * clips * crops pictures. rate: Adam's.
        pull: towards the weights at the start, as in `Refinement`.
    """

    name: str
    weights: Path
    out: Path
    steps: int = 40
    people: int = 6
    clips: int = 3
    crops: int = 2
    rate: float = 1e-4
    temperature: float = 0.15
    triplet: float = 0.0
    pull: float = 10.0


def why_not_trainable(backbone: BackboneToTrain, material: Material) -> str | None:
    """What forbids training it on this footage; None: nothing does."""
    fits = backbone.name.startswith("osnet") or backbone.name == "resnet50"
    endings = (*CHECKPOINTS, ".onnx") if backbone.name.startswith("osnet") else CHECKPOINTS
    if not fits or backbone.weights.suffix not in endings:
        return f"{backbone.weights.name} of {backbone.name} cannot be trained; checkpoints of OSNet and ResNet-50 can"
    size = (CROP_HEIGHT_PX, CROP_WIDTH_PX, 3)
    if not material.tracks or any(t.pictures is None or t.pictures.shape[1:] != size for t in material.tracks):
        return "the pictures of the crops were not kept"
    return None


def load_trainable(backbone: BackboneToTrain) -> tuple[OSNet | ResNet50, Projection | None]:
    """
    Raises:
        WeightsError: the file does not hold this network.
    """
    network, projection = load_backbone(backbone.name, backbone.weights)
    return network.eval().requires_grad_(False), projection


def train_backbone(
    network: OSNet | ResNet50,
    material: Material,
    head: tuple[EncoderDescription, AlignedParameters],
    options: BackboneToTrain,
    *,
    rng: np.random.Generator,
    should_stop: Callable[[], bool] = lambda: False,
) -> OSNet | ResNet50:
    """A tuned copy; `network` stays as it is. Batch norms keep their statistics: a site is too few people for new ones.

    Deterministic for a state of `rng` and a number of threads on a CPU.
    """
    sampler = ClipSampler(material, people=options.people, clips=options.clips, crops=options.crops)
    tuned = copy.deepcopy(network)
    if len(sampler) < 2:
        return tuned
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    early, late = (stage.to(device) for stage in _split(tuned))
    fusion = TorchAlignedHead(*head).requires_grad_(False).to(device)
    learned = list(late.requires_grad_(True).parameters())
    anchor = [value.detach().clone() for value in learned]
    optimiser = torch.optim.Adam(learned, lr=options.rate)
    pool = _pictures(material, _one_each(material, rng))
    for _ in range(options.steps):
        if should_stop():
            break
        batch = sampler.draw(rng)
        pictures = augment(_pictures(material, batch), pool, rng)
        with torch.no_grad():
            middle = early(to_input(pictures, device))
        vectors = _fuse(late(middle), len(batch.track), head[0].stripes, fusion)
        loss = batch_loss(vectors, batch, options.temperature, options.triplet)
        loss = loss + options.pull * _drift(learned, anchor)
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(learned, _CLIPPED)
        optimiser.step()
    return tuned.to("cpu").requires_grad_(False)


@torch.inference_mode()
def encode_again(network: OSNet | ResNet50, material: Material, stripes: int) -> Material:
    """The same tracks with the crop features of `network`; they must have pictures."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    network = network.eval().to(device, memory_format=torch.channels_last)
    tracks = tuple(_encode_track(network, track, stripes, device) for track in material.tracks)
    network.to("cpu")
    return Material(tracks, material.person_of, material.apart)


def save_backbone(network: OSNet | ResNet50, options: BackboneToTrain) -> Path:
    """Write `options.out`, with the layer behind the pooling as it was; `reid.checkpoints` reads it.

    Raises:
        OutputError: it cannot be written.
    """
    from safetensors.torch import save

    state = {} if options.weights.suffix == ".onnx" else read_state(options.weights)
    state.update(network.state_dict())
    try:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_bytes(save({name: value.contiguous().clone() for name, value in state.items()}))
    except OSError as error:
        raise OutputError(f"{options.out}: cannot be written ({error.strerror or error}); free space") from None
    return options.out


def to_input(pictures: ImageArray, device: torch.device) -> Tensor:
    """(B, H, W, 3) uint8 BGR -> (B, 3, H, W) in ImageNet normalisation, channels last in memory."""
    planes = torch.from_numpy(np.ascontiguousarray(pictures)).to(device).permute(0, 3, 1, 2).flip(1).float()
    mean = torch.tensor(IMAGENET_MEAN, device=device).view(1, 3, 1, 1) * 255
    std = torch.tensor(IMAGENET_STD, device=device).view(1, 3, 1, 1) * 255
    return ((planes - mean) / std).contiguous(memory_format=torch.channels_last)


def _split(network: OSNet | ResNet50) -> tuple[nn.Module, nn.Module]:
    """What stays and what is trained; both share their weights with `network`."""
    if isinstance(network, OSNet):
        early = nn.Sequential(network.conv1, network.maxpool, network.conv2, network.conv3)
        return early, nn.Sequential(network.conv4, network.conv5)
    stages = list(network.children())
    return nn.Sequential(*stages[:-1]), stages[-1]


def _fuse(maps: Tensor, clips: int, stripes: int, fusion: TorchAlignedHead) -> Tensor:
    means, energy = pool_stripes(maps, stripes)  # (b * n, R, C), (b * n, R)
    return fusion(means.unflatten(0, (clips, -1)), energy.unflatten(0, (clips, -1)))


def _pictures(material: Material, batch: ClipBatch | list[tuple[int, int]]) -> ImageArray:
    """(b * n, H, W, 3) the pictures of a batch, clip by clip."""
    if isinstance(batch, ClipBatch):
        drawn = [(t, c) for t, crops in zip(batch.track.tolist(), batch.crops.tolist(), strict=True) for c in crops]
    else:
        drawn = batch
    pictures = [material.tracks[track].pictures for track, _ in drawn]
    return np.stack([of[crop] for of, (_, crop) in zip(pictures, drawn, strict=True) if of is not None])


def _one_each(material: Material, rng: np.random.Generator) -> list[tuple[int, int]]:
    return [(i, int(rng.integers(len(track)))) for i, track in enumerate(material.tracks)]


def _encode_track(network: nn.Module, track: TrackCrops, stripes: int, device: torch.device) -> TrackCrops:
    if track.pictures is None:
        raise ValueError(f"{track.key}: expected pictures")
    parts = [track.pictures[i : i + _ENCODED_AT_ONCE] for i in range(0, len(track), _ENCODED_AT_ONCE)]
    pooled = [pool_stripes(network(to_input(part, device)), stripes) for part in parts]
    return replace(
        track,
        stripes=torch.cat([means for means, _ in pooled]).float().cpu().numpy(),
        energy=torch.cat([energy for _, energy in pooled]).float().cpu().numpy(),
    )


def _drift(values: list[nn.Parameter], anchor: list[Tensor]) -> Tensor:
    """Mean over the tensors of the squared change by the start's mean square."""
    changes = [
        (value - start).square().mean() / start.square().mean().clamp_min(1e-6)
        for value, start in zip(values, anchor, strict=True)
    ]
    return torch.stack(changes).mean()

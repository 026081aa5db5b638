"""Makes the crop encoder and the clip head that a configuration asks for. Imports PyTorch only when it is needed."""

from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pipeline.config import ReidConfig
from pipeline.errors import ConfigError, WeightsError
from pipeline.ports import CropEncoder, EncoderDescription
from reid.handcrafted import HandcraftedEncoder
from reid.heads import MeanHead, StaHead
from reid.weights import model_id

if TYPE_CHECKING:
    from reid.encoder import TorchCropEncoder

Runtime = Literal["auto", "torch", "onnxruntime"]


def load_encoder(
    config: ReidConfig, weights: Path | None = None, *, threads: int = 1, runtime: Runtime = "auto"
) -> CropEncoder:
    """The crop encoder of `config.backbone` with the weights in the file `weights`.

    Args:
        config: its backbone is not `auto`: the caller has chosen.
        weights: None for the hand-crafted descriptor only.
        threads: of ONNX Runtime, 0 for all cores. PyTorch's are the process's business (`torch.set_num_threads`).
        runtime: `auto` takes ONNX Runtime for an .onnx file on a CPU, where it is 4 to 6 times as fast, else PyTorch.

    Raises:
        ConfigError: an impossible combination. WeightsError: the file cannot be used.
    """
    if config.backbone == "handcrafted":
        return HandcraftedEncoder(config.stripes)
    if config.backbone == "auto":
        raise ConfigError("reid.backbone: auto must be settled before an encoder is made")
    if weights is None:
        raise WeightsError(f"reid.backbone {config.backbone} needs weights: see `run_pipeline.py weights`")
    if _wants_onnx(config, weights, runtime):
        from reid.onnx_encoder import OnnxCropEncoder

        return OnnxCropEncoder(weights, model_id(weights), config.stripes, threads)
    if config.backbone == "resnet50":
        return _resnet_encoder(config, weights)
    return _osnet_encoder(config, weights)


def load_head(config: ReidConfig, encoder: EncoderDescription) -> MeanHead | StaHead:
    """The clip head of `config` for the crop features of `encoder`."""
    return MeanHead(encoder) if config.head == "mean" else StaHead(encoder, config.fusion)


def limit_threads(threads: int) -> None:
    """How many threads PyTorch uses in this process; its idle ones spin and take the cores from everybody else."""
    import torch

    torch.set_num_threads(threads)


def _wants_onnx(config: ReidConfig, weights: Path, runtime: Runtime) -> bool:
    """Whether ONNX Runtime serves the file.

    Raises:
        ConfigError: it was asked for and cannot.
    """
    possible = weights.suffix == ".onnx" and config.backbone != "resnet50"
    if runtime == "onnxruntime":
        if not possible:
            raise ConfigError(f"reid: onnxruntime needs an .onnx export of OSNet, not {weights.name}")
        return True
    if runtime == "torch" or not possible or find_spec("onnxruntime") is None:
        return False
    return config.device == "cpu" or (config.device == "auto" and not _has_cuda())


def _has_cuda() -> bool:
    import torch

    return bool(torch.cuda.is_available())


def _osnet_encoder(config: ReidConfig, weights: Path) -> "TorchCropEncoder":
    from reid.checkpoints import load_osnet
    from reid.encoder import TorchCropEncoder

    backbone = load_osnet(config.backbone, weights)
    return TorchCropEncoder(backbone, backbone.projection(), model_id(weights), config.stripes, config.device)


def _resnet_encoder(config: ReidConfig, weights: Path) -> "TorchCropEncoder":
    from reid.encoder import TorchCropEncoder
    from reid.resnet import load_resnet50

    backbone, projection = load_resnet50(weights)
    return TorchCropEncoder(backbone, projection, model_id(weights), config.stripes, config.device)

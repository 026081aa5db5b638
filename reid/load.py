"""Makes the crop encoder and the clip head that a configuration asks for. Imports PyTorch only when it is needed."""

from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pipeline.config import ReidConfig
from pipeline.errors import ConfigError, WeightsError
from pipeline.ports import CropEncoder, EncoderDescription, Projection
from reid.aligned import AlignedHead, AlignedParameters
from reid.attention import AttentionOptions
from reid.catalogue import MAP_CHANNELS
from reid.clip_heads.live import LiveClipHead
from reid.clip_heads.stored import StoredClipHead, is_clip_head
from reid.handcrafted import HandcraftedEncoder
from reid.heads import BatchHead, MeanHead, StaHead
from reid.stored import find_head, stored_head
from reid.weights import model_id

if TYPE_CHECKING:
    from reid.encoder import TorchCropEncoder
    from reid.osnet import OSNet
    from reid.resnet import ResNet50

Runtime = Literal["auto", "torch", "onnxruntime", "openvino", "tensorrt"]


def load_encoder(
    config: ReidConfig, weights: Path | None = None, *, threads: int = 1, runtime: Runtime = "auto"
) -> CropEncoder:
    """The crop encoder of `config.backbone` with the weights in the file `weights`.

    Args:
        config: its backbone is not `auto`: the caller has chosen.
        weights: None for the hand-crafted descriptor only.
        threads: of ONNX Runtime and OpenVINO, 0 for all cores. PyTorch's are the process's business
            (`torch.set_num_threads`).
        runtime: `auto` goes by the file: OpenVINO for a folder or .xml, TensorRT for .engine, ONNX Runtime for .onnx on
            a CPU, where it is several times as fast as PyTorch, PyTorch for the rest.

    Raises:
        ConfigError: an impossible combination. WeightsError: the file cannot be used.
    """
    if config.backbone == "handcrafted":
        return HandcraftedEncoder(config.stripes)
    if config.backbone == "auto":
        raise ConfigError("reid.backbone: auto must be settled before an encoder is made")
    if weights is None:
        raise WeightsError(f"reid.backbone {config.backbone} needs weights: see `run_pipeline.py weights`")
    chosen = choose_runtime(config, weights, runtime)
    trained = _load_trained(config, weights) if chosen == "torch" else None
    if trained is not None:
        return trained
    encoder = _load(config, weights, chosen, threads)
    channels, expected = encoder.describe().channels, MAP_CHANNELS.get(config.backbone)
    if expected is not None and channels != expected:
        raise WeightsError(
            f"{weights}: its last map has {channels} channels, that of {config.backbone} {expected}; "
            "name the right reid.backbone, or `onnx` for a network of another kind"
        )
    return encoder


def choose_runtime(config: ReidConfig, weights: Path, runtime: Runtime = "auto") -> Runtime:
    """What runs the file.

    Raises:
        ConfigError: a runtime was asked for that cannot, or nothing can run this file with this backbone.
    """
    possible = _possible_runtimes(config.backbone, weights)
    if not possible:
        raise ConfigError(
            f"reid.backbone: {config.backbone} cannot be made of {weights.name}; `onnx` takes .onnx files and networks "
            "of OpenVINO, the others take checkpoints (.pth, .pt, .safetensors) and their exports"
        )
    if runtime == "auto":
        with_gpu = weights.suffix == ".onnx" and "torch" in possible and not _wants_cpu(config)
        missing = possible[0] == "onnxruntime" and find_spec("onnxruntime") is None and "torch" in possible
        return "torch" if with_gpu or missing else possible[0]
    if runtime not in possible:
        raise ConfigError(f"reid: {runtime} cannot run {weights.name}, {' or '.join(possible)} can; export it first")
    return runtime


def _possible_runtimes(backbone: str, weights: Path) -> tuple[Runtime, ...]:
    """The first is the usual one."""
    if weights.is_dir() or weights.suffix == ".xml":
        return ("openvino",)
    if weights.suffix == ".engine":
        return ("tensorrt",)
    if weights.suffix == ".onnx":  # PyTorch knows where OSNet's weights belong
        return ("onnxruntime", "openvino", *(("torch",) if backbone.startswith("osnet") else ()))
    return () if backbone == "onnx" else ("torch",)


def _load(config: ReidConfig, weights: Path, runtime: Runtime, threads: int) -> CropEncoder:
    if runtime == "onnxruntime":
        from reid.onnx_encoder import OnnxCropEncoder

        return OnnxCropEncoder(weights, model_id(weights), config.stripes, threads, config.device)
    if runtime == "openvino":
        from reid.openvino_encoder import OpenVinoCropEncoder

        return OpenVinoCropEncoder(weights, model_id(weights), config.stripes, threads, config.device)
    if runtime == "tensorrt":
        from reid.tensorrt_encoder import TensorRtCropEncoder

        return TensorRtCropEncoder(weights, model_id(weights), config.stripes, config.device)
    return load_torch_encoder(config, weights)


def _load_trained(config: ReidConfig, weights: Path) -> CropEncoder | None:
    """The encoder of a file that `run_pipeline.py train` left, with the size of crop that it says; None: another file.

    Raises:
        WeightsError: it is of another backbone, or cannot be read. ConfigError: stripes that it cannot have.
    """
    from reid.training.about import read_trained

    trained = read_trained(weights)
    if trained is None:
        return None
    made_for = trained.recipe.model.backbone
    if made_for != config.backbone:
        raise WeightsError(f"{weights}: trained for reid.backbone {made_for}, not {config.backbone}; name that one")
    from reid.training.live import load_trained_encoder

    return load_trained_encoder(weights, config.stripes, config.device)


def settle_head(config: ReidConfig, model_id: str) -> ReidConfig:
    """`config` with `fusion: auto` replaced, and for a head from a file its path and number of stripes filled in.

    Args:
        model_id: of the encoder to be.

    Raises:
        ConfigError: a head file for a head that takes none or for another head, or a head whose file is not there.
        WeightsError: a head file that cannot be read.
    """
    trained = _trained_head(config)
    if trained is not None:
        return replace(config, head_weights=str(trained[0]), stripes=trained[1].stripes)
    takes_weights = config.head == "sta" and config.fusion in ("auto", "aligned")
    if config.head_weights is not None and not takes_weights:
        raise ConfigError("reid.head_weights: only head sta with fusion aligned (or auto) has weights; set it to null")
    if not takes_weights:
        return config
    path = find_head(config.head_weights) if config.head_weights is not None else stored_head(model_id)
    if path is not None:
        rows = AlignedParameters.load(path).rows
        return replace(config, fusion="aligned", head_weights=str(path), stripes=rows)
    if config.fusion == "aligned":
        raise ConfigError(
            f"reid.fusion aligned: no head is stored for {model_id}; `run_pipeline.py fit-site` makes one of your own "
            "footage, or use fusion: global"
        )
    return replace(config, fusion="global")


def _trained_head(config: ReidConfig) -> tuple[Path, StoredClipHead] | None:
    """The file that `run_pipeline.py train` left of the configured head; None: it is a head of another kind.

    Raises:
        ConfigError: the head needs a file and has none, or the file holds another one.
        WeightsError: it cannot be read.
    """
    of_its_own = config.head in ("mean", "sta")  # these are heads without training as well
    path = None if config.head_weights is None else find_head(config.head_weights)
    if path is None or not is_clip_head(path):
        if of_its_own:
            return None
        found = "there is none" if path is None else f"{path.name} is none"
        raise ConfigError(
            f"reid.head {config.head}: needs reid.head_weights, a file of `run_pipeline.py train`; {found}"
        )
    stored = StoredClipHead.load(path)
    if stored.name != config.head:
        raise ConfigError(f"reid.head: {path.name} holds a trained head {stored.name}, not {config.head}")
    if config.fusion != "auto":
        raise ConfigError(f"reid.fusion: a trained head brings its own; set it to auto, not {config.fusion}")
    return path, stored


def start_parameters(config: ReidConfig, encoder: EncoderDescription) -> AlignedParameters | None:
    """What an adaptation starts from: the configured head, or the one stored for the encoder; None: there is none.

    Raises:
        WeightsError: a file that cannot be read. ConfigError: it holds a trained head, which is not adapted.
    """
    path = find_head(config.head_weights) if config.head_weights is not None else stored_head(encoder.model_id)
    if path is not None and is_clip_head(path):
        raise ConfigError(
            f"reid.head_weights: {path.name} is a trained head, and `fit-site` adapts aligned ones: --no-adapt"
        )
    return AlignedParameters.load(path) if path is not None else None


def load_head(config: ReidConfig, encoder: EncoderDescription) -> BatchHead:
    """The clip head of `config` for the crop features of `encoder`; `fusion: auto` is settled by what is stored.

    A file of trained weights (`reid.clip_heads.stored`) is the head itself.

    An encoder of finer stripes than `config.stripes` serves as well: they are gathered.

    Raises:
        ConfigError, WeightsError: a head from a file that is not there, or that belongs to another encoder; stripes
            that cannot be gathered.
    """
    weigh = config.quality_weights is True
    trained = _trained_head(config)
    if trained is not None:
        return LiveClipHead(encoder, trained[1], quality_weights=weigh)
    if config.head == "mean":
        return MeanHead(encoder, quality_weights=weigh, stripes=config.stripes)
    options = AttentionOptions(config.energy, config.normalisation)
    settled, fusion = settle_head(config, encoder.model_id), config.fusion
    if fusion == "auto" or fusion == "aligned":
        chosen_for_us = fusion == "auto" and config.head_weights is None
        parameters = _aligned_parameters(settled, encoder, chosen_for_us)
        if parameters is not None:
            return AlignedHead(encoder, parameters, options, quality_weights=config.quality_weights is not False)
        fusion = "global"
    return StaHead(encoder, fusion, options, quality_weights=weigh, stripes=config.stripes)


def _aligned_parameters(
    settled: ReidConfig, encoder: EncoderDescription, chosen_for_us: bool
) -> AlignedParameters | None:
    """Of a settled configuration; None: it is another head after all, which a head that was asked for never is."""
    if settled.head_weights is None or (chosen_for_us and settled.stripes != encoder.stripes):
        return None  # an encoder that was made for a head of another kind
    return AlignedParameters.load(Path(settled.head_weights))


def limit_threads(threads: int) -> None:
    """How many threads PyTorch uses in this process; its idle ones spin and take the cores from everybody else."""
    import torch

    torch.set_num_threads(threads)


def load_torch_encoder(config: ReidConfig, weights: Path) -> "TorchCropEncoder":
    """The encoder in PyTorch, its batch norms folded into the convolutions (on a CPU 1.5 times as fast).

    Raises:
        WeightsError, ConfigError: as `load_encoder`.
    """
    from reid.encoder import TorchCropEncoder
    from reid.folding import fold_batch_norms

    backbone, projection = load_backbone(config.backbone, weights)
    return TorchCropEncoder(fold_batch_norms(backbone), projection, model_id(weights), config.stripes, config.device)


def load_backbone(name: str, weights: Path) -> tuple["OSNet | ResNet50", Projection | None]:
    """The network of a checkpoint up to its last map, and the layer behind its pooling.

    Raises:
        WeightsError: the file does not hold this network.
    """
    if name == "resnet50":
        from reid.resnet import load_resnet50

        return load_resnet50(weights)
    from reid.checkpoints import load_osnet

    network = load_osnet(name, weights)
    return network, network.projection()


def _wants_cpu(config: ReidConfig) -> bool:
    return config.device == "cpu" or (config.device == "auto" and not _has_cuda())


def _has_cuda() -> bool:
    import torch

    return bool(torch.cuda.is_available())

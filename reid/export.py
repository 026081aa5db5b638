"""Exports a re-ID network to a faster format, and keeps the file when the pipeline reads the same features from it."""

import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from pipeline.config import ReidConfig
from pipeline.errors import ConfigError, OutputError, WeightsError
from pipeline.ports import CropEncoder
from reid.catalogue import MAP_CHANNELS, USUAL_WEIGHTS, find_named, stem
from reid.crop_input import PIXEL_RANGES, CropInput
from reid.exported import METADATA_KEY, ExportNotes
from reid.load import load_backbone, load_encoder
from reid.parity import HALF_TOLERANCE, SINGLE_TOLERANCE, Parity, compare, probe_crops
from reid.tensorrt_engine import EngineFile, build_plan, import_tensorrt
from reid.weights import model_id

ENDINGS: dict[str, str] = {"onnx": ".onnx", "openvino": "_openvino_model", "tensorrt": ".engine"}
STRIPES = 4  # of the comparison: the pipeline's default, where the map has that many


@dataclass(frozen=True, slots=True)
class ExportWish:
    """What to export to what.

    Attributes:
        backbone: a value of `reid.backbone`; None finds out.
        half: half precision: of weights and arithmetic (ONNX from a checkpoint), of stored weights (OpenVINO), or
            inside (TensorRT).
        pixels: for an .onnx file that does not say, or says wrongly, what numbers it wants: a name in `PIXEL_RANGES`.
        bgr: likewise; its channels are blue, green, red.
    """

    format: str
    backbone: str | None = None
    half: bool = False
    pixels: str | None = None
    bgr: bool = False


@dataclass(frozen=True, slots=True)
class Exported:
    """Where the export lies, its model_id, and how well it agrees with its source."""

    path: Path
    model_id: str
    parity: Parity


@dataclass(frozen=True, eq=False, slots=True)
class _Source:
    """A network that can be exported: as the pipeline runs it now, and as an ONNX model, in half precision or not."""

    backbone: str
    reference: CropEncoder
    notes: ExportNotes
    write: Callable[[bool], Any]


def export_network(weights: Path, wish: ExportWish, out: Path, *, overwrite: bool = False) -> Exported:
    """Write the network in another format, after a proof that it computes the same.

    Args:
        weights: a checkpoint, or any .onnx file that the pipeline can cut.
        out: the file (or `_openvino_model` folder) to write, or a folder, which gets one named like the weights.

    Raises:
        WeightsError: the weights cannot be read, or the export computes something else: then nothing is kept.
        ConfigError: an impossible wish. OutputError: `out` exists, or cannot be written.
    """
    target = _target(weights, wish.format, out)
    if target.resolve() == weights.resolve():
        raise OutputError(f"{target} is what would be read; choose another --out")
    if target.exists() and not overwrite:
        raise OutputError(f"{target} exists; choose another --out or add --overwrite")
    if find_spec("onnx") is None:
        raise WeightsError("export goes through ONNX and needs the onnx package: pip install '.[cpu]'")
    if wish.format == "tensorrt":
        import_tensorrt("--format tensorrt")
    source = _open_source(weights, wish)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=target.parent, prefix=".export-") as folder:
            made = Path(folder) / target.name
            _write(source, wish, made)
            parity = _prove(source, wish, made)
            if target.is_dir():
                shutil.rmtree(target)
            made.replace(target)
    except OSError as error:
        raise OutputError(f"{target} cannot be written ({error.strerror or error}); choose another --out") from None
    return Exported(target, model_id(target), parity)


def guess_backbone(weights: Path) -> str:
    """The backbone of a catalogue file by its name, else of a checkpoint by the shapes of its tensors.

    Raises:
        WeightsError: neither says.
    """
    if weights.suffix == ".onnx":
        return "onnx"
    entry = find_named(weights.name)
    usual = {name: backbone for backbone, name in USUAL_WEIGHTS.items()}
    if entry is not None and entry.name in usual:
        return usual[entry.name]
    from reid.checkpoints import read_state

    state = read_state(weights)
    if "layer4.2.conv3.weight" in state:
        return "resnet50"
    last = state.get("conv5.conv.weight")
    found = [name for name, channels in MAP_CHANNELS.items() if last is not None and len(last) == channels]
    if not found:
        raise WeightsError(f"{weights}: neither OSNet nor ResNet-50 by its tensors; name the network with --backbone")
    return found[0]


def _target(weights: Path, wanted: str, out: Path) -> Path:
    """
    Raises:
        ConfigError: an unknown format, or a name with another format's ending.
    """
    if wanted not in ENDINGS:
        raise ConfigError(f"--format: expected {', '.join(ENDINGS)}; got {wanted!r}")
    if out.name.endswith(ENDINGS[wanted]):
        return out
    if out.suffix and not out.is_dir():
        raise ConfigError(f"--out: a name for {wanted} ends in {ENDINGS[wanted]}, or is a folder; got {out.name!r}")
    return out / f"{stem(weights.name)}{ENDINGS[wanted]}"


def _open_source(weights: Path, wish: ExportWish) -> _Source:
    """
    Raises:
        WeightsError: the weights cannot be read. ConfigError: an impossible wish.
    """
    if weights.is_dir() or weights.suffix in (".xml", ".engine"):
        raise ConfigError(
            f"--weights: {weights.name} is an export already; give the checkpoint or .onnx it was made of"
        )
    backbone = wish.backbone or guess_backbone(weights)
    if backbone == "onnx":
        return _open_network(weights, wish)
    if wish.pixels or wish.bgr:
        raise ConfigError(f"--pixels and --bgr are for .onnx files; {backbone} was trained on ImageNet's normalisation")
    config = _config(backbone, STRIPES)
    reference = load_encoder(config, weights, runtime="torch")
    notes = ExportNotes(model_id(weights), CropInput(), wish.half)

    def write(half: bool) -> Any:
        from reid.onnx_writer import write_onnx

        return write_onnx(*load_backbone(backbone, weights), replace(notes, half=half))

    return _Source(backbone, reference, notes, write)


def _open_network(weights: Path, wish: ExportWish) -> _Source:
    """An .onnx file of anybody's."""
    from onnx import helper

    from reid.onnx_cut import take_apart
    from reid.onnx_encoder import OnnxCropEncoder

    if wish.half and wish.format == "onnx":
        raise ConfigError(
            "--half: other people's .onnx files keep their precision in ONNX; give a checkpoint (or --backbone, if the "
            "file is an OSNet), or use --format openvino"
        )
    parts = take_apart(weights)
    crop_input = parts.graph.crop_input
    if wish.pixels is not None:
        if wish.pixels not in PIXEL_RANGES:
            raise ConfigError(f"--pixels: expected {', '.join(PIXEL_RANGES)}; got {wish.pixels!r}")
        mean, std = PIXEL_RANGES[wish.pixels]
        crop_input = replace(crop_input, mean=mean, std=std)
    if wish.bgr:
        crop_input = replace(crop_input, mean=crop_input.mean[::-1], std=crop_input.std[::-1], colours="bgr")
    stripes = STRIPES if parts.map_height % STRIPES == 0 else 1
    reference = OnnxCropEncoder(parts, model_id(weights), stripes, crop_input=crop_input)
    notes = ExportNotes(model_id(weights), crop_input, wish.half)

    def write(half: bool) -> Any:
        model = parts.graph.body([parts.cut.feature], parts.batch)
        helper.set_model_props(model, {METADATA_KEY: notes.to_json()})
        return model

    return _Source("onnx", reference, notes, write)


def _config(backbone: str, stripes: int) -> ReidConfig:
    return ReidConfig(backbone=backbone, stripes=stripes, device="cpu")  # type: ignore[arg-type]


def _write(source: _Source, wish: ExportWish, made: Path) -> None:
    """
    Raises:
        WeightsError: a layer that the format cannot hold, or a package that is not installed.
    """
    import onnx

    model = source.write(wish.half and wish.format == "onnx")
    if wish.format == "onnx":
        onnx.save(model, made)
        return
    plain = made.with_name("network.onnx")
    onnx.save(model, plain)
    if wish.format == "openvino":
        _write_openvino(plain, source.notes, made)
    else:
        _write_engine(plain, source.notes, made)
    plain.unlink()


def _write_openvino(plain: Path, notes: ExportNotes, made: Path) -> None:
    try:
        import openvino
    except ImportError:
        raise WeightsError("--format openvino needs the openvino package: pip install '.[cpu]'") from None
    model = openvino.convert_model(plain)
    model.set_rt_info(notes.to_json(), [METADATA_KEY])
    made.mkdir()
    openvino.save_model(model, made / f"{stem(made.name)}.xml", compress_to_fp16=notes.half)


def _write_engine(plain: Path, notes: ExportNotes, made: Path) -> None:
    from reid.onnx_cut import take_apart

    parts = take_apart(plain)
    size = notes.crop_input
    crop_shape = (3, size.height_px, size.width_px)
    plan = build_plan(parts.graph.body([parts.cut.last_map], parts.batch), made, crop_shape, notes.half)
    engine = EngineFile(notes.to_json(), parts.map_height, parts.channels, parts.projection, plan)
    made.write_bytes(engine.to_bytes())


def _prove(source: _Source, wish: ExportWish, made: Path) -> Parity:
    """Load the export as the pipeline does and compare it with its source.

    Raises:
        WeightsError: they differ by more than the precision explains.
    """
    config = _config(source.backbone, source.reference.describe().stripes)
    if wish.format == "tensorrt":
        config = replace(config, device="auto")
    size = source.notes.crop_input
    parity = compare(source.reference, load_encoder(config, made), probe_crops(size.height_px, size.width_px))
    tolerance = HALF_TOLERANCE if wish.half else SINGLE_TOLERANCE
    if not parity.within(tolerance):
        raise WeightsError(f"the export does not compute what its source does, and is not kept: {parity}")
    return parity

"""Builds TensorRT engines and keeps them in files together with what the pipeline must know. Not run on hardware here.

A file is MAGIC, the length of a header (8 bytes, little-endian), the header (NumPy's .npz), and TensorRT's own plan.
An engine fits one GPU model and one version of TensorRT. Like any program, load only those that you built yourself.
"""

import io
import struct
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.errors import WeightsError
from pipeline.ports import Projection

MAGIC = b"MCPREID1"
MAX_BATCH = 32  # crops a pass: the largest that the engine is tuned for
USUAL_BATCH = 8  # that it is tuned for most
WORKSPACE_BYTES = 2 << 30  # that the builder may try out algorithms in


@dataclass(frozen=True, eq=False, slots=True)
class EngineFile:
    """A TensorRT plan from crops (B, 3, H, W) to the last map (B, C, h, w), and what belongs to it.

    Attributes:
        notes: `reid.exported.ExportNotes` as JSON.
    """

    notes: str
    map_height: int
    channels: int
    projection: Projection | None
    plan: bytes

    def to_bytes(self) -> bytes:
        """What `read_engine` reads."""
        arrays: dict[str, Any] = {"notes": self.notes, "map_height": self.map_height, "channels": self.channels}
        if self.projection is not None:
            arrays |= {"weight": self.projection.weight, "bias": self.projection.bias, "relu": self.projection.relu}
        header = io.BytesIO()
        np.savez(header, **arrays)
        return MAGIC + struct.pack("<Q", header.tell()) + header.getvalue() + self.plan


def read_engine(path: Path) -> EngineFile:
    """The engine in a file of ours.

    Raises:
        WeightsError: another program's engine (it does not say what its output means), or a damaged file.
    """
    try:
        content = path.read_bytes()
        if not content.startswith(MAGIC):
            raise WeightsError(f"{path}: not an engine of `run_pipeline.py export --format tensorrt`; export it there")
        start = len(MAGIC) + 8
        (length,) = struct.unpack("<Q", content[len(MAGIC) : start])
        with np.load(io.BytesIO(content[start : start + length]), allow_pickle=False) as header:
            values = {name: header[name] for name in header.files}
        projection = None
        if "weight" in values:
            projection = Projection(values["weight"], values["bias"], bool(values["relu"]))
        plan = content[start + length :]
        return EngineFile(str(values["notes"]), int(values["map_height"]), int(values["channels"]), projection, plan)
    except (OSError, ValueError, KeyError, EOFError, struct.error, zipfile.BadZipFile) as error:
        raise WeightsError(f"{path}: a damaged engine ({type(error).__name__}); export it again") from None


def import_tensorrt(place: str) -> Any:
    """The module; `place` begins the error's text.

    Raises:
        WeightsError: it is not installed.
    """
    try:
        import tensorrt
    except ImportError:
        raise WeightsError(
            f"{place} needs NVIDIA's TensorRT on this machine: pip install tensorrt (and an NVIDIA GPU)"
        ) from None
    return tensorrt


def build_plan(body: Any, path: Path, crop_shape: tuple[int, int, int], half: bool) -> bytes:
    """TensorRT's plan for an ONNX model with one input (batch, 3, H, W).

    Args:
        crop_shape: (3, H, W). half: allow half precision inside; the map comes out in single precision.

    Raises:
        WeightsError: TensorRT is not installed or cannot build it.
    """
    tensorrt = import_tensorrt(str(path))
    logger = tensorrt.Logger(tensorrt.Logger.ERROR)
    builder = tensorrt.Builder(logger)
    network = builder.create_network(0)  # batches are explicit since TensorRT 10
    parser = tensorrt.OnnxParser(network, logger)
    if not parser.parse(body.SerializeToString()):
        raise WeightsError(f"{path}: TensorRT cannot read this network ({parser.get_error(0)})")
    config = builder.create_builder_config()
    config.set_memory_pool_limit(tensorrt.MemoryPoolType.WORKSPACE, WORKSPACE_BYTES)
    if half:
        config.set_flag(tensorrt.BuilderFlag.FP16)
    profile = builder.create_optimization_profile()
    shapes = [(batch, *crop_shape) for batch in (1, USUAL_BATCH, MAX_BATCH)]
    profile.set_shape(network.get_input(0).name, *shapes)
    config.add_optimization_profile(profile)
    plan = builder.build_serialized_network(network, config)
    if plan is None:
        raise WeightsError(f"{path}: TensorRT could not build an engine; its own messages above say why")
    return bytes(plan)

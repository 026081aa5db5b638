"""Crop encoder on ONNX Runtime: several times as fast as PyTorch on a CPU, and without importing it."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.errors import WeightsError
from pipeline.ports import EncoderDescription
from pipeline.types import CropFeature, FloatArray, Frame, ImageArray
from reid.crops import IMAGENET_MEAN, IMAGENET_STD, check_stripes, cut_crops, pool_stripes, to_features
from reid.onnx_graph import cut_at_last_map, load_onnx_model, read_projection

MAX_BATCH = 8  # crops a pass: with more the maps leave the cache and each crop takes longer (docs/sta.md)


class OnnxCropEncoder:
    """`pipeline.ports.CropEncoder` over an ONNX export of OSNet, on the CPU.

    The graph is cut at the input of its last global average pool and its batch made free, so exports that are fixed
    to a batch of 1 serve as well.
    """

    def __init__(self, path: Path, model_id: str, stripes: int = 4, threads: int = 1) -> None:
        """
        Args:
            threads: of one pass; 0 lets ONNX Runtime take every core.

        Raises:
            WeightsError: not such an export, or `onnx` or `onnxruntime` is not installed.
            ConfigError: stripes that do not divide the map.
        """
        model = load_onnx_model(path)
        projection = read_projection(model, path)
        self._session = _open_session(cut_at_last_map(model, path), path, threads)
        self._input = self._session.get_inputs()[0].name
        _, channels, height, _ = self._maps(np.zeros((1, 256, 128, 3), np.uint8)).shape
        check_stripes(stripes, height)
        self._description = EncoderDescription(model_id, stripes, channels, projection)

    def describe(self) -> EncoderDescription:
        """See `pipeline.ports.CropEncoder`."""
        return self._description

    def encode(self, frames: Sequence[Frame], boxes: Sequence[FloatArray]) -> list[list[CropFeature]]:
        """See `pipeline.ports.CropEncoder`; a box without a pixel in the picture gets zeros."""
        crops, seen = cut_crops(frames, boxes)
        k, channels = self._description.stripes, self._description.channels
        means = np.zeros((len(crops), k, channels), np.float32)
        energy = np.zeros((len(crops), k), np.float32)
        (places,) = np.nonzero(seen)
        for start in range(0, len(places), MAX_BATCH):
            batch = places[start : start + MAX_BATCH]
            means[batch], energy[batch] = pool_stripes(self._maps(crops[batch]), k)
        return to_features(frames, boxes, (means, energy, seen), self._description.model_id)

    def _maps(self, crops: ImageArray) -> FloatArray:
        """Maps (B, C, H, W) of crops (B, 256, 128, 3) uint8 BGR."""
        maps: npt.NDArray[np.float32] = self._session.run(None, {self._input: normalise_crops(crops)})[0]
        return maps


def normalise_crops(crops: ImageArray) -> FloatArray:
    """(B, H, W, 3) uint8 BGR -> (B, 3, H, W) float32 RGB in ImageNet normalisation."""
    mean, std = (np.array(x, np.float32)[:, None, None] for x in (IMAGENET_MEAN, IMAGENET_STD))
    planes = crops[..., ::-1].transpose(0, 3, 1, 2).astype(np.float32)  # (B, 3, H, W) RGB
    normalised: FloatArray = np.ascontiguousarray((planes / 255 - mean) / std)
    return normalised


def _open_session(model: Any, path: Path, threads: int) -> Any:
    try:
        import onnxruntime
    except ImportError:
        raise WeightsError(f"{path}: running .onnx needs onnxruntime: pip install '.[cpu]'") from None
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # idle threads must not burn cores
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])

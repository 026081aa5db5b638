"""Crop encoder on ONNX Runtime: on a CPU several times as fast as PyTorch, and without importing it."""

from pathlib import Path

import numpy as np

from pipeline.ports import EncoderDescription
from pipeline.types import FloatArray
from reid.crop_input import CropInput
from reid.crops import check_stripes
from reid.onnx_cut import OnnxParts, take_apart
from reid.onnx_session import open_session, session_device
from reid.pooled_encoder import PooledCropEncoder

MAX_BATCH = 8  # crops a pass on a CPU: with more the maps leave the cache and each crop takes longer (docs/sta.md)
MAX_BATCH_CUDA = 64  # bounds memory (OSNet x1.0: 0.3 GB)


class OnnxCropEncoder(PooledCropEncoder):
    """`pipeline.ports.CropEncoder` over any re-ID network in ONNX whose last map feeds a global average pooling.

    The graph is cut at the last map, its batch made free, and stripes are pooled inside the session. A graph that
    cannot be freed of its batch of 1 runs crop by crop.
    """

    def __init__(
        self,
        network: Path | OnnxParts,
        model_id: str,
        stripes: int = 4,
        threads: int = 1,
        device: str = "cpu",
        crop_input: CropInput | None = None,
    ) -> None:
        """
        Args:
            network: a file, or one that is taken apart already.
            threads: of one pass; 0 lets ONNX Runtime take every core.
            device: `auto`, `cpu`, `cuda` or `cuda:N`.
            crop_input: None takes what the file states, or ImageNet's normalisation.

        Raises:
            WeightsError: not such a network, or `onnx` or `onnxruntime` is not installed.
            ConfigError: stripes that do not divide the map, or a device that is not there.
        """
        device = session_device(device)
        parts = take_apart(network) if isinstance(network, Path) else network
        check_stripes(stripes, parts.map_height)
        self._session = open_session(parts.pooled_model(stripes), parts.graph.path, threads, device)
        self._picture = parts.graph.picture
        self._half = self._session.get_inputs()[0].type == "tensor(float16)"
        usual = MAX_BATCH if device == "cpu" else MAX_BATCH_CUDA
        description = EncoderDescription(model_id, stripes, parts.channels, parts.projection)
        super().__init__(description, crop_input or parts.graph.crop_input, parts.batch or usual)

    def _pool(self, pixels: FloatArray) -> tuple[FloatArray, FloatArray]:
        given = pixels.astype(np.float16) if self._half else pixels
        means, energy = self._session.run(None, {self._picture: given})
        return means, energy

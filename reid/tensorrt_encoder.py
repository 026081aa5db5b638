"""Crop encoder on TensorRT, for engines that our exporter built on the same machine. Not run on hardware here."""

from pathlib import Path

import numpy as np
import torch

from pipeline.errors import ConfigError, WeightsError
from pipeline.ports import EncoderDescription
from pipeline.types import FloatArray
from reid.crops import check_stripes
from reid.encoder import choose_device
from reid.exported import read_notes
from reid.pooled_encoder import PooledCropEncoder
from reid.sta_torch import pool_stripes
from reid.tensorrt_engine import MAX_BATCH, import_tensorrt, read_engine


class TensorRtCropEncoder(PooledCropEncoder):
    """`pipeline.ports.CropEncoder` over a TensorRT engine; PyTorch holds its buffers and pools its maps on the GPU."""

    def __init__(self, path: Path, model_id: str, stripes: int = 4, device: str = "auto") -> None:
        """
        Raises:
            WeightsError: not an engine of ours, built elsewhere, or TensorRT is not installed.
            ConfigError: no GPU, or stripes that do not divide the map.
        """
        engine_file = read_engine(path)
        tensorrt = import_tensorrt(str(path))
        self._device = choose_device(device)
        if self._device.type != "cuda":
            raise ConfigError(f"reid.device: a TensorRT engine needs an NVIDIA GPU, not {device!r}")
        check_stripes(stripes, engine_file.map_height)
        with torch.cuda.device(self._device):
            runtime = tensorrt.Runtime(tensorrt.Logger(tensorrt.Logger.ERROR))
            self._engine = runtime.deserialize_cuda_engine(engine_file.plan)
        if self._engine is None:
            raise WeightsError(f"{path}: built for another GPU or version of TensorRT; export it again on this machine")
        self._context = self._engine.create_execution_context()
        self._names = [self._engine.get_tensor_name(i) for i in range(self._engine.num_io_tensors)]
        description = EncoderDescription(model_id, stripes, engine_file.channels, engine_file.projection)
        super().__init__(description, read_notes(engine_file.notes, path).crop_input, MAX_BATCH)

    @torch.inference_mode()
    def _pool(self, pixels: FloatArray) -> tuple[FloatArray, FloatArray]:
        source, target = self._names
        with torch.cuda.device(self._device):
            crops = torch.from_numpy(np.ascontiguousarray(pixels)).to(self._device)
            self._context.set_input_shape(source, tuple(crops.shape))
            maps = torch.empty(tuple(self._context.get_tensor_shape(target)), device=self._device)
            self._context.set_tensor_address(source, crops.data_ptr())
            self._context.set_tensor_address(target, maps.data_ptr())
            if not self._context.execute_async_v3(torch.cuda.current_stream().cuda_stream):
                raise RuntimeError("TensorRT failed to run the engine")
            means, energy = pool_stripes(maps, self._description.stripes)
            return means.cpu().numpy(), energy.cpu().numpy()

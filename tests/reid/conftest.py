import os
from pathlib import Path

import pytest
import torch


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> None:
    """Idle PyTorch threads spin: on a busy machine two threads are many times as slow as one."""
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def osnet_onnx() -> Path:
    """The real ONNX export of OSNet x0.25."""
    for folder in os.environ.get("MODELS_DIR", "").split(os.pathsep):
        path = Path(folder) / "osnet_x0_25_msmt17.onnx"
        if folder and path.exists():
            return path
    pytest.skip("needs osnet_x0_25_msmt17.onnx in a folder of MODELS_DIR")

"""Opens ONNX Runtime on the CPU or on CUDA."""

from pathlib import Path
from typing import Any

from pipeline.errors import ConfigError, WeightsError
from reid.graph_probe import first_line

CUDA = "CUDAExecutionProvider"
CPU = "CPUExecutionProvider"


def open_session(model: Any, path: Path, threads: int = 1, device: str = "cpu", *, optimise: bool = True) -> Any:
    """A session over an ONNX model in memory; `path` is for errors.

    Args:
        threads: of one pass; 0 lets ONNX Runtime take every core.
        device: `cpu`, `cuda` or `cuda:N`.
        optimise: False opens faster, for a graph that runs once.

    Raises:
        WeightsError: onnxruntime is not installed, or cannot run the network. ConfigError: no CUDA where it is wanted.
    """
    onnxruntime = _import(path)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4  # fatal: errors are raised as well, and said by whoever catches them
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # idle threads must not burn cores
    if not optimise:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    providers = _providers(onnxruntime, device)
    try:
        session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=providers)
    except session_errors() as error:
        raise WeightsError(f"{path}: ONNX Runtime cannot run this network ({first_line(error)})") from None
    if device != "cpu" and CUDA not in session.get_providers():
        raise ConfigError(
            f"reid.device: {device!r}: onnxruntime-gpu could not start CUDA (its versions of CUDA and cuDNN must fit); "
            "use cpu, or a PyTorch checkpoint"
        )
    return session


def session_device(device: str) -> str:
    """`auto` as `cuda` where ONNX Runtime has it, else `cpu`; other names as they are."""
    if device != "auto":
        return device
    from importlib.util import find_spec

    if find_spec("onnxruntime") is None:
        return "cpu"
    import onnxruntime

    return "cuda" if CUDA in onnxruntime.get_available_providers() and Path("/dev/nvidia0").exists() else "cpu"


def session_errors() -> tuple[type[Exception], ...]:
    """What ONNX Runtime raises; its errors have no class of their own in common."""
    from onnxruntime.capi import onnxruntime_pybind11_state as state

    names = ("Fail", "InvalidArgument", "InvalidGraph", "InvalidProtobuf", "NotImplemented", "RuntimeException")
    return tuple(getattr(state, name) for name in names)


def _import(path: Path) -> Any:
    try:
        import onnxruntime
    except ImportError:
        raise WeightsError(
            f"{path}: running .onnx needs onnxruntime: pip install '.[cpu]' (or '.[gpu]' for an NVIDIA GPU)"
        ) from None
    return onnxruntime


def _providers(onnxruntime: Any, device: str) -> list[Any]:
    """
    Raises:
        ConfigError: a device that ONNX Runtime does not have here.
    """
    kind, _, number = device.partition(":")
    if kind == "cpu" and not number:
        return [CPU]
    if kind != "cuda" or not (number or "0").isdecimal():
        raise ConfigError(f"reid.device: expected auto, cpu, cuda or cuda:N; got {device!r}")
    if CUDA not in onnxruntime.get_available_providers():
        raise ConfigError(
            f"reid.device: {device!r} needs onnxruntime-gpu for an .onnx file: pip install '.[gpu]' (instead of "
            "onnxruntime), or use a PyTorch checkpoint"
        )
    if hasattr(onnxruntime, "preload_dlls"):
        onnxruntime.preload_dlls()  # finds CUDA and cuDNN in the packages that PyTorch brings
    return [(CUDA, {"device_id": int(number or 0), "cudnn_conv_algo_search": "HEURISTIC"}), CPU]

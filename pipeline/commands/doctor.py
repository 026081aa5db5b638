"""`run_pipeline.py doctor`: what is installed and at hand, and what to do about what is missing.

Anything may be broken on the machine this runs on, so every part is imported where it is asked about, and libraries
that may hang or crash (PyTorch, OpenCV, OpenVINO) are tried in a process of their own.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Literal

from pipeline.config import Config
from pipeline.errors import PipelineError

Echo = Callable[[str], None]
Ask = Callable[[str], "Answer"]

_OLDEST_PYTHON = (3, 11)
_NEEDED = ("av", "filterpy", "jinja2", "matplotlib", "numpy", "opencv-python", "pillow", "platformdirs", "psutil")
_NEEDED_TOO = ("pyyaml", "redis", "safetensors", "scipy", "starlette", "torch", "torchvision", "tqdm", "ultralytics")
_SERVES = ("uvicorn",)
_FASTER = ("openvino", "onnxruntime", "onnx")  # the extra `cpu`
_ASK_TIMEOUT_S = 60.0  # the first import of PyTorch from a slow disk takes half a minute
_SHM_MB = 100  # four frames of one 3840x2160 camera, or of four 1920x1080 ones (docs/operations.md)
_DISK_GB = 2.0  # weights, crops and references of some days, an hour of overlay video

_TRY_OPENCV = "import cv2; cv2.HOGDescriptor(); print(cv2.__version__)"
_TRY_TORCH = """
import torch
count = torch.cuda.device_count() if torch.cuda.is_available() else 0
gpus = ", ".join(torch.cuda.get_device_name(i) for i in range(count))
print(torch.__version__, "with " + gpus if gpus else "without a usable GPU", f"{torch.get_num_threads()} threads")
"""
_TRY_OPENVINO = "import openvino; print(openvino.__version__, *openvino.Core().available_devices)"
_TRY_ONNXRUNTIME = "import onnxruntime; print(onnxruntime.__version__, *onnxruntime.get_available_providers())"


@dataclass(frozen=True, slots=True)
class Answer:
    """What a try in a process of its own said: its last line of output, or of its error."""

    worked: bool
    text: str


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the doctor's.

    Attributes:
        todo: what to do about it; empty where nothing is to be done.
        essential: nothing runs, or not what the configuration asks for, while this is not `ok`.
    """

    what: str
    state: Literal["ok", "missing", "problem"]
    text: str
    todo: str = ""
    essential: bool = False


def doctor(
    echo: Echo,
    config: Config | None = None,
    *,
    folder: Path | None = None,
    environment: Mapping[str, str] | None = None,
    ask: Ask | None = None,
) -> int:
    """Print a line for everything that a run may need; with a configuration, for everything that it asks for.

    Args:
        folder: whose disk a run would write to; the working directory when None.
        ask: runs a piece of Python in a process of its own (tests hand in answers).

    Returns:
        0, or 1 when something essential is missing.
    """
    environment = os.environ if environment is None else environment
    worst = 0
    for finding in _findings(config, folder or Path(), environment, ask or ask_python):
        echo(f"{finding.state:<8} {finding.what}: {finding.text}")
        if finding.todo and finding.state != "ok":
            echo(f"{'':<8} -> {finding.todo}")
        if finding.essential and finding.state != "ok":
            worst = 1
    echo("something essential is missing" if worst else "everything essential is there")
    return worst


def ask_python(code: str) -> Answer:
    """Run a piece of Python in a fresh interpreter."""
    try:
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, timeout=_ASK_TIMEOUT_S, check=False
        )
    except subprocess.TimeoutExpired:
        return Answer(False, f"no answer within {_ASK_TIMEOUT_S:g} s")
    lines = (done.stdout if done.returncode == 0 else done.stderr).strip().splitlines()
    return Answer(done.returncode == 0, lines[-1][:200] if lines else f"ended with {done.returncode}")


def _findings(config: Config | None, folder: Path, environment: Mapping[str, str], ask: Ask) -> Iterator[Finding]:
    yield _python()
    yield from _packages()
    yield _opencv(ask)
    yield _torch(ask)
    yield from _faster(ask)
    yield from _weights(environment)
    yield _redis(config)
    yield _shared_memory(Path("/dev/shm"))
    yield _display(environment)
    yield _disk(folder)
    if config is not None:
        yield from _models_of(config, environment)
        yield from _cameras_of(config)


def _python() -> Finding:
    here = ".".join(map(str, sys.version_info[:3]))
    if sys.version_info[:2] >= _OLDEST_PYTHON:
        return Finding("Python", "ok", here, essential=True)
    return Finding("Python", "problem", here, "install Python 3.11 or newer, then: make setup", essential=True)


def _packages() -> Iterator[Finding]:
    found, missing = _versions((*_NEEDED, *_NEEDED_TOO, *_SERVES))
    text = ", ".join(found) or "none"
    if missing:
        yield Finding("packages", "missing", ", ".join(missing), "make setup", essential=True)
    yield Finding("packages", "ok", text)


def _versions(names: Iterable[str]) -> tuple[list[str], list[str]]:
    found, missing = [], []
    for name in names:
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            missing.append(name)
    return found, missing


def _opencv(ask: Ask) -> Finding:
    answer = ask(_TRY_OPENCV)
    if answer.worked:
        return Finding("OpenCV", "ok", f"{answer.text}, with the HOG people detector", essential=True)
    todo = "reinstall with `make setup`"
    if "libGL" in answer.text or "libgthread" in answer.text or "cannot open shared object" in answer.text:
        todo = "install the system's libGL and glib: apt-get install libgl1 libglib2.0-0"
    elif "HOGDescriptor" in answer.text:
        todo = "OpenCV 5 has no HOG people detector: pip install 'opencv-python<5'"
    return Finding("OpenCV", "problem", answer.text, todo, essential=True)


def _torch(ask: Ask) -> Finding:
    answer = ask(_TRY_TORCH)
    if answer.worked:
        return Finding("PyTorch", "ok", answer.text)
    return Finding("PyTorch", "problem", answer.text, "reinstall with `make setup`; YOLO and OSNet's .pth need it")


def _faster(ask: Ask) -> Iterator[Finding]:
    for name, code in (("OpenVINO", _TRY_OPENVINO), ("ONNX Runtime", _TRY_ONNXRUNTIME)):
        answer = ask(code)
        if answer.worked:
            yield Finding(name, "ok", answer.text)
        else:
            yield Finding(name, "missing", answer.text, "pip install '.[cpu]': several times as fast on a CPU")


def _weights(environment: Mapping[str, str]) -> Iterator[Finding]:
    from pipeline.commands.weights import at_hand

    for name, where in at_hand(environment):
        if where is None:
            yield Finding(f"weights {name}", "missing", "not at hand", f"run_pipeline.py weights {name}")
        else:
            yield Finding(f"weights {name}", "problem" if "NOT the known file" in where else "ok", where)


def _redis(config: Config | None) -> Finding:
    try:
        if config is not None and config.bus.url:
            return _configured_redis(config.bus.url, config.site)
        from pipeline.bus.server import find_server

        server = find_server()
    except (PipelineError, ImportError) as error:
        return Finding("Redis", "missing", str(error), "make setup", essential=True)
    return Finding("Redis", "ok", f"{server.path.name} {server.version} ({server.origin}), started privately by a run")


def _configured_redis(url: str, site: str) -> Finding:
    from pipeline.bus.redis_streams import RedisBus

    try:
        bus = RedisBus(url, site)
        bus.ping()
    except PipelineError as error:
        todo = "start it, or take bus.url out of the configuration"
        return Finding("Redis", "problem", str(error), todo, essential=True)
    return Finding("Redis", "ok", f"{bus.address} answers", essential=True)


def _shared_memory(path: Path) -> Finding:
    try:
        total, _, free = shutil.disk_usage(path)
    except OSError:
        return Finding("shared memory", "missing", f"{path} is not there", "frames cross processes there", True)
    text = f"{free / 1e6:.0f} MB free of {total / 1e6:.0f} MB in {path}"
    if free < _SHM_MB * 1e6:
        todo = "in a container: docker run --shm-size=1g; docs/operations.md says what a camera needs"
        return Finding("shared memory", "problem", text, todo)
    return Finding("shared memory", "ok", text)


def _display(environment: Mapping[str, str]) -> Finding:
    shown = environment.get("DISPLAY") or environment.get("WAYLAND_DISPLAY")
    if shown or sys.platform in ("darwin", "win32"):
        return Finding("display", "ok", shown or sys.platform)
    return Finding("display", "missing", "no DISPLAY", "`--display window` needs one; `--display web` does not")


def _disk(folder: Path) -> Finding:
    free_gb = shutil.disk_usage(folder).free / 1e9
    text = f"{free_gb:.1f} GB free in {folder.resolve()}"
    return Finding("disk", "ok" if free_gb >= _DISK_GB else "problem", text, "free some space")


def _models_of(config: Config, environment: Mapping[str, str]) -> Iterator[Finding]:
    """What the configuration's detector and backbone would be here."""
    from pipeline.build import settle

    try:
        settled = settle(config, environment)
    except (PipelineError, ImportError) as error:
        yield Finding("models of the configuration", "missing", str(error), essential=True)
        return
    text = f"detector {settled.config.detector.kind}, backbone {settled.config.reid.backbone}"
    yield Finding("models of the configuration", "ok", text)
    for warning in settled.warnings:
        yield Finding("models of the configuration", "missing", warning)


def _cameras_of(config: Config) -> Iterator[Finding]:
    from pipeline.capture.probe import probe

    if not config.cameras:
        yield Finding("cameras", "missing", "the configuration has none", "run_pipeline.py init --source …", True)
    for camera in config.cameras:
        try:
            found = probe(camera.source, config.capture)
        except PipelineError as error:
            yield Finding(f"camera {camera.id}", "problem", str(error), essential=True)
        else:
            text = f"{found.kind}, {found.width_px}x{found.height_px} px"
            yield Finding(f"camera {camera.id}", "ok", text, essential=True)

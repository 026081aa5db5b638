"""An environment of its own for each library, and commands inside it."""

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import platformdirs

FOLDER = Path(__file__).parent
INSTALL_LIMIT_S = 1800  # two of the libraries bring PyTorch, some gigabytes

# For the peers' own processes: one thread, no usage statistics, no update check, no package installed on the way
_QUIET = {
    "OMP_NUM_THREADS": "1",
    "VIRTUAL_ENV": "",
    "PYTHONPATH": "",
    "PYTHONWARNINGS": "ignore",
    "YOLO_OFFLINE": "true",
    "YOLO_AUTOINSTALL": "false",
    "YOLO_VERBOSE": "false",
}


def default_folder() -> Path:
    """Where the environments are kept between runs."""
    return Path(platformdirs.user_cache_dir("multicam-person-reid")) / "benchmark-peers"


def library_python(library: str, environments: Path) -> Path:
    """The interpreter of an environment with requirements-<library>.txt, made when it is not there yet.

    Raises:
        RuntimeError: it could not be made; says why in one line.
    """
    requirements = FOLDER / f"requirements-{library}.txt"
    text = requirements.read_text(encoding="utf-8")
    folder = environments / f"{requirements.stem}-{hashlib.sha256(text.encode()).hexdigest()[:12]}"
    python, done = folder / "bin" / "python", folder / "installed"
    if done.exists():
        return python
    shutil.rmtree(folder, ignore_errors=True)
    uv = shutil.which("uv")
    if uv is None:
        run([sys.executable, "-m", "venv", str(folder)], INSTALL_LIMIT_S)
        run([str(python), "-m", "pip", "install", "-r", str(requirements)], INSTALL_LIMIT_S)
    else:
        version = f"{sys.version_info.major}.{sys.version_info.minor}"
        run([uv, "venv", "--python", version, str(folder)], INSTALL_LIMIT_S)
        _install([uv, "pip", "install", "--python", str(python), "-r", str(requirements)])
    done.touch()
    return python


def _install(command: Sequence[str]) -> None:
    """Ask for PyTorch without CUDA, which is a tenth of the size; where that index is out of reach, take what is."""
    try:
        run([*command, "--torch-backend", "cpu"], INSTALL_LIMIT_S)
    except RuntimeError:
        run(command, INSTALL_LIMIT_S)


def run(command: Sequence[str], limit_s: float) -> str:
    """The standard output of a command on one thread.

    Raises:
        RuntimeError: it failed or took too long; the message is the last line it wrote.
    """
    with tempfile.TemporaryDirectory() as settings:
        environment = {**os.environ, **_QUIET, "YOLO_CONFIG_DIR": settings}
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=limit_s, env=environment, check=True)
        except subprocess.TimeoutExpired:
            raise RuntimeError(f"{Path(command[0]).name} took more than {limit_s:g} s") from None
        except (OSError, subprocess.CalledProcessError) as error:
            lines = (getattr(error, "stderr", "") or str(error)).strip().splitlines()
            raise RuntimeError(lines[-1] if lines else str(error)) from None
    return done.stdout

"""Finds, checks and fetches weights by name. Importing this module does not import PyTorch."""

import hashlib
import logging
import os
import tempfile
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import platformdirs

from pipeline.errors import OutputError, WeightsError
from reid.catalogue import CATALOGUE, ENDINGS, NamedWeights, WeightsFile, find_file, find_named, stem
from reid.exported import read_source

CHUNK_BYTES = 1 << 20
TIMEOUT_S = 30.0  # without a byte, while downloading

Opener = Callable[[str], BinaryIO]
Progress = Callable[[int, int | None], None]  # bytes so far, bytes in all where known

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class WeightsStatus:
    """One line of `run_pipeline.py weights`.

    Attributes:
        path: where it is; None when it is not at hand.
        verified: its SHA-256 agrees with the catalogue's; None when it is not at hand or nothing is known.
        fetchable: `weights NAME` can get it.
    """

    weights: NamedWeights
    path: Path | None
    verified: bool | None
    fetchable: bool


def default_cache_dir() -> Path:
    """The user's cache folder for downloaded weights."""
    return Path(platformdirs.user_cache_dir("multicam-person-reid")) / "weights"


def find_weights(
    name: str,
    environment: Mapping[str, str] | None = None,
    cache_dir: Path | None = None,
    *,
    download: bool = False,
    sha256: str | None = None,
) -> Path:
    """The file or folder of the weights called `name`.

    Looked up as given (a path), then in the folders of `MODELS_DIR` (separated as in PATH), then in the cache, each
    with or without its ending; then, if `download` is set, fetched from its public home.

    Args:
        name: a path, a file name, a file name without its ending, or a name of the catalogue.
        environment: where MODELS_DIR comes from; the process's own when None.
        cache_dir: `default_cache_dir()` when None.
        sha256: what the file must have; a folder cannot be checked.

    Raises:
        WeightsError: not found, with what to put where; or not the expected content.
    """
    environment = os.environ if environment is None else environment
    cache_dir = default_cache_dir() if cache_dir is None else cache_dir
    path = next(_candidates(name, _folders(environment, cache_dir)), None)
    if path is None:
        if not download:
            raise WeightsError(_how_to_get(name, cache_dir))
        path = fetch_weights(name, cache_dir)
    _check_wanted(path, sha256)
    return path


def fetch_weights(
    name: str, cache_dir: Path | None = None, opener: Opener | None = None, progress: Progress | None = None
) -> Path:
    """Download the weights of a catalogue name into the cache, unless they are there; returns the file.

    Args:
        opener: opens a URL for reading (tests hand in their own).
        progress: told the bytes so far and in all.

    Raises:
        WeightsError: no public home, no connection, or not the expected content. OutputError: the disk.
    """
    cache_dir = default_cache_dir() if cache_dir is None else cache_dir
    entry = find_named(name)
    file = _fetchable(entry)
    if entry is None or file is None or file.url is None:
        raise WeightsError(_how_to_get(name, cache_dir))
    target = cache_dir / file.name
    if target.exists():
        return target
    log.info("fetching %s from %s (licence: %s)", file.name, file.url, entry.licence)
    try:
        cache_dir.mkdir(parents=True, exist_ok=True)
        with (opener or _open_url)(file.url) as source:
            _download(source, file, target, progress)
    except (urllib.error.URLError, TimeoutError, ConnectionError) as error:
        reason = getattr(error, "reason", None) or error
        raise WeightsError(
            f"{file.name}: cannot fetch {file.url} ({reason}); {_put_it(file.name, cache_dir)}"
        ) from None
    except OSError as error:
        raise OutputError(
            f"{target}: cannot be written ({error.strerror or error}); free space or set MODELS_DIR"
        ) from None
    return target


def list_weights(environment: Mapping[str, str] | None = None, cache_dir: Path | None = None) -> list[WeightsStatus]:
    """Every entry of the catalogue and whether it is at hand."""
    environment = os.environ if environment is None else environment
    folders = _folders(environment, default_cache_dir() if cache_dir is None else cache_dir)
    statuses = []
    for entry in CATALOGUE:
        path = next(_candidates(entry.name, folders), None)
        statuses.append(WeightsStatus(entry, path, _verified(path), _fetchable(entry) is not None))
    return statuses


def file_sha256(path: Path) -> str:
    """Hex SHA-256 of a file; of a folder, over the names and contents of its files in order.

    A network whose weights lie in a second file (.xml with .bin, .onnx with .onnx.data) is hashed with that file.
    """
    digest = hashlib.sha256()
    files = [path, *_companions(path)] if path.is_file() else sorted(p for p in path.rglob("*") if p.is_file())
    for part in files:
        if path.is_dir():
            digest.update(part.relative_to(path).as_posix().encode())
        with part.open("rb") as file:
            while chunk := file.read(CHUNK_BYTES):
                digest.update(chunk)
    return digest.hexdigest()


def _companions(path: Path) -> list[Path]:
    second = {".xml": path.with_suffix(".bin"), ".onnx": path.with_name(f"{path.name}.data")}.get(path.suffix)
    return [second] if second is not None and second.is_file() else []


def model_id(path: Path) -> str:
    """`name@hash` of a weights file: its catalogue name, or its own with `custom-` before it, and 12 hex digits.

    A file with a catalogue's name and other content is `custom`: the threshold stored for that name is not for it. One
    that we exported bears the name of what it was exported from, so that its threshold holds, and its own hash, so that
    features from before and after an export are never compared.

    Raises:
        WeightsError: the file's note of where it comes from is damaged.
    """
    digest = file_sha256(path)
    source = read_source(path) if path.exists() else None
    if source is not None:
        return f"{source.partition('@')[0]}@{digest[:12]}"
    known = find_file(path.name)
    entry = find_named(path.name)
    if entry is not None and known is not None and known.sha256 in (None, digest):
        return f"{entry.name}@{digest[:12]}"
    return f"custom-{stem(path.name)}@{digest[:12]}"


def _folders(environment: Mapping[str, str], cache_dir: Path) -> list[Path]:
    named = [Path(part) for part in environment.get("MODELS_DIR", "").split(os.pathsep) if part]
    return [*named, cache_dir]


def _candidates(name: str, folders: list[Path]) -> Iterator[Path]:
    """What exists under that name, in the order of the rule in `find_weights`."""
    given = Path(name).expanduser()
    entry = find_named(given.name)
    aliases = [file.name for file in entry.files] if entry is not None and given.name == entry.name else []
    names = [f"{given.name}{ending}" for ending in ENDINGS]
    for path in (given.with_name(n) for n in names):
        if path.exists():
            yield path
    if given.name != name:  # a path: it is meant as it stands
        return
    for folder in folders:
        for file_name in (*aliases, *names):
            if (folder / file_name).exists():
                yield folder / file_name


def _fetchable(entry: NamedWeights | None) -> WeightsFile | None:
    return next((file for file in entry.files if file.url), None) if entry is not None else None


def _how_to_get(name: str, cache_dir: Path) -> str:
    entry = find_named(Path(name).name)
    if entry is None:
        known = ", ".join(e.name for e in CATALOGUE)
        return (
            f"weights {name!r} not found: give a path, put the file into a folder of MODELS_DIR, or use one of {known}"
        )
    file = _fetchable(entry)
    put = _put_it(file.name if file else entry.files[-1].name, cache_dir)
    if file is not None:
        return f"weights {name!r} not found: run `run_pipeline.py weights {entry.name}`, or {put} (from {file.url})"
    return f"weights {name!r} not found: {entry.makes or 'see ' + entry.home}; then {put}"


def _put_it(file_name: str, cache_dir: Path) -> str:
    return f"put {file_name} into a folder of MODELS_DIR or into {cache_dir}"


def _check_wanted(path: Path, sha256: str | None) -> None:
    if sha256 is None:
        return
    found = file_sha256(path)
    if found != sha256.lower():
        raise WeightsError(f"{path}: SHA-256 is {found}, the configuration wants {sha256}; fetch it again or change it")


def _verified(path: Path | None) -> bool | None:
    known = find_file(path.name) if path is not None else None
    if path is None or known is None or known.sha256 is None:
        return None
    return file_sha256(path) == known.sha256


def _open_url(url: str) -> BinaryIO:
    request = urllib.request.Request(url, headers={"User-Agent": "multicam-person-reid"})
    response: BinaryIO = urllib.request.urlopen(request, timeout=TIMEOUT_S)
    return response


def _download(source: BinaryIO, file: WeightsFile, target: Path, progress: Progress | None) -> None:
    """Write to a file beside the target, check it, and only then give it its name."""
    length = getattr(source, "length", None)
    digest = hashlib.sha256()
    count = 0
    handle, part = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
    try:
        with os.fdopen(handle, "wb") as out:
            while chunk := source.read(CHUNK_BYTES):
                out.write(chunk)
                digest.update(chunk)
                count += len(chunk)
                if progress is not None:
                    progress(count, length)
        if count == 0 or (length and count < length):
            raise WeightsError(f"{file.name}: the download of {file.url} ended early ({count} bytes); try again")
        if file.sha256 is not None and digest.hexdigest() != file.sha256:
            raise WeightsError(
                f"{file.name}: {file.url} gave SHA-256 {digest.hexdigest()}, expected {file.sha256}; not kept"
            )
        Path(part).replace(target)
    finally:
        Path(part).unlink(missing_ok=True)

"""`run_pipeline.py init`: probes sources and writes a commented configuration for them."""

import json
import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pipeline.capture.probe import SourceInfo, probe, source_kind
from pipeline.capture.redaction import redact_url
from pipeline.config import CaptureConfig, parse_config
from pipeline.errors import ConfigError, OutputError, SourceError

Echo = Callable[[str], None]
Probe = Callable[[str, CaptureConfig], SourceInfo]

_LONGEST_ID = 60  # characters; the config allows 64, and "-999" must fit behind it
_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")
# What grants access in the path or query of a camera's URL; user names stay
_SECRET_VALUE = re.compile(
    r"((?:pass|pwd|token|secret|auth|key|sig|sess|cred)[A-Za-z0-9.\-]*=)([^&;/\s]+?)(?=_[a-z]+=|[&;/\s]|$)",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class _Camera:
    """One camera of the new site: what to write, and what was found.

    Attributes:
        source: as it goes into the file, without secrets.
        shown: as it may be printed.
        secrets: environment variables that the file asks for and the values that were given.
    """

    camera_id: str
    source: str
    shown: str
    secrets: dict[str, str]
    found: SourceInfo | None
    problem: str | None


def init_site(
    sources: Sequence[str],
    out_file: Path,
    echo: Echo,
    overwrite: bool = False,
    *,
    probe_source: Probe = probe,
    environment: Mapping[str, str] | None = None,
) -> int:
    """Probe `sources` and write a configuration with one camera for each.

    Passwords of URLs do not go into the file: `${CAMERA_1_PASSWORD}` stands in their place, and the variable has to be
    set before a run. Sources are never printed with their credentials.

    Returns:
        0; 1 when a source could not be opened (it is in the file, with a comment).

    Raises:
        ConfigError: no source, or one that is no source at all. OutputError: the file exists or cannot be written.
    """
    if not sources:
        raise ConfigError("init: give at least one --source (an rtsp:// URL, a file, a folder or a webcam's number)")
    if out_file.exists() and not overwrite:
        raise OutputError(f"{out_file} exists; choose another name or add --overwrite")
    environment = os.environ if environment is None else environment
    taken: set[str] = set()
    cameras = []
    for number, source in enumerate(sources, start=1):
        camera = _look_at(source, number, out_file.parent, taken, probe_source, environment)
        echo(_line(camera))
        cameras.append(camera)
    text = _site_text(cameras, _site_name(out_file))
    given = {name: value for camera in cameras for name, value in camera.secrets.items()}
    parse_config(text, str(out_file), out_file.parent, {**environment, **given})  # it must be readable
    _write(out_file, text)
    _tell_secrets(cameras, echo)
    echo(f"wrote {out_file}: look it over, then run_pipeline.py run --config {out_file}")
    return 1 if any(camera.problem for camera in cameras) else 0


def _look_at(
    source: str, number: int, folder: Path, taken: set[str], probe_source: Probe, environment: Mapping[str, str]
) -> _Camera:
    try:
        kind = source_kind(source)
    except SourceError as error:
        raise ConfigError(f"init: {error}") from None
    camera_id = _unique(_id_of(source, kind, number), taken)
    secrets: dict[str, str] = {}
    written = source
    if kind == "rtsp":
        written, secrets = _without_secrets(source, number)
    elif kind in ("file", "folder"):
        if not Path(source).exists():
            raise ConfigError(f"init: there is no file or folder {source}")
        written = _relative(source, folder)
    shown = redact_url(source) if kind == "rtsp" else source
    try:
        opened = _VARIABLE.sub(lambda m: environment.get(m[1], m[0]), source) if kind == "rtsp" else source
        return _Camera(camera_id, written, shown, secrets, probe_source(opened, CaptureConfig()), None)
    except SourceError as error:
        return _Camera(camera_id, written, shown, secrets, None, str(error))


def _id_of(source: str, kind: str, number: int) -> str:
    if kind == "webcam":
        return f"webcam-{source}"
    name = Path(source).name if kind == "folder" else Path(source).stem
    if kind == "rtsp":
        host = source.partition("://")[2].rpartition("@")[2].split("/")[0].split(":")[0]
        name = f"camera-{host}" if host[:1].isdigit() else host.split(".")[0]
    cleaned = re.sub(r"[^A-Za-z0-9_-]+", "-", name).strip("-_")[:_LONGEST_ID]
    return cleaned or f"camera-{number}"


def _unique(camera_id: str, taken: set[str]) -> str:
    unique, count = camera_id, 1
    while unique in taken:
        count += 1
        unique = f"{camera_id}-{count}"
    taken.add(unique)
    return unique


def _without_secrets(url: str, number: int) -> tuple[str, dict[str, str]]:
    """The URL with variables in the place of its secrets, and the values of the variables."""
    secrets: dict[str, str] = {}
    scheme, _, rest = url.partition("://")
    login, at, address = rest.rpartition("@")  # a password may hold an @
    user, colon, password = login.partition(":")
    if password and not _VARIABLE.fullmatch(password):
        secrets[f"CAMERA_{number}_PASSWORD"] = password
        login = f"{user}{colon}${{CAMERA_{number}_PASSWORD}}"

    def one(match: re.Match[str]) -> str:
        if _VARIABLE.fullmatch(match[2]):
            return match[0]
        name = f"CAMERA_{number}_SECRET_{len(secrets) + 1}"
        secrets[name] = match[2]
        return f"{match[1]}${{{name}}}"

    return f"{scheme}://{login}{at}{_SECRET_VALUE.sub(one, address)}", secrets


def _relative(source: str, folder: Path) -> str:
    """A path as the file must name it: relative paths of a configuration are relative to its folder."""
    return source if Path(source).is_absolute() else os.path.relpath(source, folder)


def _line(camera: _Camera) -> str:
    if camera.found is None:
        return f"{camera.camera_id}: {camera.problem}"
    return f"{camera.camera_id}: {camera.shown}: {_described(camera.found)}"


def _described(found: SourceInfo) -> str:
    parts = [found.kind, f"{found.width_px}x{found.height_px} px"]
    if found.fps:
        parts.append(f"{found.fps:.4g} pictures a second")
    if found.duration_s:
        parts.append(f"{found.duration_s:.1f} s")
    return ", ".join(parts)


def _site_name(out_file: Path) -> str:
    return re.sub(r"[^A-Za-z0-9_-]+", "-", out_file.stem).strip("-_")[:_LONGEST_ID] or "site"


def _site_text(cameras: Sequence[_Camera], site: str) -> str:
    parts = [_HEAD.format(site=site)]
    for camera in cameras:
        # one line: nothing that a source says may begin a line of its own
        comment = _described(camera.found) if camera.found else f"could not be opened by init: {camera.problem}"
        comment = " ".join(comment.split())
        parts.append(
            f"  # {comment}\n"
            f"  - id: {json.dumps(camera.camera_id)}\n"
            f"    source: {json.dumps(camera.source, ensure_ascii=False)}\n"
        )
        if camera.secrets:
            parts.append(f"    # set {', '.join(camera.secrets)} in the environment before a run\n")
    first, last = cameras[0].camera_id, cameras[-1].camera_id
    return "".join(parts) + _TAIL.format(first=first, last=last)


def _write(out_file: Path, text: str) -> None:
    temporary = out_file.with_name(f".{out_file.name}.{os.getpid()}.tmp")
    try:
        out_file.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_text(text, encoding="utf-8")
        temporary.replace(out_file)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise OutputError(f"cannot write {out_file}: {error.strerror}; check the rights of its folder") from None


def _tell_secrets(cameras: Sequence[_Camera], echo: Echo) -> None:
    for camera in cameras:
        for name in camera.secrets:
            echo(f"{camera.camera_id}: the password is not in the file; before a run: export {name}='...'")


_HEAD = """\
# A site: its cameras and how they are linked. Every setting with its default: configs/default.yaml and
# docs/configuration.md. Seconds (_s) and pixels (_px) are in the keys' names; ${{NAME}} comes from the environment.
site: {site}

cameras:
"""

_TAIL = """\
    # more for each camera:
    # detect_every_s: 0.1        # look for people this often, 0: in every frame
    # clock_offset_s: 0.0        # added to the camera's time stamps
    # start_time: 2026-03-01T09:00:00Z   # files: when the first frame was taken, so that several files share one clock
    # exits: [[[0, 0], [60, 0], [60, 360], [0, 360]]]   # polygons (px) where people leave in mid-picture: doors

# What links the cameras; without it every way between them is taken to be possible at any time.
topology: []
# topology:
#   - {{from: {first}, to: {last}, transit_s: [2, 30]}}   # least and most seconds on the way
#   - {{pair: [{first}, {last}], overlap: true}}          # both see the same ground

detector: {{kind: auto}}       # yolo where its weights are at hand, else OpenCV's people detector
reid: {{backbone: auto}}       # OSNet where its weights are at hand, else colours and gradients
matcher: {{threshold: auto}}   # or a distance from 0 to 2; smaller: fewer false links, more missed ones
"""

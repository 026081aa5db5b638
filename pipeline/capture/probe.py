"""What a source is and whether it can be opened now, for `init`, `doctor`, progress bars and the check at start."""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

import cv2

from pipeline.capture.decoding import Video, open_file, open_stream
from pipeline.capture.folders import list_pictures, read_picture
from pipeline.capture.redaction import redact_url
from pipeline.capture.webcam import open_webcam
from pipeline.config import CaptureConfig
from pipeline.errors import SourceLost, SourceUnavailable

SourceKind: TypeAlias = Literal["rtsp", "file", "folder", "webcam"]


@dataclass(frozen=True, slots=True)
class SourceInfo:
    """What a source says about itself.

    Attributes:
        fps: pictures per second as stated; None when unknown.
        frame_count, duration_s: None for live sources, and for files whose container does not say.
    """

    kind: SourceKind
    width_px: int
    height_px: int
    fps: float | None
    frame_count: int | None = None
    duration_s: float | None = None


def source_kind(source: str) -> SourceKind:
    """Which kind of source a text of the config names; a path that does not exist counts as a file.

    Raises:
        SourceUnavailable: empty, or a URL other than rtsp:// and rtsps://.
    """
    if not source:
        raise SourceUnavailable("the source is empty; give an rtsp:// URL, a file, a folder or a webcam's number")
    if source.isascii() and source.isdigit():
        return "webcam"
    if source.lower().startswith(("rtsp://", "rtsps://")):
        return "rtsp"
    if "://" in source:
        shown = redact_url(source)
        raise SourceUnavailable(f"{shown}: only rtsp:// and rtsps:// URLs, files, folders and webcam numbers are read")
    return "folder" if Path(source).is_dir() else "file"


def probe(source: str, config: CaptureConfig) -> SourceInfo:
    """Open a source once, look at it, and close it; takes at most about twice `open_timeout_s` for a camera.

    Raises:
        SourceUnavailable: with one line that says why. SourceRefused: wrong user name or password.
    """
    kind = source_kind(source)
    if kind == "webcam":
        return _probe_webcam(int(source))
    if kind == "folder":
        return _probe_folder(Path(source))
    if kind == "rtsp":
        return _probe_video(open_stream(source, config), redact_url(source), "rtsp", config.open_timeout_s)
    return _probe_video(open_file(Path(source)), source, "file", config.open_timeout_s)


def _probe_video(video: Video, name: str, kind: SourceKind, timeout_s: float) -> SourceInfo:
    try:
        if not _shows_a_picture(video, timeout_s):
            raise SourceUnavailable(f"{name}: opens, but not one picture can be decoded")
        is_file = kind == "file"
        duration_s = video.duration_s if is_file else None
        count = video.frame_count if is_file else None
        if is_file and count is None and duration_s and video.fps:
            count = round(duration_s * video.fps)
        return SourceInfo(kind, video.width_px, video.height_px, video.fps, count, duration_s)
    except SourceLost as error:
        raise SourceUnavailable(error.args[0]) from None
    finally:
        video.close()


def _shows_a_picture(video: Video, timeout_s: float) -> bool:
    until_s = time.monotonic() + timeout_s
    for packet in video.packets():
        if video.decode(packet).pictures:
            return True
        if time.monotonic() > until_s:
            break
    return False


def _probe_folder(path: Path) -> SourceInfo:
    pictures = list_pictures(path)
    image = next((image for image in map(read_picture, pictures.paths) if image is not None), None)
    if image is None:
        raise SourceUnavailable(f"{path}: not one of {len(pictures.paths)} pictures can be read")
    count = len(pictures.paths)
    return SourceInfo("folder", image.shape[1], image.shape[0], pictures.fps, count, count / pictures.fps)


def _probe_webcam(number: int) -> SourceInfo:
    capture = open_webcam(number)
    try:
        read, image = capture.read()
        if not read:
            raise SourceUnavailable(f"webcam {number}: opens, but sends no picture")
        fps = float(capture.get(cv2.CAP_PROP_FPS))
        return SourceInfo("webcam", image.shape[1], image.shape[0], fps if fps > 0 else None)
    finally:
        capture.release()

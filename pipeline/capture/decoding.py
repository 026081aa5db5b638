"""The only module that touches PyAV: opens files and streams, decodes, and turns its errors into the project's own.

PyAV's error texts carry the URL with its password, so none of them is passed on: the reason is said in our own words.
"""

import time
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import av
import numpy as np
import numpy.typing as npt

from pipeline.capture.redaction import redact, redact_url
from pipeline.config import CaptureConfig
from pipeline.errors import SourceError, SourceLost, SourceRefused, SourceUnavailable
from pipeline.types import ImageArray

T = TypeVar("T")

# Without a white list an HTTP redirect or a playlist reaches internal addresses.
STREAM_PROTOCOLS = "rtsp,rtp,udp,tcp,tls"
FILE_PROTOCOLS = "file"
PLAYLIST_FORMATS = frozenset({"hls", "concat", "dash", "sdp", "rtsp"})  # files that name other files or addresses
ANALYZE_US = 500_000  # opens in 0.6 s instead of 1.2 to 5 s (measured)
# A read may block a little longer than a stall takes to be noticed, so that the watchdog always speaks first.
READ_TIMEOUT_FACTOR = 1.2
FINGERPRINT_PX = 96  # samples along each side; every one of them must agree for two pictures to count as the same


class NobodyListens(SourceUnavailable):
    """There is no RTSP service at the camera's address now: it is off, or starting."""


@dataclass(frozen=True, slots=True)
class Decoded:
    """What one packet gave: its pictures (often one), and whether the decoder refused it."""

    pictures: tuple["DecodedPicture", ...]
    failed: bool
    flagged: bool  # the container or network layer marked the packet as damaged


class DecodedPicture:
    """A decoded picture in the decoder's own pixel format; converted to BGR only when somebody wants it.

    The converter is shared by the pictures of one stream (a fresh one costs four times as much), so they are converted
    by one thread, which need not be the one that decodes.
    """

    def __init__(self, frame: Any, converter: Any) -> None:
        self._frame = frame
        self._converter = converter

    @property
    def width_px(self) -> int:
        return int(self._frame.width)

    @property
    def height_px(self) -> int:
        return int(self._frame.height)

    @property
    def is_key(self) -> bool:
        return bool(self._frame.key_frame)

    @property
    def is_corrupt(self) -> bool:
        """The decoder concealed errors in this picture."""
        return bool(self._frame.is_corrupt)

    @property
    def stamp_s(self) -> float | None:
        """Presentation time stamp, seconds, on the stream's own scale."""
        frame = self._frame
        return None if frame.pts is None or frame.time_base is None else float(frame.pts * frame.time_base)

    def fingerprint(self) -> int:
        """A hash of a coarse grid of exact grey values: equal pictures are equal, one with sensor noise is not."""
        return grid_hash(_first_plane(self._frame))

    def to_bgr(self) -> ImageArray:
        """(H, W, 3) uint8 BGR, a new array."""
        image: ImageArray = self._converter.reformat(self._frame, format="bgr24").to_ndarray()
        return image


def grid_hash(grey: npt.NDArray[np.uint8]) -> int:
    """Hash of at most 96 × 96 pixels of an (H, W) picture, exact values, evenly spread."""
    rows = max(1, grey.shape[0] // FINGERPRINT_PX)
    columns = max(1, grey.shape[1] // FINGERPRINT_PX)
    return zlib.crc32(np.ascontiguousarray(grey[::rows, ::columns]).tobytes())


def _first_plane(frame: Any) -> npt.NDArray[np.uint8]:
    """(H, bytes per row) view of the luma plane (of packed formats: of all channels)."""
    plane = frame.planes[0]
    rows = np.frombuffer(plane, np.uint8).reshape(-1, plane.line_size)
    return rows[: plane.height, : plane.width]


class Video:
    """An opened video stream. Used and closed by one thread: closing it from another crashes the library."""

    def __init__(self, container: Any, stream: Any, name: str) -> None:
        self._container = container
        self._stream = stream
        self._name = name
        self._converter = av.video.reformatter.VideoReformatter()

    @property
    def width_px(self) -> int:
        return int(self._stream.codec_context.width)

    @property
    def height_px(self) -> int:
        return int(self._stream.codec_context.height)

    @property
    def fps(self) -> float | None:
        rate = self._stream.average_rate or self._stream.guessed_rate or self._stream.base_rate
        return float(rate) if rate else None

    @property
    def frame_count(self) -> int | None:
        """As the container states it; None when it does not."""
        return int(self._stream.frames) or None

    @property
    def is_alone(self) -> bool:
        """No sound or other stream beside it, so that the file's duration is the video's."""
        return len(self._container.streams) == 1

    @property
    def duration_s(self) -> float | None:
        if self._stream.duration is not None and self._stream.time_base is not None:
            return float(self._stream.duration * self._stream.time_base)
        return None if self._container.duration is None else self._container.duration / av.time_base

    def packets(self) -> Iterator[Any]:
        """Packets until the end of the stream; one that holds nothing asks the decoder for what it kept back.

        Raises:
            SourceLost: reading failed.
        """
        packets = self._container.demux(self._stream)
        while (packet := _translated(lambda: next(packets, None), self._name, SourceLost)) is not None:
            yield packet

    def decode(self, packet: Any) -> Decoded:
        """The pictures of one packet; a packet that the decoder refuses gives none."""
        try:
            pictures = tuple(DecodedPicture(frame, self._converter) for frame in packet.decode())
        except av.error.FFmpegError:
            return Decoded((), failed=True, flagged=bool(packet.is_corrupt))
        return Decoded(pictures, failed=False, flagged=bool(packet.is_corrupt))

    def close(self) -> None:
        self._container.close()


def open_file(path: Path) -> Video:
    """Open a video file. Playlists are refused: they would reach other files and addresses.

    Raises:
        SourceUnavailable: missing, empty, not a video, or without pictures.
    """
    name = str(path)
    if not path.is_file():
        reason = "is a folder, not a video file" if path.is_dir() else "does not exist"
        raise SourceUnavailable(f"{name}: the file {reason}; check the camera's source")
    if path.stat().st_size == 0:
        raise SourceUnavailable(f"{name}: the file is empty")
    container = _translated(
        lambda: av.open(f"file:{path.absolute()}", options={"protocol_whitelist": FILE_PROTOCOLS}),
        name,
        SourceUnavailable,
    )
    if PLAYLIST_FORMATS & set(container.format.name.split(",")):
        container.close()
        raise SourceUnavailable(f"{name}: is a playlist; name the video files themselves")
    return _video_of(container, name)


def open_stream(url: str, config: CaptureConfig) -> Video:
    """Connect to an RTSP camera; returns or raises within about `open_timeout_s`.

    Raises:
        SourceUnavailable: not reachable, not answering, or without video. SourceRefused: 401 or 403.
    """
    options = {
        "rtsp_transport": config.rtsp_transport,
        "timeout": str(int(config.open_timeout_s * 1e6)),  # microseconds; `stimeout` is ignored by current builds
        "analyzeduration": str(ANALYZE_US),
        "protocol_whitelist": STREAM_PROTOCOLS,
    }
    read_timeout_s = READ_TIMEOUT_FACTOR * config.stalled_s
    name = redact_url(url)
    started_s = time.monotonic()
    try:
        container = _translated(
            lambda: av.open(url, timeout=(config.open_timeout_s, read_timeout_s), options=options),
            name,
            SourceUnavailable,
        )
    except SourceUnavailable:  # the library calls a camera that does not answer "invalid data"
        if time.monotonic() - started_s < config.open_timeout_s:
            raise
        raise SourceUnavailable(f"{name}: no answer within {config.open_timeout_s:g} s; is it on?") from None
    video = _video_of(container, name)
    if video.width_px == 0:  # the description came, but no picture in time
        video.close()
        raise SourceUnavailable(f"{name}: the camera answers but sends no video within {config.open_timeout_s:g} s")
    return video


def _video_of(container: Any, name: str) -> Video:
    """The first video stream of an opened container."""
    if not container.streams.video:
        container.close()
        raise SourceUnavailable(f"{name}: holds no video stream")
    stream = container.streams.video[0]
    # One thread: with more, FFmpeg 8 does not mark the pictures in which it concealed errors (measured), and each frame
    # thread holds back one picture.
    stream.codec_context.thread_count = 1
    return Video(container, stream, name)


def _translated(call: Callable[[], T], name: str, kind: type[SourceError]) -> T:
    """The result of a PyAV call, its errors as `kind` (SourceRefused for 401 and 403) with one line of our own."""
    try:
        return call()
    except (av.error.HTTPUnauthorizedError, av.error.HTTPForbiddenError):
        raise SourceRefused(f"{name}: the camera refuses the user name or password (401/403); correct them") from None
    except av.error.ConnectionRefusedError:
        reason = "connection refused; is the camera's RTSP service on, and the port right?"
        raise NobodyListens(f"{name}: {reason}") from None
    except av.error.FFmpegError as error:
        raise kind(f"{name}: {_reason(error)}") from None


# The library's error class -> what it means for a person. The first that fits counts.
_REASONS: tuple[tuple[type[Exception], str], ...] = (
    (av.error.HTTPNotFoundError, "the camera has no such stream (404); check the path of the URL"),
    (av.error.ConnectionResetError, "the camera closed the connection"),
    (av.error.BrokenPipeError, "the camera closed the connection"),
    (av.error.ExitError, "no answer in time"),
    (av.error.TimeoutError, "no answer in time"),
    (av.error.PermissionError, "no permission to read it"),
    (av.error.InvalidDataError, "is not a video, or is damaged"),
)


def _reason(error: av.error.FFmpegError) -> str:
    for kind, reason in _REASONS:
        if isinstance(error, kind):
            return reason
    return redact(str(error.strerror or "cannot be read")).splitlines()[0][:120]

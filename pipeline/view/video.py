"""Writes pictures with real time stamps to an H.264 file of constant frame rate."""

import errno
import logging
import math
from fractions import Fraction
from pathlib import Path
from types import TracebackType

import av
import cv2

from pipeline.errors import OutputError
from pipeline.types import ImageArray
from pipeline.view.overlay import fit

_log = logging.getLogger(__name__)

MAX_GAP_S = 10.0  # a longer pause (a camera that was away for the night) is shortened to this
_CRF = 23  # x264's own default: no visible loss at ordinary viewing distance
# measured on one core: 3 ms a picture of 640×360, 30 ms of 1920×1080; "superfast" saves a quarter and doubles the file
_PRESET = "veryfast"
_BT709 = 1  # FFmpeg's number for BT.709 as matrix, primaries and transfer curve: what players assume for HD
_LIMITED_RANGE = 1  # FFmpeg's AVCOL_RANGE_MPEG: luma from 16 to 235


class VideoWriter:
    """An mp4 file, H.264 yuv420p, whose index stands in front (a browser plays it at once).

    Time: the first picture opens slot 0; a picture of time t goes to slot round((t - first) · fps). Of several pictures
    in one slot the newest counts; empty slots repeat the picture before. A pause longer than `max_gap_s` is cut to it,
    and a time that runs backwards goes on in the next slot. So the file's length is the real length, pauses aside.

    Size: that of the first picture; odd sides get one repeated row or column; pictures of another size are fitted in.

    The file grows under a temporary name and takes its own on `close`, which the `with` statement calls after errors
    and Ctrl-C as well. Without a picture no file is written.

    Raises:
        OutputError: the file cannot be written, now or later (the disk is full); what was written so far is removed.
    """

    def __init__(self, path: str | Path, fps: float, max_gap_s: float = MAX_GAP_S, threads: int = 1) -> None:
        if not (math.isfinite(fps) and 0 < fps <= 240):  # 240: beyond any camera here, a mistake
            raise ValueError(f"fps: expected above 0 and at most 240, got {fps}")
        self.path = Path(path)
        self._partial = self.path.with_name(f".{self.path.stem}.partial.mp4")
        self._rate = Fraction(fps).limit_denominator(1001)  # 29.97 is 30000/1001
        self._max_gap = max(1, round(max_gap_s * fps))
        self._threads = threads
        self._container: av.container.OutputContainer | None = None
        self._stream: av.video.stream.VideoStream | None = None
        self._pending: ImageArray | None = None  # the newest picture of the slot that is still open
        self._slot = 0
        self._zero_s = 0.0  # the time of slot 0
        self._encoded = 0
        self._closed = False
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._partial.write_bytes(b"")
        except OSError as error:
            raise self._refusal(error) from None

    def write(self, image: ImageArray, at_s: float) -> None:
        """Add one picture, (H, W, 3) uint8 BGR, taken at this time.

        Raises:
            OutputError: it cannot be written; the writer is closed then.
            ValueError: the writer is closed, or the picture or its time is wrong.
        """
        if self._closed:
            raise ValueError(f"write to the closed video {self.path}")
        if image.ndim != 3 or image.shape[2] != 3 or 0 in image.shape or image.dtype.name != "uint8":
            raise ValueError(f"VideoWriter.write: expected (H, W, 3) uint8, got {image.shape} {image.dtype}")
        if not math.isfinite(at_s):
            raise ValueError(f"VideoWriter.write: expected a finite time, got {at_s}")
        try:
            self._place(image, at_s)
        except OSError as error:
            raise self._give_up(error) from None

    def close(self) -> Path | None:
        """Finish the file; its path, or None when no picture came. Closing twice does no harm.

        Raises:
            OutputError: it cannot be finished; nothing is left behind.
        """
        if self._closed:
            return self.path if self._encoded else None
        try:
            if self._stream is not None and self._container is not None:
                self._encode_until(self._slot + 1)
                self._container.mux(self._stream.encode(None))
                container, self._container = self._container, None
                container.close()
                self._partial.replace(self.path)
        except OSError as error:
            raise self._give_up(error) from None
        finally:
            self._abandon()
        return self.path if self._encoded else None

    def __enter__(self) -> "VideoWriter":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self.close()
        except OutputError as failure:
            if error is None:
                raise
            _log.error("%s", failure)  # the first error is the one to report

    def _place(self, image: ImageArray, at_s: float) -> None:
        if self._stream is None:
            self._open(image)
            self._zero_s = at_s
        slot = round((at_s - self._zero_s) * self._rate)
        if slot < self._slot or slot > self._slot + self._max_gap:
            slot = self._slot + (self._max_gap if slot > self._slot else 1)
            self._zero_s = at_s - float(slot / self._rate)
        self._encode_until(slot)
        self._slot = slot
        self._pending = image.copy()

    def _open(self, image: ImageArray) -> None:
        height, width = image.shape[:2]
        self._container = av.open(str(self._partial), "w", format="mp4", options={"movflags": "+faststart"})
        stream = self._container.add_stream("libx264", rate=self._rate)
        stream.width, stream.height = width + width % 2, height + height % 2
        stream.pix_fmt = "yuv420p"
        stream.options = {"crf": str(_CRF), "preset": _PRESET}
        context = stream.codec_context
        context.thread_count = self._threads
        context.colorspace = context.color_primaries = context.color_trc = _BT709
        context.color_range = _LIMITED_RANGE
        self._stream = stream

    def _encode_until(self, slot: int) -> None:
        """Fill every slot before this one with the pending picture."""
        if self._pending is None or self._stream is None or self._container is None or self._encoded >= slot:
            return
        frame = self._converted(self._pending, self._stream)
        while self._encoded < slot:
            frame.pts = self._encoded
            frame.time_base = 1 / self._rate
            self._container.mux(self._stream.encode(frame))
            self._encoded += 1

    @staticmethod
    def _converted(image: ImageArray, stream: "av.video.stream.VideoStream") -> av.VideoFrame:
        height, width = image.shape[:2]
        if (width + width % 2, height + height % 2) == (stream.width, stream.height):
            image = cv2.copyMakeBorder(image, 0, height % 2, 0, width % 2, cv2.BORDER_REPLICATE)
        else:
            image = fit(image, stream.width, stream.height)
        frame = av.VideoFrame.from_ndarray(image, format="bgr24")
        return frame.reformat(format="yuv420p", dst_colorspace=_BT709, dst_color_range=_LIMITED_RANGE)

    def _give_up(self, error: OSError) -> OutputError:
        self._encoded = 0
        self._abandon()
        return self._refusal(error)

    def _abandon(self) -> None:
        """Let go of everything; after a successful close only the temporary file's absence is left to ensure."""
        self._closed = True
        self._pending = None
        container, self._container, self._stream = self._container, None, None
        if container is not None:
            try:
                container.close()
            except OSError as error:  # the reason for giving up, once more
                _log.debug("closing %s: %s", self._partial, error.strerror)
        try:
            self._partial.unlink(missing_ok=True)
        except OSError as error:
            _log.warning("cannot remove %s: %s", self._partial, error.strerror)

    def _refusal(self, error: OSError) -> OutputError:
        hint = "free some space" if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG) else "check the folder"
        return OutputError(f"cannot write the video {self.path}: {error.strerror or error}; {hint}")

"""Pixelates boxes in an overlay video by encoding it anew; the one module here that uses PyAV."""

import os
from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from pipeline.background.erase_references import pixelate
from pipeline.types import FloatArray

_PRESET, _CRF = "veryfast", "23"  # x264: as the overlay was written; a second encoding at this quality shows no loss


class CannotPixelate(Exception):
    """The video cannot be pixelated; the text says why."""


def count_frames(path: Path) -> int:
    """How many pictures a video has, by its packets.

    Raises:
        CannotPixelate: it cannot be read.
    """
    try:
        with av.open(str(path)) as container:
            if not container.streams.video:
                raise CannotPixelate("it has no pictures")
            return sum(1 for packet in container.demux(video=0) if packet.size)
    except (av.error.FFmpegError, OSError) as error:
        raise CannotPixelate(f"it cannot be read ({type(error).__name__})") from None


def pixelate_video(path: Path, boxes: Mapping[int, FloatArray]) -> int:
    """Pixelate boxes in a video and put the result in its place in one step; returns how many pictures changed.

    Args:
        boxes: number of the picture, from 0 → boxes (N, 4) xyxy px.

    Raises:
        CannotPixelate: it cannot be read or written; the video is as it was.
    """
    temporary = path.with_name(f".{path.stem}.{os.getpid()}.tmp.mp4")
    try:
        changed = _encode(path, temporary, boxes)
        temporary.replace(path)
        return changed
    except (av.error.FFmpegError, OSError, ValueError) as error:
        raise CannotPixelate(f"it cannot be encoded anew ({type(error).__name__})") from None
    finally:
        temporary.unlink(missing_ok=True)


def _encode(path: Path, temporary: Path, boxes: Mapping[int, FloatArray]) -> int:
    changed = 0
    options = {"movflags": "+faststart"}
    with av.open(str(path)) as source, av.open(str(temporary), "w", format="mp4", options=options) as target:
        old = source.streams.video[0]
        new = target.add_stream("libx264", rate=old.average_rate or Fraction(25))
        new.width, new.height, new.pix_fmt = old.codec_context.width, old.codec_context.height, "yuv420p"
        new.options = {"preset": _PRESET, "crf": _CRF}
        new.time_base = old.time_base
        for name in ("colorspace", "color_primaries", "color_trc", "color_range"):
            setattr(new.codec_context, name, getattr(old.codec_context, name))
        for number, frame in enumerate(source.decode(old)):
            if number in boxes:
                image = frame.to_ndarray(format="bgr24")
                pixelate(image, boxes[number])
                painted = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="bgr24")
                painted = painted.reformat(
                    format="yuv420p", dst_colorspace=frame.colorspace, dst_color_range=frame.color_range
                )
                painted.pts, painted.time_base = frame.pts, frame.time_base
                frame = painted
                changed += 1
            frame.pict_type = av.video.frame.PictureType.NONE  # the encoder chooses its own key frames
            target.mux(new.encode(frame))
        target.mux(new.encode(None))
    return changed

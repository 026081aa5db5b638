"""Small H.264 clips with moving content, encoded with PyAV's own encoder."""

from pathlib import Path

import av
import numpy as np
import numpy.typing as npt
import pytest


def needs_encoder() -> None:
    if "libx264" not in av.codecs_available:
        pytest.skip("this build of PyAV has no libx264 encoder: the test cannot make its clip")


def picture(index: int, size_px: tuple[int, int] = (160, 120)) -> npt.NDArray[np.uint8]:
    """(H, W, 3) BGR: noise that shifts 2 px a picture, and a bright column at x = index."""
    width, height = size_px
    noise = np.random.default_rng(0).integers(0, 128, (height // 8, width // 8, 3), np.uint8)
    image = np.roll(noise.repeat(8, 0).repeat(8, 1), 2 * index, axis=1)
    image[:, index % width] = 255
    return image


def encode_clip(
    path: Path,
    *,
    count: int = 50,
    size_px: tuple[int, int] = (160, 120),
    fps: int = 25,
    key_every: int = 10,
    muxer_options: dict[str, str] | None = None,
) -> Path:
    """H.264 without B-frames in the container that the file's name asks for."""
    with av.open(str(path), "w", options=muxer_options or {}) as container:
        stream = container.add_stream("libx264", rate=fps)
        stream.width, stream.height = size_px
        stream.pix_fmt = "yuv420p"
        stream.options = {"bf": "0", "g": str(key_every), "preset": "veryfast", "sc_threshold": "0"}
        for index in range(count):
            frame = av.VideoFrame.from_ndarray(picture(index, size_px), format="bgr24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path

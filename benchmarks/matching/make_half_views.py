"""Cuts one camera's clip into two cameras that see its left and its right, with a blind gap and other colours between.

    python benchmarks/matching/make_half_views.py --video FILE --gt DIR --out DIR

Writes `left.mp4`, `right.mp4` and `gt/`: the annotation of both, ids kept. The right camera's colours are another
camera's: gains per channel, a gamma and a turn of the hue. A box is clipped to its half; one with less than half of its
area inside is not to be found (consider = 0), one with none of it is left out. There is no visits.csv: visits begin
after gaps.
"""

import argparse
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from pipeline.capture.files import VideoFileSource
from pipeline.capture.probe import probe
from pipeline.config import CaptureConfig
from pipeline.scoring.ground_truth import CameraTruth, read_ground_truth
from pipeline.scoring.roles import Role
from pipeline.types import ImageArray
from pipeline.view.video import VideoWriter

LEFT, RIGHT = "left", "right"
GAP_SHARE = 1 / 8  # of the picture's width that nobody sees: two to three widths of a person in the middle distance
LEAST_INSIDE = 0.5  # of a box's area, for it to be somebody who is to be found
BGR_GAINS = (0.80, 1.0, 1.18)  # a camera whose white balance is warmer
GAMMA = 0.8  # and whose shadows are brighter
HUE_TURN_DEG = 8.0
_FPS = 25.0  # of a video that states no rate


@dataclass(frozen=True, slots=True)
class HalfView:
    """Columns [start_px, end_px) of the picture, as a camera of its own."""

    name: str
    start_px: int
    end_px: int
    recoloured: bool


def half_views(width_px: int) -> tuple[HalfView, HalfView]:
    """The two halves of a picture of this width; both as wide, and even, as H.264 wants it."""
    side = round(width_px * (1 - GAP_SHARE) / 2) // 2 * 2
    return HalfView(LEFT, 0, side, False), HalfView(RIGHT, width_px - side, width_px, True)


def recolour(image: ImageArray) -> ImageArray:
    """The picture (H, W, 3) uint8 BGR as another camera would show it."""
    levels = np.linspace(0, 1, 256)[:, None] ** GAMMA * np.array(BGR_GAINS)
    table = np.clip(np.round(255 * levels), 0, 255).astype(np.uint8)[None]  # (1, 256, 3)
    hsv = cv2.cvtColor(cv2.LUT(image, table), cv2.COLOR_BGR2HSV_FULL)  # hue 0-255 for 0-360 degrees
    hsv[..., 0] += np.uint8(round(HUE_TURN_DEG / 360 * 256))  # wraps round, as hues do
    return np.asarray(cv2.cvtColor(hsv, cv2.COLOR_HSV2BGR_FULL), np.uint8)


def half_rows(truth: CameraTruth, view: HalfView) -> Iterator[str]:
    """Ground-truth rows of one half, MOTChallenge's nine columns."""
    order = np.lexsort((truth.rows.ids, truth.rows.frames))
    for place in order:
        x, y, width, height = truth.rows.xywh[place]
        low, high = max(x, view.start_px), min(x + width, view.end_px)
        if high <= low or truth.roles[place] == Role.OTHER:
            continue
        counts = truth.roles[place] == Role.PERSON and (high - low) >= LEAST_INSIDE * width
        box = f"{low - view.start_px:.1f},{y:.1f},{high - low:.1f},{height:.1f}"
        yield f"{truth.rows.frames[place]},{truth.rows.ids[place]},{box},{int(counts)},1,1\n"


def write_half_videos(video: Path, out: Path) -> tuple[HalfView, HalfView]:
    """`left.mp4` and `right.mp4` in `out`.

    Raises:
        SourceUnavailable: the video cannot be read.
    """
    info = probe(str(video), CaptureConfig())
    source = VideoFileSource("whole", video)
    views: tuple[HalfView, HalfView] | None = None
    fps = info.fps or _FPS
    with VideoWriter(out / f"{LEFT}.mp4", fps) as left, VideoWriter(out / f"{RIGHT}.mp4", fps) as right:
        for frame in source.frames():
            views = views or half_views(frame.image.shape[1])
            for view, writer in zip(views, (left, right), strict=True):
                part = np.ascontiguousarray(frame.image[:, view.start_px : view.end_px])
                writer.write(recolour(part) if view.recoloured else part, frame.captured_at_s)
    if views is None:
        raise ValueError(f"{video} has no frames")
    return views


def make_half_views(video: Path, ground_truth: Path, out: Path) -> None:
    """Both videos and their ground truth; the annotation of the camera named as the video is cut.

    Raises:
        ConfigError: there is no such annotation. SourceUnavailable: the video cannot be read.
    """
    truth = read_ground_truth(ground_truth, [video.stem]).cameras[video.stem]
    (out / "gt" / "frames").mkdir(parents=True, exist_ok=True)
    for view in write_half_videos(video, out):
        (out / "gt" / f"{view.name}.txt").write_text("".join(half_rows(truth, view)), encoding="utf-8")
        if truth.annotated is not None:
            listed = "".join(f"{frame}\n" for frame in truth.annotated.tolist())
            (out / "gt" / "frames" / f"{view.name}.txt").write_text(listed, encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--video", type=Path, required=True)
    parser.add_argument("--gt", type=Path, required=True, metavar="DIR")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR")
    arguments = parser.parse_args()
    make_half_views(arguments.video, arguments.gt, arguments.out)


if __name__ == "__main__":
    main()

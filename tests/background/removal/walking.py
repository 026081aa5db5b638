"""Drawn people who walk, as frames with boxes and exact masks."""

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt

sys.path.insert(0, str(Path(__file__).parent.parent))

from background_scene import HEIGHT_PX, WIDTH_PX, Person, draw, frame_of, iou, room

from pipeline.background.background_model import BackgroundModel
from pipeline.background.removal.tracks import CutFrame, Seen
from pipeline.types import Frame, ImageArray

__all__ = ["HEIGHT_PX", "WIDTH_PX", "Person", "draw", "empty_room", "frame_of", "iou", "known_plate", "walk"]

RED = Person(120, 330, 210, (40, 40, 190), (90, 50, 40))
GREEN = Person(430, 318, 200, (60, 160, 60), (140, 120, 110), 0.9)
Step = tuple[Frame, list[Seen], npt.NDArray[np.bool_]]


def empty_room() -> ImageArray:
    return room()


def known_plate() -> BackgroundModel:
    """The background as some seconds without people would have taught it."""
    model = BackgroundModel()
    for k in range(6):
        model.update(frame_of(room(), -10.0 + k, k), np.zeros((0, 4), np.float32))
    return model


def walk(people: tuple[Person, ...], steps: int, px_per_step: tuple[float, ...], light: float = 1.0) -> Iterator[Step]:
    """Frames 0.1 s apart; person i is track i + 1 and identity i + 11, and boxes shake by a pixel or two."""
    rng = np.random.default_rng(5)
    for k in range(steps):
        moved = tuple(
            Person(p.x_px + v * k, p.foot_px, p.height_px, p.shirt, p.trousers, 0.5 + 0.4 * np.sin(k / 2))
            for p, v in zip(people, px_per_step, strict=True)
        )
        image, masks, boxes = draw(moved, seed=k)
        if light != 1.0:
            image = np.clip(image * (1 + (light - 1) * k / steps), 0, 255).astype(np.uint8)
        boxes = boxes + rng.normal(0, 1.5, boxes.shape).astype(np.float32)
        seen = [Seen(i + 1, box, i + 11) for i, box in enumerate(boxes)]
        yield frame_of(image, k / 10, k), seen, masks


def scores(cut: CutFrame, masks: npt.NDArray[np.bool_]) -> list[float]:
    """IoU of every track's mask with the exact one."""
    return [iou(cut.mask({i + 1}), mask) for i, mask in enumerate(masks)]

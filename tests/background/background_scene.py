"""A small drawn scene with exact masks: textured room, people with limbs, stripes, hair and a soft shadow."""

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from pipeline.types import Frame, FramePointer, IdentityEvent, ImageArray

WIDTH_PX, HEIGHT_PX = 640, 360
SKIN = (150, 175, 215)

# the fixtures of conftest.py
Keep = Callable[..., FramePointer]
MakeEvent = Callable[..., IdentityEvent]


@dataclass(frozen=True)
class Person:
    """Somebody at a foot point, with clothes in BGR."""

    x_px: float
    foot_px: float
    height_px: float
    shirt: tuple[int, int, int]
    trousers: tuple[int, int, int]
    stride: float = 0.5


PEOPLE = (
    Person(120, 330, 210, (40, 40, 190), (90, 50, 40)),
    Person(300, 320, 190, (60, 160, 60), (40, 40, 40), 0.9),
    Person(500, 340, 230, (200, 190, 60), (140, 120, 110), 0.2),
)


def room(seed: int = 1) -> ImageArray:
    """A textured background (HEIGHT_PX, WIDTH_PX, 3) uint8."""
    rng = np.random.default_rng(seed)
    coarse = rng.normal(0, 1, (12, 20, 3)).astype(np.float32)
    image = 140 + 25 * cv2.resize(coarse, (WIDTH_PX, HEIGHT_PX), interpolation=cv2.INTER_CUBIC)
    image[240:] = image[240:] * 0.7 + 10
    for _ in range(14):
        x, y = int(rng.integers(0, WIDTH_PX - 60)), int(rng.integers(20, 240))
        colour = tuple(int(v) for v in rng.integers(40, 220, 3))
        cv2.rectangle(image, (x, y), (x + int(rng.integers(20, 90)), y + int(rng.integers(20, 90))), colour, -1)
    return np.clip(cv2.GaussianBlur(image, (5, 5), 0), 0, 255).astype(np.uint8)


def _figure(person: Person) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Colour (H, W, 3) and coverage (H, W) of one person, drawn at double size for soft edges."""
    s = 2
    h = person.height_px * s
    x, foot = person.x_px * s, person.foot_px * s
    colour = np.zeros((HEIGHT_PX * s, WIDTH_PX * s, 3), np.float32)
    cover = np.zeros(colour.shape[:2], np.uint8)

    def limb(a: tuple[float, float], b: tuple[float, float], width: float, paint: tuple[int, int, int]) -> None:
        start, end = (int(a[0]), int(a[1])), (int(b[0]), int(b[1]))
        cv2.line(colour, start, end, paint, int(width))
        cv2.line(cover, start, end, 255, int(width))

    step = 0.09 * h * person.stride
    hip, shoulder = foot - 0.48 * h, foot - 0.80 * h
    limb((x - 0.03 * h, hip), (x - step, foot - 0.03 * h), 0.075 * h, person.trousers)
    limb((x + 0.03 * h, hip), (x + step, foot - 0.03 * h), 0.075 * h, person.trousers)
    limb((x - 0.08 * h, shoulder), (x - 0.12 * h - step / 2, hip), 0.05 * h, person.shirt)
    limb((x + 0.08 * h, shoulder), (x + 0.12 * h + step / 2, hip), 0.05 * h, person.shirt)
    limb((x, shoulder + 0.02 * h), (x, hip), 0.17 * h, person.shirt)
    for k in range(4):
        y = shoulder + (0.04 + 0.07 * k) * h
        cv2.line(
            colour, (int(x - 0.08 * h), int(y)), (int(x + 0.08 * h), int(y)), tuple(c * 0.7 for c in person.shirt), 6
        )
    limb((x, shoulder), (x, foot - 0.88 * h), 0.05 * h, SKIN)
    centre, axes = (int(x), int(foot - 0.925 * h)), (int(0.048 * h), int(0.068 * h))
    cv2.ellipse(colour, centre, axes, 0, 0, 360, SKIN, -1)
    cv2.ellipse(colour, centre, axes, 0, 180, 360, (25, 30, 40), -1)
    cv2.ellipse(cover, centre, axes, 0, 0, 360, 255, -1)
    size = (WIDTH_PX, HEIGHT_PX)
    small = cv2.resize(cover, size, interpolation=cv2.INTER_AREA).astype(np.float32) / 255
    paint = cv2.resize(colour, size, interpolation=cv2.INTER_AREA) / np.maximum(small, 1e-3)[..., None]
    return paint, small


def draw(
    people: tuple[Person, ...], seed: int = 1, noise: float = 4.0, shadow: float = 0.25
) -> tuple[ImageArray, npt.NDArray[np.bool_], npt.NDArray[np.float32]]:
    """Picture, masks (N, H, W) of what is visible of each, and boxes (N, 4) around the whole person.

    Who stands lower in the picture is nearer.
    """
    image = room().astype(np.float32)
    masks = np.zeros((len(people), HEIGHT_PX, WIDTH_PX), bool)
    boxes = np.zeros((len(people), 4), np.float32)
    for i in sorted(range(len(people)), key=lambda i: people[i].foot_px):
        person = people[i]
        ground = np.zeros(image.shape[:2], np.float32)
        axes = (int(0.2 * person.height_px), int(0.03 * person.height_px))
        cv2.ellipse(ground, (int(person.x_px), int(person.foot_px)), axes, 0, 0, 360, shadow, -1)
        image *= 1 - cv2.GaussianBlur(ground, (9, 9), 0)[..., None]
        paint, cover = _figure(person)
        image = image * (1 - cover[..., None]) + paint * cover[..., None]
        whole = cover > 0.5
        masks[:, whole] = False
        masks[i] = whole
        ys, xs = np.nonzero(whole)
        boxes[i] = (xs.min(), ys.min(), xs.max() + 1, ys.max() + 1) if len(xs) else 0
    image += np.random.default_rng(seed).normal(0, noise, image.shape)
    return np.clip(image, 0, 255).astype(np.uint8), masks, boxes


def frame_of(image: ImageArray, at_s: float = 10.0, index: int = 0, camera: str = "door", **more: bool) -> Frame:
    return Frame(camera, "1", index, at_s, image, **more)


def iou(a: npt.NDArray[np.bool_], b: npt.NDArray[np.bool_]) -> float:
    union = np.count_nonzero(a | b)
    return float(np.count_nonzero(a & b) / union) if union else 1.0

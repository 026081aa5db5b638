"""Procedural pictures of furniture, plants, signs and trolleys: BGR + alpha, textured, in neutral light."""

from collections.abc import Callable

import cv2
import numpy as np
import numpy.typing as npt

from pipeline.scenes.backgrounds import cloud
from pipeline.scenes.obstacles import ObstacleKind
from pipeline.types import ImageArray

Layer = npt.NDArray[np.float32]  # (H, W, 4) BGR 0 to 255, alpha 0 to 1
Colour = tuple[float, float, float]

_WOODS: tuple[Colour, ...] = ((70, 104, 140), (96, 140, 178), (40, 62, 92), (150, 176, 196))
_METALS: tuple[Colour, ...] = ((120, 118, 116), (82, 84, 88), (168, 166, 160))
_PAINTS: tuple[Colour, ...] = (
    (150, 96, 60),
    (70, 120, 84),
    (60, 64, 150),
    (190, 196, 200),
    (60, 56, 54),
    (64, 150, 190),
)


def render_obstacle(kind: ObstacleKind, width_px: int, height_px: int, seed: int) -> ImageArray:
    """(H, W, 4) uint8 BGR + alpha; at least 8 px either way."""
    rng = np.random.default_rng([seed, 8])
    layer = np.zeros((max(height_px, 8), max(width_px, 8), 4), np.float32)
    _MAKERS[kind](layer, rng)
    layer[:, :, :3] *= (1 + 0.02 * rng.standard_normal(layer.shape[:2]))[:, :, None]
    layer[:, :, 3] *= 255
    return np.asarray(np.clip(np.round(layer), 0, 255), np.uint8)


def _pick(colours: tuple[Colour, ...], rng: np.random.Generator) -> Colour:
    return colours[int(rng.integers(len(colours)))]


def _part(layer: Layer, x: tuple[float, float], y: tuple[float, float]) -> Layer:
    """The part of a layer between shares of its width and height; at least a pixel."""
    height, width = layer.shape[:2]
    left, top = min(round(x[0] * width), width - 1), min(round(y[0] * height), height - 1)
    return layer[top : max(round(y[1] * height), top + 1), left : max(round(x[1] * width), left + 1)]


def _fill(part: Layer, colour: Colour, rng: np.random.Generator, grain: tuple[float, float] = (6, 4.0)) -> None:
    """Solid stuff with blobs of (px, grey values), in place."""
    part[:, :, :3] = np.array(colour, np.float32) * rng.uniform(0.85, 1.15)
    part[:, :, :3] += grain[1] * cloud((part.shape[0], part.shape[1]), grain[0], rng)[:, :, None]
    part[:, :, 3] = 1


def _wood(part: Layer, rng: np.random.Generator) -> None:
    """Boards with a grain along them, in place."""
    _fill(part, _pick(_WOODS, rng), rng, (40, 5))
    height, width = part.shape[:2]
    streaks = cv2.blur(cloud((height, width), 2, rng), (31, 1))
    part[:, :, :3] += 16 * streaks[:, :, None]
    for left in np.arange(rng.uniform(0.1, 0.3), 1, rng.uniform(0.22, 0.4)):
        _part(part, (left, left + 0.006), (0, 1))[:, :, :3] *= 0.7


def _desk(layer: Layer, rng: np.random.Generator) -> None:
    _wood(_part(layer, (0.03, 0.97), (0.3, 1)), rng)
    _part(layer, (0.03, 0.97), (0.92, 1))[:, :, :3] *= 0.7
    _wood(_part(layer, (0, 1), (0.24, 0.32)), rng)
    screen = rng.uniform(0.1, 0.5)
    _fill(_part(layer, (screen, screen + 0.26), (0, 0.2)), (44, 42, 40), rng)
    _fill(_part(layer, (screen + 0.11, screen + 0.15), (0.2, 0.25)), (70, 70, 72), rng)
    for left in rng.uniform(0.6, 0.9, 3):
        _fill(_part(layer, (left, left + 0.07), (rng.uniform(0.1, 0.2), 0.25)), _pick(_PAINTS, rng), rng)


def _counter(layer: Layer, rng: np.random.Generator) -> None:
    _fill(_part(layer, (0.01, 0.99), (0.06, 1)), _pick(_PAINTS, rng), rng, (30, 6))
    for left in np.arange(0.03, 0.97, 0.06):
        _part(layer, (left, left + 0.012), (0.08, 0.94))[:, :, :3] *= 0.72
    _fill(_part(layer, (0, 1), (0, 0.07)), (186, 190, 192), rng, (3, 6))
    _fill(_part(layer, (0.34, 0.66), (0.32, 0.56)), _pick(_PAINTS, rng), rng)
    _fill(_part(layer, (0.38, 0.62), (0.4, 0.47)), (225, 225, 220), rng)


def _planter(layer: Layer, rng: np.random.Generator) -> None:
    _leaves(layer, (0.5, 0.35), (0.48, 0.33), 150, rng)
    _fill(_part(layer, (0.04, 0.96), (0.58, 1)), _pick(_METALS, rng), rng, (3, 8))
    _part(layer, (0.04, 0.96), (0.58, 0.62))[:, :, :3] *= 1.2


def _plant(layer: Layer, rng: np.random.Generator) -> None:
    _leaves(layer, (0.5, 0.38), (0.46, 0.37), 130, rng)
    _fill(_part(layer, (0.47, 0.53), (0.6, 0.8)), (50, 70, 92), rng)
    pot = _part(layer, (0.28, 0.72), (0.78, 1))
    _fill(pot, _pick(((70, 96, 150), (190, 190, 188), (60, 60, 62)), rng), rng, (4, 6))
    pot[:, :, :3] *= (1.1 - 0.4 * np.linspace(0, 1, pot.shape[1], dtype=np.float32))[None, :, None]


def _leaves(
    layer: Layer, middle: tuple[float, float], spread: tuple[float, float], count: int, rng: np.random.Generator
) -> None:
    """A cloud of leaves with gaps, in place; shares of the layer."""
    height, width = layer.shape[:2]
    length = 0.11 * np.hypot(width, height)
    for _ in range(count):
        angle, away = rng.uniform(0, 2 * np.pi), np.sqrt(rng.uniform(0, 1)) * 0.85
        x = width * (middle[0] + spread[0] * away * np.cos(angle))
        y = height * (middle[1] + spread[1] * away * np.sin(angle))
        shade = rng.uniform(0.5, 1.2)
        size = (length * rng.uniform(0.35, 0.6), length * rng.uniform(0.1, 0.2))
        leaf = ((float(x), float(y)), (float(2 * size[0]), float(2 * size[1])), float(np.degrees(angle) + 90))
        cv2.ellipse(layer, leaf, (44 * shade, 116 * shade, 62 * shade, 1.0), -1, cv2.LINE_AA)


def _cart(layer: Layer, rng: np.random.Generator) -> None:
    """A wire cart: what is in it shows through the wires."""
    for _ in range(7):
        left, top = rng.uniform(0.08, 0.6), rng.uniform(0.15, 0.4)
        goods = _part(layer, (left, left + rng.uniform(0.2, 0.32)), (top, 0.74))
        _fill(goods, _pick(_PAINTS + _WOODS, rng), rng, (8, 8))
    wires = _pick(_METALS, rng)
    for left in np.arange(0.05, 0.96, 0.075):
        _fill(_part(layer, (left, left + 0.018), (0.2, 0.78)), wires, rng)
    for top in (0.2, 0.34, 0.48, 0.62, 0.76):
        _fill(_part(layer, (0.05, 0.96), (top, top + 0.022)), wires, rng)
    _fill(_part(layer, (0, 0.06), (0, 0.95)), wires, rng)
    _wheels(layer)


def _wheels(layer: Layer) -> None:
    height, width = layer.shape[:2]
    for x in (0.16, 0.84):
        centre = (round(x * width), round(0.94 * height))
        cv2.circle(layer, centre, max(round(0.055 * height), 2), (36.0, 36.0, 38.0, 1.0), -1, cv2.LINE_AA)


def _trolley(layer: Layer, rng: np.random.Generator) -> None:
    """Suitcases and boxes on a platform."""
    top = 0.88
    while top > 0.12:
        height = rng.uniform(0.16, 0.3)
        left = rng.uniform(0.04, 0.16)
        case = _part(layer, (left, rng.uniform(0.8, 0.96)), (max(top - height, 0.02), top))
        _fill(case, _pick(_PAINTS + _WOODS, rng), rng, (12, 8))
        for at in rng.uniform(0.1, 0.9, 2):
            _part(case, (at, at + 0.05), (0, 1))[:, :, :3] *= 0.6
        _part(case, (0, 1), (0.92, 1))[:, :, :3] *= 0.6
        top -= height
    _fill(_part(layer, (0, 1), (0.87, 0.91)), _pick(_METALS, rng), rng)
    _wheels(layer)


def _pillar(layer: Layer, rng: np.random.Generator) -> None:
    _fill(layer, _pick(((172, 176, 178), (120, 130, 140), (150, 150, 146)), rng), rng, (14, 9))
    layer[:, :, :3] += 6 * cloud((layer.shape[0], layer.shape[1]), 2, rng)[:, :, None]
    across = np.linspace(-1, 1, layer.shape[1], dtype=np.float32)
    layer[:, :, :3] *= (1.08 - 0.45 * (across + 0.25) ** 2)[None, :, None]
    _fill(_part(layer, (0.15, 0.85), (0.66, 0.78)), _pick(_PAINTS, rng), rng, (18, 26))  # a poster


def _shelf(layer: Layer, rng: np.random.Generator) -> None:
    _wood(layer, rng)
    layer[:, :, :3] *= 0.75
    for top in (0.03, 0.27, 0.51, 0.75):
        left = 0.05
        while left < 0.9:
            width = rng.uniform(0.03, 0.1)
            spine = _part(layer, (left, min(left + width, 0.95)), (top + rng.uniform(0, 0.06), top + 0.2))
            _fill(spine, _pick(_PAINTS + _WOODS, rng), rng, (5, 6))
            left += width + (rng.uniform(0.05, 0.15) if rng.random() < 0.2 else 0.004)


def _sign(layer: Layer, rng: np.random.Generator) -> None:
    """A board that hangs from the ceiling on two rods."""
    height, width = layer.shape[:2]
    for x in (0.2, 0.8):
        _fill(_part(layer, (x, x + 0.015), (0, 1)), (70, 70, 72), rng)
    paint = _pick(_PAINTS, rng)
    board = layer[max(height - round(_BOARD * width), 0) :]
    _fill(board, paint, rng, (40, 5))
    letters: Colour = (230, 230, 226) if sum(paint) < 420 else (50, 48, 46)
    for top, length in ((0.14, 0.8), (0.42, 0.55), (0.64, 0.7)):
        left = 0.08
        while left < length:
            step = rng.uniform(0.03, 0.07)
            _fill(_part(board, (left, left + step), (top, top + 0.17)), letters, rng)
            left += step + 0.02


_BOARD = 0.5  # a sign's height over its width

_MAKERS: dict[ObstacleKind, Callable[[Layer, np.random.Generator], None]] = {
    "desk": _desk,
    "counter": _counter,
    "planter": _planter,
    "cart": _cart,
    "pillar": _pillar,
    "plant": _plant,
    "shelf": _shelf,
    "sign": _sign,
    "trolley": _trolley,
}

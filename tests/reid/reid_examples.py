"""Crop features from maps, and drawn people, for the tests of re-ID."""

import colorsys
from dataclasses import dataclass

import cv2
import numpy as np

from pipeline.ports import EncoderDescription, Projection
from pipeline.types import CropFeature, Frame
from reid.crops import NO_QUALITY

MODEL = "example@1"
Colour = tuple[float, float, float]  # hue 0 to 1, saturation, value


def describe(stripes: int = 4, channels: int = 12, projection: Projection | None = None) -> EncoderDescription:
    return EncoderDescription(MODEL, stripes, channels, projection)


def random_projection(channels: int, outputs: int = 20, relu: bool = True, seed: int = 5) -> Projection:
    rng = np.random.default_rng(seed)
    weight = rng.standard_normal((outputs, channels)).astype(np.float32)
    return Projection(weight, rng.standard_normal(outputs).astype(np.float32), relu)


def random_maps(frames: int, height: int = 16, width: int = 8, channels: int = 12, seed: int = 0) -> np.ndarray:
    """(N, H, W, C), non-negative as behind a ReLU."""
    return np.random.default_rng(seed).gamma(0.7, 1.0, (frames, height, width, channels)).astype(np.float32)


def crop_features(maps: np.ndarray, stripes: int = 4, model_id: str = MODEL) -> list[CropFeature]:
    """What an encoder leaves of maps (N, H, W, C)."""
    n, height, width, channels = maps.shape
    cells = maps.reshape(n, stripes, height // stripes * width, channels)
    return [
        CropFeature(float(i), cells[i].mean(axis=1), (cells[i] ** 2).sum(axis=(1, 2)), NO_QUALITY, model_id)
        for i in range(n)
    ]


def frame_of(image: np.ndarray, at_s: float = 0.0, camera_id: str = "door") -> Frame:
    return Frame(camera_id, "1", 0, at_s, image)


def noise_frame(height: int = 240, width: int = 320, seed: int = 0) -> Frame:
    image = np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)
    return frame_of(cv2.GaussianBlur(image, (7, 7), 0))


@dataclass(frozen=True)
class Figure:
    """A drawn person: colours of top, trousers and hair."""

    top: Colour
    trousers: Colour
    hair: Colour


SIX_PEOPLE = (
    Figure((0.00, 0.8, 0.7), (0.62, 0.6, 0.4), (0.08, 0.5, 0.2)),
    Figure((0.62, 0.7, 0.6), (0.00, 0.0, 0.2), (0.12, 0.6, 0.7)),
    Figure((0.33, 0.6, 0.5), (0.10, 0.4, 0.6), (0.00, 0.0, 0.1)),
    Figure((0.14, 0.8, 0.9), (0.62, 0.6, 0.4), (0.00, 0.0, 0.1)),
    Figure((0.00, 0.0, 0.9), (0.00, 0.0, 0.15), (0.08, 0.5, 0.3)),
    Figure((0.00, 0.0, 0.15), (0.00, 0.0, 0.75), (0.05, 0.6, 0.4)),
)

# Gains of blue, green and red: neutral, warm and dark, cold and bright.
CASTS = ((1.0, 1.0, 1.0), (0.55, 0.7, 0.8), (1.35, 1.15, 1.0))


def draw(figure: Figure, cast: tuple[float, float, float], rng: np.random.Generator) -> tuple[Frame, np.ndarray]:
    """A person before a patterned wall under a colour cast, and the box (1, 4) around the person, a little off."""
    height, width = 300, 260
    wall = 0.35 + 0.3 * cv2.resize(rng.random((9, 8, 1)).astype(np.float32), (width, height))[..., None]
    image = np.repeat(wall * rng.uniform(0.8, 1.2), 3, axis=2).astype(np.float32)
    x, lean = width // 2, int(rng.integers(-6, 7))
    _limb(image, figure.trousers, [(x - 12, 150), (x - 16 + lean, 262)], 20)
    _limb(image, figure.trousers, [(x + 12, 150), (x + 16 - lean, 262)], 20)
    _limb(image, figure.top, [(x, 84), (x, 140)], 46)
    _limb(image, figure.top, [(x - 26, 80), (x - 30 - lean, 150)], 13)
    _limb(image, figure.top, [(x + 26, 80), (x + 30 + lean, 150)], 13)
    cv2.ellipse(image, (x, 48), (12, 16), 0, 0, 360, _bgr((0.07, 0.4, 0.75)), -1, cv2.LINE_AA)
    cv2.ellipse(image, (x, 40), (14, 12), 0, 180, 360, _bgr(figure.hair), -1, cv2.LINE_AA)
    shade = 1 + 0.12 * (np.arange(width) / width - 0.5)[None, :, None]
    seen = image * shade * np.array(cast) + rng.normal(0, 0.02, image.shape)
    box = np.array([[x - 48, 28, x + 48, 274]], np.float32) + rng.uniform(-6, 6, (1, 4)).astype(np.float32)
    return frame_of((np.clip(seen, 0, 1) * 255).astype(np.uint8)), box


def _limb(image: np.ndarray, colour: Colour, points: list[tuple[int, int]], thickness: int) -> None:
    cv2.line(image, points[0], points[1], _bgr(colour), thickness, cv2.LINE_AA)


def _bgr(colour: Colour) -> tuple[float, float, float]:
    red, green, blue = colorsys.hsv_to_rgb(*colour)
    return blue, green, red

"""Synthetic cameras: where the floor lies in the picture, and what the sensor does to light."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipeline.scenes.backgrounds import STYLES, Room, Style
from pipeline.scenes.obstacles import Obstacle

PERSON_M = 1.72  # metres: a person of height 1
MIN_PERSON_PX = 160  # the smallest person at 640 × 360: the HOG detector's limit


@dataclass(frozen=True, slots=True)
class SyntheticCamera:
    """One camera of a scene.

    Attributes:
        id: as in the config.
        horizon_y: row where the floor's lines meet, px.
        person_share: a person's height over the camera's: a person whose feet are at row y is
            `person_share * (y - horizon_y)` px tall.
        near_y, far_y: rows of the feet at depth 0 and at depth 1, px.
        exposure: factor on the light. cast: factors on blue, green, red. gamma: below 1 lifts the shadows.
        noise: standard deviation of the sensor's noise, grey values.
        drift: the exposure's slow swing, as a share of it.
        cast_drift: the white balance's slow swing between red and blue, as a share of them.
        saturation: factor on the colours' distance from grey.
        exposure_s: longest time a picture is exposed, in the camera's dim phases; 0: nothing that moves is blurred.
        defocus_px: radius of the lens's blur when it is most out of focus.
        phase_s: shift of the dim and the unsharp phases.
        obstacles: what stands or rolls in front of people.
    """

    id: str
    style: Style
    horizon_y: float
    person_share: float
    near_y: float
    far_y: float
    exposure: float = 1.0
    cast: tuple[float, float, float] = (1.0, 1.0, 1.0)
    gamma: float = 1.0
    noise: float = 2.0
    drift: float = 0.01
    width_px: int = 640
    height_px: int = 360
    cast_drift: float = 0.0
    saturation: float = 1.0
    exposure_s: float = 0.0
    defocus_px: float = 0.0
    phase_s: float = 0.0
    obstacles: tuple[Obstacle, ...] = ()

    def foot_y(self, depth: float) -> float:
        """Row of the feet at a depth from 0 (near) to 1 (far), px."""
        return self.near_y + (self.far_y - self.near_y) * depth

    def person_px(self, depth: float) -> float:
        """Height in the picture of a person of height 1 at this depth, px."""
        return self.person_share * (self.foot_y(depth) - self.horizon_y)

    def px_per_m(self, depth: float) -> float:
        """Picture columns per metre across, at this depth."""
        return self.person_px(depth) / PERSON_M

    @property
    def room(self) -> Room:
        floor_y = min(round(self.far_y - 18), round(_LOWEST_FLOOR * self.height_px))
        return Room(self.style, self.width_px, self.height_px, self.horizon_y, floor_y)

    def tone_curve(self, at_s: float) -> npt.NDArray[np.uint8]:
        """(1, 256, 3) table from neutral light to this sensor's values at a time."""
        light = np.linspace(0, 1, 256)[:, None] * self.exposure * np.array(self.cast)
        light *= 1 + self.drift * np.sin(2 * np.pi * at_s / _DRIFT_PERIOD_S)
        light *= 1 + self.cast_drift * np.sin(2 * np.pi * (at_s + self.phase_s) / _CAST_PERIOD_S) * _RED_AGAINST_BLUE
        return np.asarray(np.clip(np.round(255 * np.clip(light, 0, 1) ** self.gamma), 0, 255), np.uint8)[None]

    def exposure_time_s(self, at_s: float) -> float:
        """How long the picture at a time is exposed: the longest in dim phases, a fifth of it in bright ones."""
        dim = 0.5 + 0.5 * np.sin(2 * np.pi * (at_s + self.phase_s) / _DIM_PERIOD_S)
        return float(self.exposure_s * (0.2 + 0.8 * dim))

    def defocus_at_px(self, at_s: float) -> float:
        """Radius of the lens's blur at a time: sharp for half of the time."""
        return float(self.defocus_px * max(np.sin(2 * np.pi * (at_s + 0.6 * self.phase_s) / _FOCUS_PERIOD_S), 0.0))


_LOWEST_FLOOR = 0.9  # of the picture's height: a strip of floor shows even where all lanes lie below the picture
_DRIFT_PERIOD_S = 13.0  # seconds: slow against a walk, so that no background is quite still
_CAST_PERIOD_S = 41.0  # seconds: a white balance follows the light over minutes, here over the length of a short scene
_DIM_PERIOD_S = 7.0  # seconds: within one walk of 4 to 8 s a person is seen blurred and sharp
_FOCUS_PERIOD_S = 5.0  # seconds: autofocus that hunts
_RED_AGAINST_BLUE = np.array([-1.0, 0.0, 1.0])  # blue, green, red

DEMO_CAMERAS: tuple[SyntheticCamera, ...] = (
    SyntheticCamera("lobby", "lobby", 40, 0.9, 345, 292, exposure=1.0, cast=(0.88, 0.98, 1.08), noise=2.0),
    SyntheticCamera("street", "street", 70, 0.8, 348, 304, exposure=1.12, cast=(1.1, 1.02, 0.9), gamma=0.9, noise=3.0),
    SyntheticCamera("hall", "hall", 24, 0.63, 350, 316, exposure=0.78, cast=(0.94, 1.07, 0.94), gamma=1.0, noise=4.5),
)


def make_cameras(count: int, seed: int) -> tuple[SyntheticCamera, ...]:
    """`count` cameras: the demo's three first, then drawn ones with ids `camera4`, `camera5`, …

    Raises:
        ValueError: a negative count.
    """
    if count < 0:
        raise ValueError(f"expected a count of cameras of at least 0, got {count}")
    rng = np.random.default_rng([seed, 2])
    drawn = tuple(_draw_camera(number, rng) for number in range(len(DEMO_CAMERAS) + 1, count + 1))
    return (DEMO_CAMERAS + drawn)[:count]


def _draw_camera(number: int, rng: np.random.Generator) -> SyntheticCamera:
    horizon = float(rng.uniform(20, 70))
    far = float(rng.uniform(290, 316))
    far_px = rng.uniform(1.1, 1.35) * MIN_PERSON_PX  # 1.1: the shortest person still has the least height
    return SyntheticCamera(
        id=f"camera{number}",
        style=STYLES[int(rng.integers(len(STYLES)))],
        horizon_y=horizon,
        person_share=float(far_px / (far - horizon)),
        near_y=float(far + rng.uniform(30, 42)),
        far_y=far,
        exposure=float(rng.uniform(0.75, 1.15)),
        cast=tuple(float(v) for v in rng.uniform(0.9, 1.1, 3)),  # type: ignore[arg-type]
        gamma=float(rng.uniform(0.9, 1.05)),
        noise=float(rng.uniform(1.5, 4.5)),
    )

"""Makes ordinary cameras difficult: colour casts, blur, nearness, and furniture in the way."""

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from pipeline.scenes.cameras import SyntheticCamera
from pipeline.scenes.difficulty import Difficulty
from pipeline.scenes.obstacles import place_obstacles


class _Light(NamedTuple):
    """A kind of light at strength 1: offsets to the factors on blue, green, red, exposure, saturation, and noise."""

    cast: tuple[float, float, float]
    exposure: float = 0.0
    saturation: float = 0.0
    noise: float = 0.0


_LIGHTS = (
    _Light((-0.42, -0.06, 0.14)),  # tungsten lamps, balanced for daylight
    _Light((0.24, 0.0, -0.28)),  # shade outdoors, balanced for lamps
    _Light((-0.04, 0.02, -0.04), exposure=-0.55, saturation=-0.4, noise=5.0),  # at night: dark, grey, grainy
    _Light((-0.16, 0.08, -0.14), saturation=-0.15),  # green fluorescent tubes
    _Light((0.02, 0.0, 0.06), exposure=0.35, saturation=0.2),  # against a window, overexposed
)
_GAMMA = (-0.25, 0.3)  # range of the offset at strength 1
_SATURATION = (-0.25, 0.25)
_CAST_DRIFT, _EXPOSURE_DRIFT = 0.14, 0.16  # shares at strength 1
_LONGEST_EXPOSURE_S = 1 / 8  # usual limit of cheap cameras' slow shutter at 10 to 15 frames per second
_LEAST_LEVEL = 0.4  # of the brightest camera's longest exposure, over the darkest one's
_GAIN_NOISE = 2.0  # grey values of noise that come with the longest exposure
_DEFOCUS_PX = 4.0  # radius at strength 1, 640 × 360
_NEAR_PX = 350.0  # height of the nearest person where legs are cut off
_FAR_SHARE = 0.85  # of that height, at the far end of the lanes
_NEAR_FEET = (285.0, 235.0)  # rows of the feet where heads are cut off, at 360 px
_STEEPNESS = 0.8  # `person_share` there: a camera that looks down


def harden(cameras: Sequence[SyntheticCamera], difficulty: Difficulty, seed: int) -> tuple[SyntheticCamera, ...]:
    """The cameras with the given difficulties; each difficulty draws from a generator of its own."""
    cut = [_cut(camera, i, difficulty.truncation) for i, camera in enumerate(cameras)]
    lit = _light(cut, difficulty.colour_cast, np.random.default_rng([seed, 9]))
    blurred = _blur(lit, difficulty, np.random.default_rng([seed, 10]))
    return tuple(_furnish(camera, i, difficulty, seed) for i, camera in enumerate(blurred))


def _cut(camera: SyntheticCamera, number: int, share: float) -> SyntheticCamera:
    """Every second camera so near that `share` of a body is cut off at most: legs and heads in turn."""
    if share == 0 or number % 2 == 0:
        return camera
    if number % 4 == 1:
        near_y, far_y = camera.height_px + share * _NEAR_PX, camera.height_px + 0.5 * share * _FAR_SHARE * _NEAR_PX
        person_share = (1 - _FAR_SHARE) * _NEAR_PX / (near_y - far_y)
        horizon_y = near_y - _NEAR_PX / person_share
    else:
        near_y, far_y = _NEAR_FEET
        person_share = _STEEPNESS
        horizon_y = far_y - far_y / (1 - share) / person_share
    return replace(camera, horizon_y=horizon_y, person_share=person_share, near_y=near_y, far_y=far_y)


def _light(cameras: Sequence[SyntheticCamera], strength: float, rng: np.random.Generator) -> list[SyntheticCamera]:
    if strength == 0:
        return list(cameras)
    order = rng.permutation(len(_LIGHTS))
    return [_under(camera, _LIGHTS[int(order[i % len(_LIGHTS)])], strength, rng) for i, camera in enumerate(cameras)]


def _under(camera: SyntheticCamera, light: _Light, strength: float, rng: np.random.Generator) -> SyntheticCamera:
    blue, green, red = (old * (1 + strength * offset) for old, offset in zip(camera.cast, light.cast, strict=True))
    return replace(
        camera,
        cast=(blue, green, red),
        exposure=camera.exposure * (1 + strength * light.exposure),
        gamma=camera.gamma * (1 + strength * float(rng.uniform(*_GAMMA))),
        saturation=1 + strength * (light.saturation + float(rng.uniform(*_SATURATION))),
        noise=camera.noise + strength * light.noise,
        drift=camera.drift + strength * _EXPOSURE_DRIFT * float(rng.uniform(0.3, 1)),
        cast_drift=strength * _CAST_DRIFT * float(rng.uniform(0.3, 1)),
    )


def _blur(
    cameras: Sequence[SyntheticCamera], difficulty: Difficulty, rng: np.random.Generator
) -> list[SyntheticCamera]:
    levels = rng.permutation(np.linspace(1, _LEAST_LEVEL, len(cameras))) if cameras else np.zeros(0)
    out_of_focus = rng.uniform(_LEAST_LEVEL, 1, len(cameras))
    phases_s = rng.uniform(0, 60, len(cameras))
    return [
        replace(
            camera,
            exposure_s=difficulty.motion_blur * _LONGEST_EXPOSURE_S * float(level),
            noise=camera.noise + difficulty.motion_blur * _GAIN_NOISE * float(level),
            defocus_px=difficulty.defocus * _DEFOCUS_PX * float(unsharp),
            phase_s=float(phase_s),
        )
        for camera, level, unsharp, phase_s in zip(cameras, levels, out_of_focus, phases_s, strict=True)
    ]


def _furnish(camera: SyntheticCamera, number: int, difficulty: Difficulty, seed: int) -> SyntheticCamera:
    metres_wide = camera.width_px / camera.px_per_m(0.5)
    rng = np.random.default_rng([seed, 11, number])
    return replace(camera, obstacles=place_obstacles(difficulty.occluders, difficulty.trolleys, metres_wide, rng))

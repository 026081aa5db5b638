"""Clean plates against the true background: the error after a minute, and how soon a change of light is followed."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np

from background.footage import Shot, empty_pictures, shots
from pipeline.background.background_model import BackgroundModel
from pipeline.scenes.walks import Scenario
from pipeline.types import FloatArray, Frame, ImageArray

EVERY_S = 1.0  # between two lessons, as a camera's worker gives them
CHANGE_S = 30.0  # when the light changes
GOOD = 3.0  # levels: mean absolute error of a good plate
_SLACK_S = 1e-6

Light = Callable[[ImageArray], ImageArray]


@dataclass(frozen=True, slots=True)
class PlateFigures:
    """Mean absolute errors in levels; `follows_s`: seconds from a change of light until the error is good for good."""

    error: float
    coverage: float
    follows_s: float | None


def unchanged(image: ImageArray) -> ImageArray:
    return image


def dimmed(image: ImageArray) -> ImageArray:
    """All lamps at 70 %."""
    return (image * np.float32(0.7)).astype(np.uint8)


def lamp_on(image: ImageArray) -> ImageArray:
    """A lamp over the left of the picture: 60 levels more there, fading out to the middle."""
    across = np.linspace(0, 1, image.shape[1], dtype=np.float32)[None, :, None]
    return np.clip(image + 60 * np.clip((0.55 - across) / 0.15, 0, 1), 0, 255).astype(np.uint8)


def lamp_off(image: ImageArray) -> ImageArray:
    """The right half of the picture at 45 %."""
    across = np.linspace(0, 1, image.shape[1], dtype=np.float32)[None, :, None]
    return (image * (1 - 0.55 * np.clip((across - 0.45) / 0.1, 0, 1))).astype(np.uint8)


def measure_plate(scenario: Scenario, camera_id: str, light: Light) -> PlateFigures:
    """The plate of one camera over the scenario, whose light changes at CHANGE_S."""
    model = BackgroundModel()
    errors: list[tuple[float, float]] = []
    for frame, boxes, empty in _lessons(scenario, camera_id, light):
        model.update(frame, boxes)
        plate = model.plate()
        if plate is not None:
            errors.append((frame.captured_at_s, float(np.abs(plate.image.astype(np.float32) - empty).mean())))
    bad = [at_s for at_s, error in errors if at_s >= CHANGE_S and error >= GOOD]
    follows_s = None if bad and bad[-1] == errors[-1][0] else (bad[-1] + EVERY_S - CHANGE_S if bad else 0.0)
    return PlateFigures(errors[-1][1], model.coverage, follows_s)


def _lessons(scenario: Scenario, camera_id: str, light: Light) -> Iterator[tuple[Frame, FloatArray, ImageArray]]:
    due_s = 0.0
    for shot, empty in zip(shots(scenario, camera_id), empty_pictures(scenario, camera_id), strict=True):
        at_s = shot.frame.captured_at_s
        if at_s < due_s - _SLACK_S:
            continue
        due_s = at_s + EVERY_S
        change = light if at_s >= CHANGE_S else unchanged
        frame = replace(shot.frame, image=change(shot.frame.image))
        yield frame, _boxes(shot), change(empty)


def _boxes(shot: Shot) -> FloatArray:
    return np.array([one.xyxy for one in shot.seen], np.float32).reshape(-1, 4)

"""A person as another camera would have coloured them, by colour statistics.

Camera style (Zhong et al., "Camera Style Adaptation for Person Re-identification", CVPR 2018) trains a CycleGAN for
every pair of cameras and adds its pictures to the real ones. Here the colours alone are carried over: in Lab, the
picture's values are taken from the mean and deviation of its camera to those of the other (Reinhard et al., "Color
Transfer between Images", IEEE CG&A 2001). That costs no training and carries over casts, exposure and contrast, but
neither resolution nor background. The paper smooths the labels of changed pictures (section 3.4); a recipe does so for
all alike, by `smoothing` of the identity loss.
"""

from collections.abc import Iterable, Mapping

import cv2
import numpy as np

from pipeline.types import FloatArray, ImageArray

PICTURES_A_CAMERA = 64  # whose colours are counted: more change the mean by less than a grey value
_LEAST_DEVIATION = 1.0  # grey values: of a camera that shows one flat colour


class CameraStyles:
    """Mean and deviation of each camera's colours, (3,) each, in OpenCV's 8-bit Lab."""

    def __init__(self, statistics: Mapping[int, tuple[FloatArray, FloatArray]]) -> None:
        self._statistics = dict(sorted(statistics.items()))

    @staticmethod
    def measured(pictures: Iterable[tuple[int, ImageArray]]) -> "CameraStyles":
        """From (camera_id, picture (H, W, 3) uint8 BGR)."""
        values: dict[int, list[FloatArray]] = {}
        for camera, picture in pictures:
            values.setdefault(camera, []).append(_to_lab(picture).reshape(-1, 3))
        found = {}
        for camera, parts in values.items():
            pixels = np.concatenate(parts)
            found[camera] = (pixels.mean(axis=0), np.maximum(pixels.std(axis=0), _LEAST_DEVIATION))
        return CameraStyles(found)

    def restyle(self, pictures: ImageArray, camera: int, rng: np.random.Generator) -> ImageArray:
        """(N, H, W, 3) uint8 BGR in the colours of another camera; as they are where there is no other."""
        others = [other for other in self._statistics if other != camera]
        if camera not in self._statistics or not others:
            return pictures
        mean, deviation = self._statistics[camera]
        new_mean, new_deviation = self._statistics[others[int(rng.integers(len(others)))]]
        return np.stack([_carry(p, (mean, deviation), (new_mean, new_deviation)) for p in pictures])


def _carry(picture: ImageArray, old: tuple[FloatArray, FloatArray], new: tuple[FloatArray, FloatArray]) -> ImageArray:
    lab = (_to_lab(picture) - old[0]) * (new[1] / old[1]) + new[0]
    whole = np.asarray(np.clip(np.rint(lab), 0, 255), np.uint8)
    return np.asarray(cv2.cvtColor(whole, cv2.COLOR_LAB2BGR), np.uint8)


def _to_lab(picture: ImageArray) -> FloatArray:
    return cv2.cvtColor(np.ascontiguousarray(picture), cv2.COLOR_BGR2LAB).astype(np.float32)

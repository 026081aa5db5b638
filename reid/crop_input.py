"""What a network wants to be shown: the size of its crops, and how their bytes become numbers. No PyTorch."""

from dataclasses import dataclass
from typing import Any, Final, Literal

import cv2
import numpy as np

from pipeline.types import FloatArray, ImageArray
from reid.crops import CROP_HEIGHT_PX, CROP_WIDTH_PX, IMAGENET_MEAN, IMAGENET_STD

Triple = tuple[float, float, float]
Colours = Literal["rgb", "bgr"]

# Mean and deviation for values 0 to 1, by the range of the numbers that the network wants.
PIXEL_RANGES: Final[dict[str, tuple[Triple, Triple]]] = {
    "imagenet": (IMAGENET_MEAN, IMAGENET_STD),
    "0..1": ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0)),
    "-1..1": ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
    "0..255": ((0.0, 0.0, 0.0), (1 / 255, 1 / 255, 1 / 255)),
}


@dataclass(frozen=True, slots=True)
class CropInput:
    """Size and normalisation of a network's input (B, 3, height_px, width_px).

    Attributes:
        mean, std: for values 0 to 1, in the order of `colours`.
    """

    height_px: int = CROP_HEIGHT_PX
    width_px: int = CROP_WIDTH_PX
    mean: Triple = IMAGENET_MEAN
    std: Triple = IMAGENET_STD
    colours: Colours = "rgb"

    def normalise(self, crops: ImageArray) -> FloatArray:
        """(B, height_px, width_px, 3) uint8 BGR -> (B, 3, height_px, width_px) float32."""
        levels = np.arange(256, dtype=np.float32) / 255
        tables = [(levels - np.float32(m)) / np.float32(s) for m, s in zip(self.mean, self.std, strict=True)]
        order = slice(None) if self.colours == "bgr" else slice(None, None, -1)
        planes = np.empty((len(crops), 3, *crops.shape[1:3]), np.float32)
        for crop, of_crop in zip(crops, planes, strict=True):  # loops: 20 times as fast as NumPy over strided bytes
            for plane, table, out in zip(cv2.split(crop)[order], tables, of_crop, strict=True):
                cv2.LUT(plane, table, dst=out)
        return planes


def read_crop_input(values: dict[str, Any]) -> CropInput:
    """The value whose fields are `values`, as JSON holds them.

    Raises:
        ValueError: not such values.
    """
    try:
        mean, std = (tuple(float(x) for x in values[name]) for name in ("mean", "std"))
        found = CropInput(int(values["height_px"]), int(values["width_px"]), mean, std, values["colours"])  # type: ignore[arg-type]
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"crop input: expected sizes, mean, std and colours; got {values!r} ({error})") from None
    if len(mean) != 3 or len(std) != 3 or min(std) <= 0 or found.colours not in ("rgb", "bgr"):
        raise ValueError(f"crop input: expected 3 means, 3 positive deviations and rgb or bgr; got {values!r}")
    return found

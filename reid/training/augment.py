"""Changes clips of pictures as cameras, detectors and furniture do. NumPy and OpenCV; randomness is handed in."""

import cv2
import numpy as np

from pipeline.types import ImageArray
from reid.training.camera_style import CameraStyles
from reid.training.recipe import AugmentRecipe

_SHAPE = (0.3, 3.3)  # height over width of an erased rectangle (Zhong et al., AAAI 2020, section 4.2)
_TRIES = 10  # to find a rectangle that fits; the paper's program tries 100, most fit at once


def augment_clip(
    pictures: ImageArray, camera: int, recipe: AugmentRecipe, styles: CameraStyles | None, rng: np.random.Generator
) -> ImageArray:
    """A changed copy of one clip.

    Flip, crop and colours are those of the whole clip, because a camera does not change from picture to picture; what
    is erased is another place in every picture, because people walk behind things.

    Args:
        pictures: (N, H, W, 3) uint8 BGR.
        camera: camera_id of the clip.
        styles: None: no camera style.
    """
    changed = pictures[:, :, ::-1] if rng.random() < recipe.flip else pictures
    if rng.random() < recipe.crop:
        changed = _shifted(changed, recipe.crop_px, rng)
    if styles is not None and rng.random() < recipe.camera_style:
        changed = styles.restyle(changed, camera, rng)
    if recipe.jitter > 0:
        changed = jitter(changed, recipe.jitter, rng)
    changed = np.array(changed, np.uint8, order="C")
    for picture in changed:
        if rng.random() < recipe.erase:
            erase(picture, recipe.erase_area, rng)
    return changed


def jitter(pictures: ImageArray, most: float, rng: np.random.Generator) -> ImageArray:
    """Brightness, contrast and saturation, each multiplied by one factor of 1 - `most` to 1 + `most`, in this order."""
    brightness, contrast, saturation = 1 + rng.uniform(-most, most, 3)
    values = pictures.astype(np.float32) * np.float32(brightness)
    values = values.mean() + (values - values.mean()) * np.float32(contrast)
    grey = values @ np.array([0.114, 0.587, 0.299], np.float32)  # ITU-R BT.601, of blue, green, red
    values = grey[..., None] + (values - grey[..., None]) * np.float32(saturation)
    return np.asarray(np.clip(np.rint(values), 0, 255), np.uint8)


def erase(picture: ImageArray, area: tuple[float, float], rng: np.random.Generator) -> None:
    """Fill a random rectangle of one picture (H, W, 3) with random colours, in place (Zhong et al., section 4.2)."""
    height, width = picture.shape[:2]
    for _ in range(_TRIES):
        pixels = rng.uniform(*area) * height * width
        shape = np.exp(rng.uniform(*np.log(_SHAPE)))
        rows, columns = round(float(np.sqrt(pixels * shape))), round(float(np.sqrt(pixels / shape)))
        if 0 < rows < height and 0 < columns < width:
            top, left = int(rng.integers(height - rows)), int(rng.integers(width - columns))
            picture[top : top + rows, left : left + columns] = rng.integers(0, 256, (rows, columns, 3), np.uint8)
            return


def _shifted(pictures: ImageArray, margin_px: int, rng: np.random.Generator) -> ImageArray:
    """The clip, black around it, cut out at another place: as a detector's box that is not quite right."""
    height, width = pictures.shape[1:3]
    top, left = rng.integers(0, 2 * margin_px + 1, 2).tolist()
    moved = [
        cv2.copyMakeBorder(np.ascontiguousarray(p), *(margin_px,) * 4, cv2.BORDER_CONSTANT)[
            top : top + height, left : left + width
        ]
        for p in pictures
    ]
    return np.stack(moved)

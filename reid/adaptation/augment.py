"""Changes pictures of people as cameras and furniture do, for training; NumPy only."""

import numpy as np

from pipeline.types import ImageArray

_GAIN = 0.25  # of brightness and of each colour: the spread between two cameras of one room
_ERASED = 0.4  # of pictures lose a rectangle (Zhong et al., AAAI 2020, erase half of them)
_COVERED = 0.4  # of pictures are covered by a piece of another one, as furniture and people in front do
_LEAST, _MOST = 0.15, 0.45  # of the height or width that is covered


def augment(pictures: ImageArray, others: ImageArray, rng: np.random.Generator) -> ImageArray:
    """Flipped, recoloured, partly erased and partly covered copies.

    Args:
        pictures: (b, H, W, 3) uint8. others: (m, H, W, 3) uint8, m >= 1, what covers them is cut from.
    """
    return np.stack([_augment_one(picture, others, rng) for picture in pictures]) if len(pictures) else pictures.copy()


def _augment_one(picture: ImageArray, others: ImageArray, rng: np.random.Generator) -> ImageArray:
    changed = picture[:, ::-1] if rng.random() < 0.5 else picture
    gain = np.exp(rng.uniform(-_GAIN, _GAIN) + rng.uniform(-_GAIN, _GAIN, 3) / 2)
    changed = np.clip(changed * gain, 0, 255).astype(np.uint8)
    if rng.random() < _COVERED:
        _cover(changed, others[rng.integers(len(others))], rng)
    if rng.random() < _ERASED:
        top, left, height, width = _rectangle(changed.shape[0], changed.shape[1], rng)
        changed[top : top + height, left : left + width] = rng.integers(0, 256, 3)
    return changed


def _cover(picture: ImageArray, other: ImageArray, rng: np.random.Generator) -> None:
    """Put the same edge of `other` over the lower part, or over one side, of `picture`."""
    height, width = picture.shape[:2]
    share = rng.uniform(_LEAST, _MOST)
    rows, columns = max(int(share * height), 1), max(int(share * width), 1)
    where = int(rng.integers(3))
    if where == 0:
        picture[-rows:] = other[-rows:]
    elif where == 1:
        picture[:, :columns] = other[:, :columns]
    else:
        picture[:, -columns:] = other[:, -columns:]


def _rectangle(height: int, width: int, rng: np.random.Generator) -> tuple[int, int, int, int]:
    rows, columns = (max(int(size * rng.uniform(_LEAST, _MOST)), 1) for size in (height, width))
    return int(rng.integers(0, height - rows + 1)), int(rng.integers(0, width - columns + 1)), rows, columns

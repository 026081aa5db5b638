"""A plain data set on disk, of generated people under three cameras' light."""

from pathlib import Path

import cv2
import numpy as np

from pipeline.scenes.people import make_people

CASTS = ((1.0, 1.0, 1.0), (0.75, 0.85, 0.95), (1.15, 1.05, 0.95))  # gains of blue, green and red of each camera


def write_people(root: Path, people: int = 4, cameras: int = 3, pictures: int = 5, seed: int = 0) -> Path:
    """`root/<person>/<camera>/<tracklet>/*.jpg`: crops of 64 x 128 px, the person a little off in each."""
    rng = np.random.default_rng(seed)
    for person in make_people(people, seed):
        for camera in range(cameras):
            folder = root / f"person{person.person_id}" / f"cam{camera}" / "t1"
            folder.mkdir(parents=True)
            for number in range(pictures):
                image = _crop(person.image, person.alpha, CASTS[camera % 3], rng)
                cv2.imwrite(str(folder / f"{number:03}.jpg"), image)
    return root


def _crop(image: np.ndarray, alpha: np.ndarray, cast: tuple[float, float, float], rng: np.random.Generator):
    width, height = 64, 128
    wall = cv2.resize(rng.integers(70, 190, (8, 4, 1), np.uint8), (width, height))[..., None]
    tall = int(height * rng.uniform(0.85, 0.97))
    wide = min(width, round(image.shape[1] * tall / image.shape[0]))
    body = cv2.resize(image, (wide, tall), interpolation=cv2.INTER_AREA)
    cover = cv2.resize(alpha, (wide, tall), interpolation=cv2.INTER_AREA)[..., None] / 255
    crop = np.repeat(wall, 3, axis=2).astype(np.float64)
    left, top = int(rng.integers(0, width - wide + 1)), int(rng.integers(0, height - tall + 1))
    patch = crop[top : top + tall, left : left + wide]
    patch[:] = body * cover + patch * (1 - cover)
    return np.clip(crop * cast + rng.normal(0, 3, crop.shape), 0, 255).astype(np.uint8)

"""A training part of a few flat-coloured people, and recipes that take seconds."""

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np

from reid.datasets.tracklets import DataSet, ImageTracklet
from reid.training.reading import parse_recipe
from reid.training.recipe import Recipe

SMALL = """
pictures: {height_px: 64, width_px: 32, readers: 0}
batch: {people: 3, tracklets: 2, frames: 2, sampling: restricted}
augment: {flip: 0.5, erase: 0.5, jitter: 0.1, crop: 0.5, crop_px: 3, camera_style: 0.5}
model: {backbone: osnet_x0_25, weights: null, head: {name: plain, stripes: 2}}
losses: [{name: identity, smoothing: 0.1}, {name: trihard, margin: 0.3, normalise: true}]
schedule: {rate: 0.002, epochs: 4, milestones: [3], warm_up_epochs: 1}
run: {save_every_steps: 3, tensorboard: false}
"""


def small_recipe(**changes: object) -> Recipe:
    """`SMALL` with other sections: `small_recipe(batch={"people": 2})`."""
    recipe = parse_recipe(SMALL)
    for section, values in changes.items():
        if isinstance(values, dict):
            values = replace(getattr(recipe, section), **values)
        recipe = replace(recipe, **{section: values})
    return recipe


def write_data_set(root: Path, people: int = 5, cameras: int = 2, pictures: int = 3) -> DataSet:
    """Every person, with two colours of their own, once before each camera; the last two are asked for."""
    rng = np.random.default_rng(0)
    tracklets = []
    for person in range(1, people + 1):
        top, legs = rng.integers(0, 256, (2, 3))
        for camera in range(cameras):
            tracklets.append(_write_tracklet(root, (person, camera), (top, legs), pictures, rng))
    test = tuple(t for t in tracklets if t.person_id > people - 2)
    train = tuple(t for t in tracklets if t.person_id <= people - 2)
    return DataSet("small", train, tuple(t for t in test if t.camera_id == 0), test)


def _write_tracklet(
    root: Path, who: tuple[int, int], colours: tuple[np.ndarray, np.ndarray], pictures: int, rng: np.random.Generator
) -> ImageTracklet:
    folder = root / f"{who[0]:04}" / f"cam{who[1]}" / "t1"
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for number in range(pictures):
        image = np.full((64, 32, 3), 128.0)
        image[8:32, 6:26], image[32:60, 8:24] = colours
        image = image * (0.8 + 0.3 * who[1]) + rng.normal(0, 6, image.shape)
        paths.append(folder / f"{number:03}.png")
        cv2.imwrite(str(paths[-1]), np.clip(image, 0, 255).astype(np.uint8))
    return ImageTracklet(who[0], who[1], tuple(paths))

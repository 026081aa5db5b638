"""Encoded crops of everybody in every camera of a site, to be used again and again where rendering would take hours.

Everybody walks through every camera a few times, a little behind each other, under the light of that moment; boxes are
shaken as the detector's are; every half second a crop goes through the real encoder.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from pipeline.ports import CropEncoder
from pipeline.scenes.clips import CameraViews, person_views
from pipeline.scenes.ground_plan import see_path
from pipeline.scenes.paths import Walk
from pipeline.scenes.roaming import Port, Roamers
from pipeline.scenes.sites import Site
from pipeline.scenes.walks import Scenario
from pipeline.tracking.quality import frame_qualities, pixel_window, sharpness
from pipeline.types import CropFeature, CropQuality, Frame, Tracks

EVERY_S = 0.5
APART_S = 3.0  # between two who enter: two or three are in the picture at once, and hide each other at times
LEAST_VISIBLE = 0.25
CONFIDENCE = 0.85  # of boxes, the usual one of the detector on these figures
_QUALITIES = ("height_px", "sharpness", "truncation", "overlap", "confidence")


@dataclass(frozen=True, eq=False, slots=True)
class PoolStay:
    """One stay of one person: crops in order of time, and where in the stay each was taken, 0 to 1."""

    crops: tuple[CropFeature, ...]
    progress: npt.NDArray[np.float32]


@dataclass(frozen=True, eq=False, slots=True)
class CropPool:
    """(person, camera) → stays."""

    stays: Mapping[tuple[int, str], Sequence[PoolStay]]
    model_id: str


def fill_pool(site: Site, encoder: CropEncoder, stays: int, shake: float, rng: np.random.Generator) -> CropPool:
    """`stays` of everybody in every camera.

    Args:
        shake: largest shift of a box's edges, as a share of its sides.
    """
    filled: dict[tuple[int, str], list[PoolStay]] = defaultdict(list)
    for views in person_views(_parade(site, stays, rng), EVERY_S, shake, rng, least_visible=LEAST_VISIBLE):
        crops: list[list[CropFeature]] = [[] for _ in views.stays]
        for place, crop in _encoded(views, encoder):
            crops[place].append(crop)
        for stay, own in zip(views.stays, crops, strict=True):
            times = np.array([crop.captured_at_s for crop in own])
            progress = (times - times[0]) / max(float(times[-1] - times[0]), EVERY_S)
            filled[stay.person_id, stay.camera_id].append(PoolStay(tuple(own), progress.astype(np.float32)))
    return CropPool(dict(filled), encoder.describe().model_id)


def _parade(site: Site, stays: int, rng: np.random.Generator) -> Scenario:
    """Everybody through every place `stays` times, one after the other, from both sides."""
    scenario = site.scenario
    roamers = Roamers(site.places, (), replace(site.habits, company=0.0), np.inf)
    walks: list[Walk] = []
    for place in site.places:
        cameras = [camera for camera in scenario.cameras if camera.id in place.cameras]
        people = np.concatenate([rng.permutation([p.person_id for p in scenario.people]) for _ in range(stays)])
        for turn, person_id in enumerate(people.tolist()):
            port = Port(place.id, "left" if rng.random() < 0.5 else "right")
            crossing = roamers.cross(person_id, port, turn * APART_S, rng)
            while crossing.leave == crossing.enter:  # who turns back is not seen by every camera
                crossing = roamers.cross(person_id, port, turn * APART_S, rng)
            walks += [w for c in cameras if (w := see_path(crossing.path, c, site.placements[c.id])) is not None]
    end_s = max((walk.end_s for walk in walks), default=0.0)
    return replace(scenario, walks=tuple(walks), duration_s=end_s)


def _encoded(views: CameraViews, encoder: CropEncoder) -> Iterator[tuple[int, CropFeature]]:
    """(place of the stay, crop) of every box."""
    for frame, places, boxes in views.frames():
        numbers = np.arange(len(boxes))
        tracks = Tracks(numbers, boxes, np.full(len(boxes), CONFIDENCE, np.float32))
        qualities = frame_qualities(frame, tracks)
        features = encoder.encode([frame], [boxes])[0]
        for place, box, feature, quality in zip(places, boxes, features, qualities, strict=True):
            sharp = replace(quality, sharpness=_sharpness(frame, box))
            yield place, replace(feature, captured_at_s=frame.captured_at_s, quality=sharp)


def _sharpness(frame: Frame, box: npt.NDArray[np.float32]) -> float:
    x1, y1, x2, y2 = pixel_window(box, frame.image.shape[1], frame.image.shape[0])
    return sharpness(frame.image[y1:y2, x1:x2])


def save_pool(pool: CropPool, path: Path) -> None:
    """Write a pool as one .npz."""
    rows = [(key, n, stay) for key, stays in sorted(pool.stays.items()) for n, stay in enumerate(stays)]
    crops = [crop for _, _, stay in rows for crop in stay.crops]
    lengths = [len(stay.crops) for _, _, stay in rows]
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez(
        path,
        model_id=np.array(pool.model_id),
        person=np.array([key[0] for key, _, _ in rows]),
        camera=np.array([key[1] for key, _, _ in rows]),
        lengths=np.array(lengths),
        progress=np.concatenate([stay.progress for _, _, stay in rows]),
        at_s=np.array([crop.captured_at_s for crop in crops]),
        stripes=np.stack([crop.stripes for crop in crops]).astype(np.float16),
        energy=np.stack([crop.energy for crop in crops]),
        quality=np.array([[getattr(crop.quality, name) for name in _QUALITIES] for crop in crops]),
    )


def load_pool(path: Path) -> CropPool:
    """Read what `save_pool` wrote."""
    with np.load(path, allow_pickle=False) as kept:
        model_id = str(kept["model_id"])
        stripes, energy = kept["stripes"].astype(np.float32), kept["energy"]
        at_s, quality, progress = kept["at_s"], kept["quality"], kept["progress"]
        ends = np.cumsum(kept["lengths"])
        keys = list(zip(kept["person"].tolist(), kept["camera"].tolist(), strict=True))
    crops = [
        CropFeature(float(at_s[i]), stripes[i], energy[i], CropQuality(*quality[i].tolist()), model_id)
        for i in range(len(at_s))
    ]
    stays: dict[tuple[int, str], list[PoolStay]] = defaultdict(list)
    for key, start, end in zip(keys, [0, *ends[:-1].tolist()], ends.tolist(), strict=True):
        stays[key].append(PoolStay(tuple(crops[start:end]), progress[start:end]))
    return CropPool(dict(stays), model_id)

"""Any number of people who can be told apart, made from the two cutouts by recolouring clothes and hair."""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from pipeline.scenes.colours import HAIR, SHOES, Lab, Outfit, choose_outfits
from pipeline.scenes.cutouts import Cutout, read_cutouts
from pipeline.scenes.drawings import Region
from pipeline.types import ImageArray

LabImage = npt.NDArray[np.float32]

_SHADING_GAIN = 0.75  # of the lightness around its median: folds stay visible without burning out
_TINT_GAIN = 0.25  # of the old colour around its median: keeps the cloth's small differences
_ROUNDING = 14.0  # L* by which a garment darkens towards its sides, for cloth too dark to show shading
_DARK_CLOTH = 15.0  # L*: below this median the picture shows no shading of its own
_HEIGHTS = (0.94, 1.06)  # share of the average height, about 1.62 to 1.82 m
_SHEET_HEIGHT_PX = 320


@dataclass(frozen=True, eq=False, slots=True)
class Person:
    """One person of a scene.

    Attributes:
        person_id: from 1.
        image: (H, W, 3) uint8 BGR, not mirrored. alpha: (H, W) uint8, 255 = the person.
        regions: (H, W) bool of each garment, where it is seen.
        height: share of the average height.
        hip_row: first row of the legs. stride: narrowest and widest spread of the feet, as a share of the picture's.
        step: phase of the first step, 0 to 1.
    """

    person_id: int
    body: str
    outfit: Outfit
    hair: Lab
    image: ImageArray
    alpha: ImageArray
    regions: dict[Region, npt.NDArray[np.bool_]]
    hip_row: int
    stride: tuple[float, float]
    height: float
    step: float


def make_people(count: int, seed: int) -> list[Person]:
    """`count` people with ids from 1; any two of them keep `colours.minimum_distance(count)`.

    Raises:
        ValueError: a negative count. SourceUnavailable: the picture they are cut from is absent.
    """
    if count < 0:
        raise ValueError(f"expected a count of people of at least 0, got {count}")
    if count == 0:
        return []
    cutouts = read_cutouts()
    rng = np.random.default_rng([seed, 1])
    outfits = choose_outfits(count, rng)
    heights = rng.permutation(np.linspace(*_HEIGHTS, count))
    steps = rng.random(count)
    first_hair = int(rng.integers(len(HAIR)))
    people = []
    for i, outfit in enumerate(outfits):
        cutout = cutouts[i % len(cutouts)]
        hair = HAIR[(first_hair + i) % len(HAIR)]
        colours: dict[Region, Lab] = {
            "trousers": outfit.trousers,
            "shoes": SHOES[int(rng.integers(len(SHOES)))],
            "top": outfit.top,
            "hair": hair,
        }
        people.append(
            Person(
                person_id=i + 1,
                body=cutout.name,
                outfit=outfit,
                hair=hair,
                image=recolour(cutout, colours),
                alpha=cutout.alpha,
                regions={name: (cover > 0.5) & (cutout.alpha > 250) for name, cover in cutout.regions.items()},
                hip_row=cutout.hip_row,
                stride=cutout.stride,
                height=float(heights[i]),
                step=float(steps[i]),
            )
        )
    return people


def recolour(cutout: Cutout, colours: dict[Region, Lab]) -> ImageArray:
    """The cutout's picture with each named region in a new colour; light and shade stay."""
    lab = np.asarray(cv2.cvtColor(cutout.image.astype(np.float32) / 255, cv2.COLOR_BGR2Lab), np.float32)
    painted = lab.copy()
    for region, colour in colours.items():
        cover = cutout.regions[region]
        seen = (cover > 0.5) & (cutout.alpha > 250)
        if seen.any():
            painted += cover[:, :, None] * (_dye(lab, seen, colour) - painted)
    bgr = cv2.cvtColor(painted, cv2.COLOR_Lab2BGR)
    return np.asarray(np.clip(np.round(bgr * 255), 0, 255), np.uint8)


def _dye(lab: LabImage, seen: npt.NDArray[np.bool_], colour: Lab) -> LabImage:
    """`lab` as if all of it were the cloth under `seen`, dyed: its median becomes `colour`."""
    median = np.median(lab[seen], axis=0)
    offset = (lab - median) * np.array([_SHADING_GAIN, _TINT_GAIN, _TINT_GAIN], np.float32)
    if median[0] < _DARK_CLOTH:
        depth = cv2.distanceTransform(seen.astype(np.uint8), cv2.DIST_L2, 5)
        inner = depth / max(float(depth.max()), 1.0)
        rounding = inner - float(np.median(inner[seen]))
        offset[:, :, 0] += _ROUNDING * rounding
    dyed = offset + np.array(colour, np.float32)
    dyed[:, :, 0] = np.clip(dyed[:, :, 0], 2, 99)
    # colour fades towards black and white, where the screen has none
    room = np.minimum(dyed[:, :, 0], 100 - dyed[:, :, 0]) / max(min(colour.lightness, 100 - colour.lightness), 1.0)
    dyed[:, :, 1:] *= np.clip(room, 0, 1)[:, :, None] ** 0.5
    return np.asarray(dyed, np.float32)


def people_sheet(people: Sequence[Person]) -> ImageArray:
    """All people side by side on grey, at most eight in a row, each at its height; (H, W, 3) uint8 BGR."""
    columns = min(max(len(people), 1), 8)
    rows = -(-max(len(people), 1) // columns)
    cell_h, cell_w = round(_SHEET_HEIGHT_PX * _HEIGHTS[1]) + 30, 170
    sheet = np.full((rows * cell_h, columns * cell_w, 3), 150, np.uint8)
    for i, person in enumerate(people):
        height = round(_SHEET_HEIGHT_PX * person.height)
        width = round(person.image.shape[1] * height / person.image.shape[0])
        image = cv2.resize(person.image, (width, height), interpolation=cv2.INTER_AREA)
        alpha = cv2.resize(person.alpha, (width, height), interpolation=cv2.INTER_AREA)[:, :, None] / 255.0
        bottom, left = (i // columns + 1) * cell_h - 22, (i % columns) * cell_w + (cell_w - width) // 2
        patch = sheet[bottom - height : bottom, left : left + width]
        patch[:] = np.round(image * alpha + patch * (1 - alpha)).astype(np.uint8)
        cv2.putText(sheet, str(person.person_id), (left + width // 2 - 6, bottom + 17), 0, 0.5, (0, 0, 0), 1)
    return sheet

"""Any number of people who can be told apart, made from the two cutouts by recolouring clothes and hair."""

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import cv2
import numpy as np
import numpy.typing as npt

from pipeline.scenes.attire import (
    Attire,
    Likeness,
    Part,
    choose_attires,
    choose_quiet_attires,
    differing_parts,
    pair_lookalikes,
    vary,
)
from pipeline.scenes.colours import HAIR, SHOES, Lab, Outfit, choose_outfits
from pipeline.scenes.cutouts import Cutout, read_cutouts
from pipeline.scenes.drawings import Region
from pipeline.scenes.dyeing import dye, to_bgr, to_lab
from pipeline.scenes.garments import dress
from pipeline.types import ImageArray

Wardrobe = Literal["plain", "rich", "quiet"]

ChooseAttires: TypeAlias = Callable[[int, int, np.random.Generator], list[Attire]]

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
        attire: of the rich wardrobe, else None.
        likeness: whom this person was made to resemble, and the one part in which they differ.
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
    attire: Attire | None = None
    likeness: Likeness | None = None


def make_people(
    count: int,
    seed: int,
    wardrobe: Wardrobe = "plain",
    *,
    lookalikes: float = 0.0,
    alike: Mapping[int, Likeness] | None = None,
) -> list[Person]:
    """`count` people with ids from 1.

    Args:
        wardrobe: `plain` recolours four parts; any two people keep `colours.minimum_distance(count)`. `rich` adds
            patterns, hems, bags, hats, hair, skin and builds, for 60 people and more that can be told apart. `quiet`
            has the same parts, in the dark and plain colours that most people wear.
        lookalikes: share of the people that have a look-alike; not of the plain wardrobe.
        alike: id of a copy -> whom it resembles and but for what, instead of a share drawn at random. Both must have
            the same body: ids that are both odd or both even.

    Raises:
        ValueError: a negative count, a share outside 0 to 1, look-alikes in plain clothes, of two bodies, or of copies.
        SourceUnavailable: the picture they are cut from is absent.
    """
    if count < 0:
        raise ValueError(f"expected a count of people of at least 0, got {count}")
    if not 0 <= lookalikes <= 1:
        raise ValueError(f"expected a share of look-alikes of 0 to 1, got {lookalikes}")
    if wardrobe == "plain" and (lookalikes > 0 or alike):
        raise ValueError("expected the rich wardrobe for look-alikes, got the plain one")
    if count == 0:
        return []
    if wardrobe == "plain":
        return _plain_people(count, seed)
    choose = choose_attires if wardrobe == "rich" else choose_quiet_attires
    return _dressed_people(count, seed, choose, lookalikes, alike)


def _plain_people(count: int, seed: int) -> list[Person]:
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


def _dressed_people(
    count: int, seed: int, choose: ChooseAttires, lookalikes: float, alike: Mapping[int, Likeness] | None
) -> list[Person]:
    cutouts = read_cutouts()
    rng = np.random.default_rng([seed, 6])
    attires = choose(count, len(cutouts), rng)
    heights = rng.permutation(np.linspace(*_HEIGHTS, count))
    steps = rng.random(count)
    if alike is None:
        pairs = pair_lookalikes(count, len(cutouts), lookalikes, np.random.default_rng([seed, 7]))
        copies = _draw_parts(attires, pairs, rng)
    else:
        copies = _given_parts(count, len(cutouts), alike)
    models: dict[int, tuple[int, Part]] = {}
    for copy, model, part in copies:  # the drawing of parts and of what they become takes turns
        models[copy] = (model, part)
        attires[copy] = vary(attires[model], part, rng)
        if part != "body":
            heights[copy] = heights[model]
    return [
        _dressed_person(
            i + 1, cutouts[i % len(cutouts)], attires[i], (float(heights[i]), float(steps[i])), models.get(i)
        )
        for i in range(count)
    ]


def _draw_parts(
    attires: Sequence[Attire], pairs: Mapping[int, int], rng: np.random.Generator
) -> Iterator[tuple[int, int, Part]]:
    """(place of a copy, of its model, the part that differs), another part for each copy of a model."""
    drawn: dict[int, list[Part]] = defaultdict(list)
    for copy, model in pairs.items():
        parts, taken = differing_parts(attires[model]), drawn[model]
        part = parts[int(rng.integers(len(parts)))]
        taken.append(part if part not in taken else next(p for p in parts if p not in taken))
        yield copy, model, taken[-1]


def _given_parts(count: int, bodies: int, alike: Mapping[int, Likeness]) -> Iterator[tuple[int, int, Part]]:
    for copy_id, (model_id, part) in sorted(alike.items()):
        known = all(1 <= person_id <= count for person_id in (copy_id, model_id))
        if not known or copy_id == model_id or model_id in alike or (copy_id - model_id) % bodies:
            raise ValueError(
                f"alike: expected two of {count} people with the same body, the model nobody's copy, "
                f"got {copy_id} like {model_id}"
            )
        yield copy_id - 1, model_id - 1, part


def _dressed_person(
    person_id: int, cutout: Cutout, attire: Attire, gait: tuple[float, float], model: tuple[int, Part] | None
) -> Person:
    """`gait`: height and first step; `model`: place (from 0) of whom the person looks like, and the differing part."""
    dressed = dress(cutout, attire)
    return Person(
        person_id=person_id,
        body=cutout.name,
        outfit=Outfit(attire.top.colour, attire.trousers.colour),
        hair=attire.hair,
        image=dressed.image,
        alpha=dressed.alpha,
        regions=dressed.regions,
        hip_row=cutout.hip_row,
        stride=cutout.stride,
        height=gait[0],
        step=gait[1],
        attire=attire,
        likeness=None if model is None else Likeness(model[0] + 1, model[1]),
    )


def recolour(cutout: Cutout, colours: dict[Region, Lab]) -> ImageArray:
    """The cutout's picture with each named region in a new colour; light and shade stay."""
    lab = to_lab(cutout.image)
    painted = lab.copy()
    for region, colour in colours.items():
        cover = cutout.regions[region]
        seen = (cover > 0.5) & (cutout.alpha > 250)
        if seen.any():
            painted += cover[:, :, None] * (dye(lab, seen, colour) - painted)
    return to_bgr(painted)


def people_sheet(people: Sequence[Person]) -> ImageArray:
    """All people side by side on grey, at most eight in a row, each at its height; (H, W, 3) uint8 BGR."""
    columns = min(max(len(people), 1), 8)
    rows = -(-max(len(people), 1) // columns)
    widths = [round(_SHEET_HEIGHT_PX * p.height * p.image.shape[1] / p.image.shape[0]) for p in people]
    cell_h, cell_w = round(_SHEET_HEIGHT_PX * _HEIGHTS[1]) + 30, max([170, *widths])
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

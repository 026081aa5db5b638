"""The cutouts, their colours and the sheet."""

from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import pytest

from pipeline.errors import DecodeError, SourceUnavailable
from pipeline.scenes import cutouts
from pipeline.scenes.colours import (
    GUARANTEED_DISTANCE,
    TOPS,
    TROUSERS,
    Lab,
    Outfit,
    choose_outfits,
    least_distance,
    minimum_distance,
    outfit_distance,
)
from pipeline.scenes.cutouts import read_cutouts
from pipeline.scenes.drawings import COAT, FLEECE
from pipeline.scenes.people import Person, make_people, people_sheet


def seen_outfit(person: Person) -> Outfit:
    """The median colours of a person's top and trousers as they are in its picture."""
    lab = cv2.cvtColor(person.image.astype(np.float32) / 255, cv2.COLOR_BGR2Lab)
    top, trousers = (Lab(*np.median(lab[person.regions[name]], axis=0).tolist()) for name in ("top", "trousers"))
    return Outfit(top, trousers)


def test_both_people_are_cut_out_whole_at_their_height_in_the_picture() -> None:
    for cutout, drawing in zip(read_cutouts(), (FLEECE, COAT), strict=True):
        rows = np.flatnonzero((cutout.alpha >= 128).any(axis=1))
        corners = np.array(drawing.outline)
        assert abs(len(rows) - np.ptp(corners[:, 1])) <= 3
        assert cutout.image.shape[:2] == cutout.alpha.shape
        assert 0 < cutout.hip_row < len(cutout.alpha)


def test_every_region_covers_part_of_the_body_and_no_two_share_much() -> None:
    for cutout in read_cutouts():
        body = cutout.alpha > 250
        covers = {name: (cover > 0.5) & body for name, cover in cutout.regions.items()}
        assert all(cover.sum() > 500 for cover in covers.values())
        assert covers["top"].sum() > covers["trousers"].sum() > covers["shoes"].sum()
        assert (covers["top"] & covers["hair"]).sum() == 0


def test_an_absent_picture_is_an_error_that_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(cutouts.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(SourceUnavailable, match="pip install ultralytics"):
        read_cutouts()


def test_another_picture_is_refused(tmp_path: Path) -> None:
    (tmp_path / "bus.jpg").write_bytes(b"not a picture")
    with pytest.raises(DecodeError, match="810 × 1080"):
        read_cutouts(tmp_path / "bus.jpg")


def test_nobody_gives_no_people_and_still_a_sheet() -> None:
    assert make_people(0, seed=1) == []
    assert people_sheet([]).shape[2] == 3
    with pytest.raises(ValueError, match="at least 0"):
        make_people(-1, seed=1)


def test_the_same_seed_makes_the_same_people_and_another_seed_others() -> None:
    first, again, other = make_people(4, seed=3), make_people(4, seed=3), make_people(4, seed=4)
    assert all(np.array_equal(a.image, b.image) and a.height == b.height for a, b in zip(first, again, strict=True))
    assert not all(np.array_equal(a.image, b.image) for a, b in zip(first, other, strict=True))


@pytest.mark.parametrize(("count", "distance"), GUARANTEED_DISTANCE)
def test_chosen_outfits_keep_the_stated_distance_from_any_start(count: int, distance: float) -> None:
    starts = range(0, len(TOPS) * len(TROUSERS), 1 if count <= 12 else 16)
    for seed in starts:
        assert least_distance(choose_outfits(count, np.random.default_rng(seed))) >= distance


def test_the_stated_distance_falls_with_the_number_of_people() -> None:
    distances = [minimum_distance(count) for count in (2, 6, 7, 12, 24, 48, 128, 129)]
    assert distances == sorted(distances, reverse=True)
    assert distances[0] >= 40 and distances[-1] == 0
    assert all(a[0] < b[0] for a, b in pairwise(GUARANTEED_DISTANCE))


@pytest.mark.parametrize("count", [6, 12])
def test_the_colours_in_the_pictures_keep_nine_tenths_of_the_stated_distance(count: int) -> None:
    outfits = [seen_outfit(person) for person in make_people(count, seed=7)]
    assert least_distance(outfits) >= 0.9 * minimum_distance(count)


def test_recolouring_keeps_light_and_shade() -> None:
    cutout = read_cutouts()[0]
    person = make_people(1, seed=7)[0]
    body = person.regions["top"]
    before = cv2.cvtColor(cutout.image, cv2.COLOR_BGR2GRAY)[body]
    after = cv2.cvtColor(person.image, cv2.COLOR_BGR2GRAY)[body]
    assert np.corrcoef(before, after)[0, 1] > 0.8


def test_outfit_distance_is_the_root_mean_square_of_both_garments() -> None:
    black, white = Lab(0, 0, 0), Lab(100, 0, 0)
    assert outfit_distance(Outfit(black, black), Outfit(white, white)) == pytest.approx(100)
    assert outfit_distance(Outfit(black, black), Outfit(black, white)) == pytest.approx(100 / np.sqrt(2))
    assert outfit_distance(Outfit(black, white), Outfit(black, white)) == 0
    assert least_distance([]) == least_distance([Outfit(black, black)]) == float("inf")


def test_heights_differ_slightly_and_the_sheet_shows_everybody() -> None:
    people = make_people(9, seed=2)
    heights = [person.height for person in people]
    assert len(set(heights)) == 9 and min(heights) >= 0.94 and max(heights) <= 1.06
    sheet = people_sheet(people)
    rows = sheet.shape[0] // 2
    assert sheet.shape[1] == 8 * 170
    for block in (sheet[:rows], sheet[rows:, :170]):
        assert block.std() > 20
    assert np.all(sheet[rows:, 200:] == 150)

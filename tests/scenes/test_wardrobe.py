"""The rich wardrobe: many people who can be told apart, and look-alikes who hardly can."""

from dataclasses import fields, replace

import numpy as np
import pytest

from pipeline.retrieval import cmc_and_average_precision, cosine_distance
from pipeline.scenes.attire import (
    QUIET_TOPS,
    TWIN_DISTANCE,
    Attire,
    Cloth,
    Likeness,
    choose_quiet_attires,
    colour_distance,
    differing_parts,
    pair_lookalikes,
    vary,
)
from pipeline.scenes.colours import Lab
from pipeline.scenes.cutouts import read_cutouts
from pipeline.scenes.garments import dress
from pipeline.scenes.people import Person, make_people, people_sheet
from pipeline.scenes.scene import SceneCamera
from pipeline.scenes.walks import random_scenario
from pipeline.types import Frame
from reid.handcrafted import HandcraftedEncoder
from reid.heads import MeanHead

PLAIN_DRESS = Attire(
    top=Cloth(Lab(58, 0, 0)),
    trousers=Cloth(Lab(40, 0, -34)),
    shoes=Lab(22, 0, 0),
    hair=Lab(14, 2, 3),
    skin=Lab(64, 14, 22),
)


@pytest.fixture(scope="module")
def sixty() -> list[Person]:
    return make_people(60, 7, "rich")


def seen_by(person: Person, camera: SceneCamera, index: int) -> tuple[Frame, np.ndarray]:
    """The person alone in the middle of an empty room, under the camera's light; and its box."""
    image = camera.render(index)[0].image.copy()
    picture, alpha = person.image[::2, ::2], person.alpha[::2, ::2, None] / 255.0
    lit = np.take_along_axis(camera.camera.tone_curve(0.0)[0], picture.reshape(-1, 3).astype(int), axis=0)
    top, left = 350 - picture.shape[0], 250
    target = image[top : top + picture.shape[0], left : left + picture.shape[1]]
    target[:] = np.round(lit.reshape(picture.shape) * alpha + target * (1 - alpha))
    body = np.flatnonzero((alpha[:, :, 0] >= 0.5).any(axis=0))
    box = np.array([[left + body[0], top, left + body[-1] + 1, 350]], np.float32)
    return Frame(camera.camera.id, "1", index, 0.0, image), box


def test_sixty_people_are_found_again_in_another_camera_by_their_looks(sixty: list[Person]) -> None:
    rooms = random_scenario(0, 3, 1, 1)
    encoder = HandcraftedEncoder()
    head = MeanHead(encoder.describe())
    vectors = []
    for camera in (SceneCamera(rooms, one.id) for one in rooms.cameras):
        for person in sixty:
            frame, box = seen_by(person, camera, person.person_id % 10)
            vectors.append(head.fuse(encoder.encode([frame], [box])[0]).embedding)
    people, cameras = np.tile(np.arange(60), 3), np.repeat(np.arange(3), 60)
    embeddings = np.stack(vectors)
    scores = cmc_and_average_precision(cosine_distance(embeddings, embeddings), (people, cameras), (people, cameras))
    assert scores.mean_average_precision > 0.95


def test_the_same_seed_makes_the_same_people_and_another_seed_others() -> None:
    one, again, other = (make_people(4, seed, "rich")[3] for seed in (7, 7, 8))
    assert np.array_equal(one.image, again.image) and np.array_equal(one.alpha, again.alpha)
    assert one.attire == again.attire != other.attire


def test_sixty_people_wear_patterns_bags_hats_and_skin_of_every_kind(sixty: list[Person]) -> None:
    attires = [person.attire for person in sixty if person.attire is not None]
    assert len(set(attires)) == 60
    assert len({attire.top.pattern for attire in attires}) >= 6
    assert {attire.bag.kind for attire in attires if attire.bag} == {"shoulder", "backpack", "tote"}
    assert {attire.hat.kind for attire in attires if attire.hat} == {"beanie", "cap", "brim"}
    assert len({attire.skin for attire in attires}) == 4
    assert all(person.regions["top"].shape == person.alpha.shape == person.image.shape[:2] for person in sixty)
    assert people_sheet(sixty[:9]).std() > 20


@pytest.mark.parametrize(
    "change", ["top", "trousers", "shoes", "hair", "skin", "hem", "build", "long_hair", "bag", "hat"]
)
def test_each_item_of_an_attire_shows_in_the_picture(change: str, sixty: list[Person]) -> None:
    cutout = read_cutouts()[0]
    worn = [getattr(p.attire, change) for p in sixty]
    other = next(value for value in worn if value not in (None, getattr(PLAIN_DRESS, change)))
    before, after = dress(cutout, PLAIN_DRESS), dress(cutout, replace(PLAIN_DRESS, **{change: other}))
    if before.image.shape == after.image.shape:
        seen = np.maximum(before.alpha, after.alpha) > 128
        assert (np.abs(before.image.astype(int) - after.image)[seen].max(axis=1) > 20).mean() > 0.004
    else:
        assert change in ("build", "bag", "hat", "long_hair")


@pytest.mark.parametrize("pattern", ["stripes", "pinstripes", "checks", "halves", "print", "dots"])
def test_a_pattern_shows_both_colours_on_the_garment_and_nowhere_else(pattern: str) -> None:
    cutout = read_cutouts()[1]
    white = Cloth(Lab(88, 0, 4), pattern, Lab(24, 2, -8))  # type: ignore[arg-type]
    plain, patterned = (
        dress(cutout, replace(PLAIN_DRESS, top=cloth)) for cloth in (white._replace(pattern="plain"), white)
    )
    dark = patterned.image.mean(axis=2) < plain.image.mean(axis=2) - 60
    assert 0.1 < dark[plain.regions["top"]].mean() < 0.8
    assert dark[plain.regions["trousers"] & ~plain.regions["top"]].mean() < 0.02


# --- look-alikes ------------------------------------------------------------------------------------------------------


def differing(first: Attire, second: Attire) -> set[str]:
    return {field.name for field in fields(Attire) if getattr(first, field.name) != getattr(second, field.name)}


def test_lookalikes_differ_in_exactly_the_stated_part() -> None:
    people = make_people(40, 5, "rich", lookalikes=0.5)
    copies = [person for person in people if person.likeness is not None]
    involved = {person.person_id for person in copies} | {person.likeness.person_id for person in copies}  # type: ignore
    assert abs(len(involved) - 20) <= 2
    parts = set()
    for person in copies:
        assert person.likeness is not None and person.attire is not None
        model = people[person.likeness.person_id - 1]
        assert model.attire is not None and model.likeness is None
        assert model.body == person.body and model.height == person.height
        assert differing(person.attire, model.attire) == {person.likeness.part}
        parts.add(person.likeness.part)
    assert len(parts) >= 3
    assert len({person.attire for person in people}) == 40  # three of a kind differ from each other as well


def test_lookalikes_pictures_differ_where_they_are_said_to_and_nowhere_else() -> None:
    people = make_people(40, 5, "rich", lookalikes=1.0)
    compared = 0
    for person in people:
        if person.likeness is None or person.likeness.part not in ("top", "hair", "shoes"):
            continue
        model = people[person.likeness.person_id - 1]
        assert np.array_equal(person.alpha, model.alpha)
        changed = np.abs(person.image.astype(int) - model.image).max(axis=2) > 12
        assert changed[person.regions[person.likeness.part]].mean() > 0.3
        if person.likeness.part != "top":
            assert changed[person.regions["trousers"]].mean() < 0.05
            assert changed[person.regions["top"]].mean() < 0.05
        compared += 1
    assert compared >= 3


def test_others_keep_their_clothes_when_there_are_lookalikes() -> None:
    without, with_some = make_people(20, 5, "rich"), make_people(20, 5, "rich", lookalikes=0.3)
    copies = {person.person_id for person in with_some if person.likeness is not None}
    assert copies
    for before, after in zip(without, with_some, strict=True):
        assert (before.attire == after.attire) == (before.person_id not in copies)


@pytest.mark.parametrize("count", [0, 1, 2, 3])
def test_too_few_people_of_a_body_have_no_lookalike(count: int) -> None:
    people = make_people(count, 1, "rich", lookalikes=1.0)
    assert len([person for person in people if person.likeness]) == max(count - 2, 0)
    assert pair_lookalikes(count, 2, 0.0, np.random.default_rng(1)) == {}


def test_a_varied_part_is_clearly_another_colour() -> None:
    rng = np.random.default_rng(3)
    for part in differing_parts(PLAIN_DRESS):
        other = vary(PLAIN_DRESS, part, rng)
        assert differing(PLAIN_DRESS, other) == {part}
    redyed = vary(PLAIN_DRESS, "top", rng).top.colour
    assert colour_distance(redyed, PLAIN_DRESS.top.colour) >= TWIN_DISTANCE


def test_a_wrong_share_and_lookalikes_in_plain_clothes_are_refused() -> None:
    with pytest.raises(ValueError, match="share of look-alikes"):
        make_people(4, 1, "rich", lookalikes=1.5)
    with pytest.raises(ValueError, match="rich wardrobe"):
        make_people(4, 1, lookalikes=0.5)


def test_whoever_is_said_to_look_like_somebody_does_but_for_that_part() -> None:
    alike = {3: Likeness(1, "trousers"), 6: Likeness(2, "body")}
    people = {person.person_id: person for person in make_people(6, 1, "rich", alike=alike)}
    third, first, sixth, second = (people[i].attire for i in (3, 1, 6, 2))
    assert third and first and sixth and second
    assert replace(third, trousers=first.trousers) == first and third != first
    assert (sixth.top, sixth.trousers, sixth.bag) == (second.top, second.trousers, second.bag)
    assert sixth.skin != second.skin and sixth.long_hair != second.long_hair
    assert people[3].likeness == Likeness(1, "trousers") and people[1].likeness is None


@pytest.mark.parametrize(
    "alike",
    [
        {2: Likeness(1, "top")},  # of another body
        {3: Likeness(3, "top")},
        {7: Likeness(1, "top")},
        {3: Likeness(1, "top"), 5: Likeness(3, "top")},  # the copy of a copy
    ],
)
def test_likenesses_that_cannot_be_are_refused(alike: dict[int, Likeness]) -> None:
    with pytest.raises(ValueError, match="alike: expected two of 6 people"):
        make_people(6, 1, "rich", alike=alike)


def test_plain_people_have_no_given_lookalikes() -> None:
    with pytest.raises(ValueError, match="rich wardrobe"):
        make_people(6, 1, alike={3: Likeness(1, "top")})


def test_quiet_clothes_are_muted_and_no_two_people_wear_the_same() -> None:
    attires = choose_quiet_attires(30, 2, np.random.default_rng(3))
    assert len(attires) == 30
    assert len({(a.top, a.trousers, a.bag, a.hat, a.hem, a.hair) for a in attires}) == 30
    assert all(a.top.colour in QUIET_TOPS and a.trousers.pattern == "plain" for a in attires)
    assert choose_quiet_attires(0, 2, np.random.default_rng(3)) == []

"""The colour-and-gradient map tells drawn people apart over casts and exposures."""

import numpy as np
import pytest
from reid_examples import CASTS, SIX_PEOPLE, draw, frame_of

from pipeline.retrieval import cosine_distance
from reid.catalogue import find_threshold
from reid.handcrafted import (
    BANDS,
    HandcraftedEncoder,
    band_windows,
    colour_votes,
    direction_votes,
    grey_world,
    person_prior,
    soft_bins,
)
from reid.heads import FUSIONS, StaHead


def clips_of_six_people(fusion="global") -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Embeddings of three clips a person and cast, with person and cast of each."""
    encoder = HandcraftedEncoder()
    head = StaHead(encoder.describe(), fusion)
    rng = np.random.default_rng(7)
    rows, people, casts = [], [], []
    for person, figure in enumerate(SIX_PEOPLE):
        for cast, gains in enumerate(CASTS):
            for _ in range(3):
                drawn = [draw(figure, gains, rng) for _ in range(4)]
                crops = encoder.encode([frame for frame, _ in drawn], [box for _, box in drawn])
                rows.append(head.fuse([crop for of_frame in crops for crop in of_frame]).embedding)
                people.append(person)
                casts.append(cast)
    return np.stack(rows), np.array(people), np.array(casts)


@pytest.mark.parametrize("fusion", FUSIONS)
def test_six_people_are_told_apart_over_three_colour_casts(fusion):
    vectors, people, casts = clips_of_six_people(fusion)
    distance = cosine_distance(vectors, vectors)
    other_cast = casts[:, None] != casts[None, :]
    same = people[:, None] == people[None, :]
    assert distance[same & other_cast].max() < distance[~same].min()


def test_the_stored_threshold_separates_them():
    vectors, people, _ = clips_of_six_people()
    distance = cosine_distance(vectors, vectors)
    same = people[:, None] == people[None, :]
    encoder = HandcraftedEncoder()
    threshold = find_threshold(StaHead(encoder.describe(), "global").clip_model_id)
    assert threshold.provisional
    assert (distance[same] <= threshold.distance).mean() > 0.95
    assert (distance[~same] > threshold.distance).mean() > 0.95


def test_people_in_swapped_top_and_trousers_are_different():
    figure = SIX_PEOPLE[0]
    swapped = type(figure)(figure.trousers, figure.top, figure.hair)
    encoder, rng = HandcraftedEncoder(), np.random.default_rng(0)
    head = StaHead(encoder.describe(), "global")
    vectors = []
    for who in (figure, figure, swapped):
        frame, box = draw(who, CASTS[0], rng)
        vectors.append(head.fuse(encoder.encode([frame], [box])[0]).embedding)
    distance = cosine_distance(np.stack(vectors[:1]), np.stack(vectors[1:]))[0]
    assert distance[1] > 3 * distance[0]


def test_the_map_vector_itself_is_the_feature():
    described = HandcraftedEncoder().describe()
    assert described.projection is None
    assert described.channels % BANDS == 0


def test_a_stripe_that_looks_like_its_surroundings_has_less_energy():
    wall = np.full((256, 128, 3), 120, np.uint8)
    person = wall.copy()
    person[:128, 40:88] = (30, 30, 200)  # only the upper half stands out
    feature = HandcraftedEncoder(2).encode([frame_of(person)], [np.array([[0, 0, 128, 256]], np.float32)])[0][0]
    assert feature.energy[0] > 1.5 * feature.energy[1]


@pytest.mark.parametrize("value", [0, 255])
def test_a_black_or_white_crop_is_finite(value):
    image = np.full((100, 50, 3), value, np.uint8)
    feature = HandcraftedEncoder().encode([frame_of(image)], [np.array([[0, 0, 50, 100]], np.float32)])[0][0]
    assert np.isfinite(feature.stripes).all() and (feature.energy > 0).all()


def test_a_crop_of_one_pixel_is_encoded():
    image = np.full((20, 20, 3), 99, np.uint8)
    feature = HandcraftedEncoder().encode([frame_of(image)], [np.array([[3, 3, 4, 4]], np.float32)])[0][0]
    assert (feature.energy > 0).all()


def test_grey_world_takes_a_cast_and_an_exposure_away():
    crop = np.random.default_rng(0).integers(20, 120, (128, 64, 3)).astype(np.uint8)
    cast = (crop * np.array([1.9, 1.2, 0.8])).astype(np.uint8)
    np.testing.assert_allclose(grey_world(crop), grey_world(cast), atol=0.03)


def test_votes_share_out_one_pixel_each():
    colours = np.random.default_rng(0).random((16, 8, 3), np.float32)
    np.testing.assert_allclose(colour_votes(colours).sum(axis=2), np.full((16, 8), 0.9), atol=1e-5)
    directions = direction_votes(colours).sum(axis=2)
    assert (directions >= 0).all() and directions.max() <= 0.1 + 1e-6


@pytest.mark.parametrize("circular", [True, False])
def test_soft_bins_sum_to_one_and_move_smoothly(circular):
    positions = np.linspace(0, 6 if circular else 5, 601).astype(np.float32)
    weights = soft_bins(positions, 6, circular)
    np.testing.assert_allclose(weights.sum(axis=1), np.ones(601), atol=1e-5)
    assert np.abs(np.diff(weights, axis=0)).max() < 0.02


def test_the_prior_favours_the_middle_and_the_windows_cover_every_row():
    prior = person_prior()
    assert (prior[:, 32] > 0.95).all() and (prior[:, 0] < 0.1).all()
    inner = band_windows().sum(axis=0)[8:-8]
    np.testing.assert_allclose(inner, np.ones_like(inner), atol=1e-6)

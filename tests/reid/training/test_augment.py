import numpy as np
import pytest

from reid.training.augment import augment_clip, erase, jitter
from reid.training.camera_style import CameraStyles
from reid.training.recipe import AugmentRecipe

NOTHING = AugmentRecipe(flip=0, crop=0, erase=0, camera_style=0, jitter=0)


def clip(pictures: int = 3) -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, (pictures, 32, 16, 3), dtype=np.uint8)


def test_a_recipe_of_nothing_changes_nothing():
    given = clip()
    changed = augment_clip(given, 0, NOTHING, None, np.random.default_rng(0))
    np.testing.assert_array_equal(changed, given)
    assert changed is not given and changed.flags.writeable


def test_the_pictures_handed_in_stay_as_they_are():
    given = clip()
    before = given.copy()
    everything = AugmentRecipe(flip=1, crop=1, erase=1, camera_style=0, jitter=0.5)
    augment_clip(given, 0, everything, None, np.random.default_rng(0))
    np.testing.assert_array_equal(given, before)


def test_a_clip_is_flipped_as_a_whole():
    given = clip()
    flipped = augment_clip(given, 0, AugmentRecipe(flip=1, erase=0), None, np.random.default_rng(0))
    np.testing.assert_array_equal(flipped, given[:, :, ::-1])


def test_a_clip_is_moved_as_a_whole():
    same = np.repeat(clip(1), 4, axis=0)
    moved = augment_clip(same, 0, AugmentRecipe(flip=0, crop=1, crop_px=5, erase=0), None, np.random.default_rng(3))
    assert moved.shape == same.shape and not np.array_equal(moved, same)
    assert (moved == moved[:1]).all()


def test_what_is_erased_is_another_place_in_every_picture():
    flat = np.full((6, 64, 32, 3), 100, np.uint8)
    erased = augment_clip(flat, 0, AugmentRecipe(flip=0, erase=1), None, np.random.default_rng(0))
    assert len({(picture != 100).any(-1).tobytes() for picture in erased}) > 1


def test_erased_area_lies_within_its_limits():
    shares = []
    for seed in range(200):
        picture = np.full((64, 32, 3), 100, np.uint8)
        erase(picture, (0.1, 0.3), np.random.default_rng(seed))
        shares.append(float((picture != 100).any(-1).mean()))
    some = [share for share in shares if share > 0]
    assert len(some) > 150 and min(some) > 0.08 and max(some) < 0.33


def test_erasing_a_picture_of_one_pixel_leaves_it():
    picture = np.full((1, 1, 3), 7, np.uint8)
    erase(picture, (0.02, 0.4), np.random.default_rng(0))
    assert (picture == 7).all()


def test_jitter_of_nothing_is_the_picture_and_is_bounded():
    given = clip()
    np.testing.assert_array_equal(jitter(given, 0.0, np.random.default_rng(0)), given)
    assert jitter(given, 1.0, np.random.default_rng(0)).dtype == np.uint8


def test_randomness_is_the_generators_alone():
    everything = AugmentRecipe(flip=0.5, crop=0.5, erase=0.5, jitter=0.3)
    first, second = (augment_clip(clip(), 0, everything, None, np.random.default_rng(9)) for _ in range(2))
    np.testing.assert_array_equal(first, second)


def coloured(gain: tuple[float, float, float], seed: int) -> np.ndarray:
    values = np.random.default_rng(seed).uniform(60, 160, (32, 16, 3)) * np.array(gain)
    return np.clip(values, 0, 255).astype(np.uint8)


def test_camera_style_brings_the_colours_of_the_other_camera():
    blue, red = [coloured((1.3, 1, 0.7), s) for s in range(5)], [coloured((0.7, 1, 1.3), s + 9) for s in range(5)]
    styles = CameraStyles.measured([*((0, p) for p in blue), *((1, p) for p in red)])
    changed = styles.restyle(np.stack(blue), 0, np.random.default_rng(0))
    np.testing.assert_allclose(changed.mean((0, 1, 2)), np.stack(red).mean((0, 1, 2)), atol=4)
    assert changed.dtype == np.uint8 and changed.shape == np.stack(blue).shape


@pytest.mark.parametrize("camera", [0, 5])
def test_a_camera_alone_or_unknown_keeps_its_colours(camera: int):
    styles = CameraStyles.measured([(0, coloured((1, 1, 1), 0))])
    given = clip()
    np.testing.assert_array_equal(styles.restyle(given, camera, np.random.default_rng(0)), given)


def test_a_camera_of_one_flat_colour_does_not_divide_by_nothing():
    flat = np.full((8, 8, 3), 90, np.uint8)
    styles = CameraStyles.measured([(0, flat), (1, coloured((1, 1, 1), 0))])
    assert styles.restyle(flat[None], 0, np.random.default_rng(0)).shape == (1, 8, 8, 3)

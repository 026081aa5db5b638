"""What a network is shown: sizes, ranges and colour orders."""

import numpy as np
import pytest

from reid.crop_input import PIXEL_RANGES, CropInput, read_crop_input
from reid.crops import IMAGENET_MEAN, IMAGENET_STD


def crops(count: int = 2, height: int = 6, width: int = 4) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, height, width, 3), np.uint8)


def test_the_usual_input_is_rgb_in_imagenet_normalisation():
    given = crops()
    planes = given[..., ::-1].transpose(0, 3, 1, 2) / 255
    expected = (planes - np.reshape(IMAGENET_MEAN, (3, 1, 1))) / np.reshape(IMAGENET_STD, (3, 1, 1))
    got = CropInput(6, 4).normalise(given)
    assert got.dtype == np.float32 and got.flags.c_contiguous
    np.testing.assert_allclose(got, expected, atol=1e-6)


@pytest.mark.parametrize(
    ("name", "least", "most"), [("0..1", 0, 1), ("-1..1", -1, 1), ("0..255", 0, 255), ("imagenet", -2.12, 2.64)]
)
def test_every_range_is_reached_and_not_left(name, least, most):
    mean, std = PIXEL_RANGES[name]
    black_and_white = np.stack([np.zeros((6, 4, 3), np.uint8), np.full((6, 4, 3), 255, np.uint8)])
    got = CropInput(6, 4, mean, std).normalise(black_and_white)
    assert got.min() == pytest.approx(least, abs=5e-3) and got.max() == pytest.approx(most, abs=5e-3)


def test_blue_comes_first_where_the_network_wants_it():
    mean, std = PIXEL_RANGES["0..255"]
    given = crops()
    np.testing.assert_allclose(
        CropInput(6, 4, mean, std, "bgr").normalise(given), given.transpose(0, 3, 1, 2), atol=1e-4
    )


def test_no_crops_give_an_empty_batch():
    assert CropInput(6, 4).normalise(crops(0)).shape == (0, 3, 6, 4)


def as_json(**changes):
    values = {"height_px": 64, "width_px": 32, "mean": [0, 0, 0], "std": [1, 1, 1], "colours": "bgr"}
    return values | changes


def test_values_come_back_from_json():
    assert read_crop_input(as_json()) == CropInput(64, 32, (0, 0, 0), (1, 1, 1), "bgr")


@pytest.mark.parametrize(
    "changes", [{"mean": [0, 0]}, {"std": [1, 1, 0]}, {"colours": "grey"}, {"mean": None}, {"height_px": "tall"}]
)
def test_values_that_mean_nothing_are_refused(changes):
    with pytest.raises(ValueError, match="crop input"):
        read_crop_input(as_json(**changes))


def test_missing_values_are_refused():
    with pytest.raises(ValueError, match="crop input"):
        read_crop_input({})

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.view.colours import UNIDENTIFIED_FROM, UNKNOWN_BGR, hex_colour, identity_colour, text_colour


def relative_luminance(bgr: tuple[int, int, int]) -> float:
    channels = [c / 255 for c in bgr]
    b, g, r = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * r + 0.7152 * g + 0.0722 * b


def test_unknown_and_never_identified_are_grey() -> None:
    assert identity_colour(0) == identity_colour(-3) == identity_colour(UNIDENTIFIED_FROM + 5) == UNKNOWN_BGR


def test_the_first_twenty_identities_are_far_apart_from_each_other_and_from_grey() -> None:
    colours = np.array([identity_colour(i) for i in range(21)], float)
    distances = np.linalg.norm(colours[:, None] - colours[None], axis=2)
    distances[np.diag_indices(21)] = np.inf
    assert distances.min() > 45  # of 441; two such patches side by side are told apart at a glance


@given(st.integers(1, UNIDENTIFIED_FROM - 1))
def test_every_colour_is_stable_and_its_text_is_readable(identity_id: int) -> None:
    colour = identity_colour(identity_id)
    assert colour == identity_colour(identity_id)
    assert all(0 <= channel <= 255 for channel in colour)
    low, high = sorted([relative_luminance(colour), relative_luminance(text_colour(colour))])
    assert (high + 0.05) / (low + 0.05) >= 4.5  # WCAG 2 AA


@pytest.mark.parametrize(
    ("background", "expected"), [((255, 255, 255), (0, 0, 0)), ((0, 0, 0), (255, 255, 255)), ((150, 0, 0), (255,) * 3)]
)
def test_text_is_black_on_light_and_white_on_dark(background: tuple[int, int, int], expected: object) -> None:
    assert text_colour(background) == expected


def test_hex_swaps_to_red_first() -> None:
    assert hex_colour((1, 2, 255)) == "#ff0201"

"""When somebody came into the picture whom a track shows only from later on: behind the one they came in with."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from pipeline.identity.places import TrackPlaces
from pipeline.identity.state import TrackState

_TOGETHER_S = 1.0  # places of open tracks come with their clips, about as often
_NEAR = 1.5  # boxes as many times their size: a walker moves by half a width between two places
_EDGE_SHARE = 0.02  # of the picture's longer side: nobody comes in farther from the edge
_INSIDE = 1.5  # heights from the nearest edge: nobody walks so far (2.5 m) before he is seen

Row = npt.NDArray[np.float64]


def came_in_with(track: TrackState, others: Sequence[TrackState], places: TrackPlaces) -> float | None:
    """When the track came in by whom this one was hidden when it began; None where it was nobody.

    Nobody begins in the middle of a picture: who is seen there first, beside somebody who had come in over the edge,
    and was out of the picture before, came in behind them.

    Args:
        others: tracks of the same camera.
    """
    begins, size_px = places.first_box(track.key), places.picture_px(track.key)
    if begins is None or size_px is None or not _is_inside(begins[1:], size_px):
        return None
    found = []
    for other in others:
        if other.key == track.key or other.first_s >= track.first_s:
            continue
        entry, beside = places.first_box(other.key), places.box_near(other.key, begins[0], _TOGETHER_S)
        if entry is not None and beside is not None and _at_edge(entry[1:], size_px) and _touch(begins[1:], beside[1:]):
            found.append(other.first_s)
    return max(found, default=None)


def _at_edge(xyxy: Row, size_px: tuple[int, int]) -> bool:
    margin_px = _EDGE_SHARE * max(size_px)
    low, high = xyxy[:2] <= margin_px, xyxy[2:] >= np.array(size_px) - margin_px
    return bool(low.any() or high.any())


def _is_inside(xyxy: Row, size_px: tuple[int, int]) -> bool:
    """Whether a box begins in the middle; below people may stand at the lower edge of the picture all the time."""
    least_px = _INSIDE * (xyxy[3] - xyxy[1])
    return bool(min(xyxy[0], size_px[0] - xyxy[2]) >= least_px)


def _touch(a: Row, b: Row) -> bool:
    """Whether two boxes touch, grown `_NEAR` times around their centres."""
    apart = np.abs(a[:2] + a[2:] - b[:2] - b[2:]) / 2
    reach = _NEAR * (a[2:] - a[:2] + b[2:] - b[:2]) / 2
    return bool((apart <= reach).all())

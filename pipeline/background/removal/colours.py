"""What a person's colours are, by height, and what the background looks like where no plate is known."""

import numpy as np
import numpy.typing as npt

from pipeline.background.removal.view import FloatMap, View
from pipeline.types import ImageArray

_LEVELS = 16  # per channel of the colour table
BANDS = 6  # of a person's height: hair, shirt, trousers and shoes differ
_UNIFORM = 0.06  # share of colours never seen on the person: a turn, a bag, a hand
_LEAST_PX = 12.0  # pixels of a band that make a lesson
_ANY = -13.8  # log density of such a colour: evenly over a fifteenth of all colours, clothes are seldom garish
_CELL = 3 * float(np.log(256 / _LEVELS))  # log volume of a table's cell

Table = npt.NDArray[np.float32]
IndexMap = npt.NDArray[np.int32]


def colour_index(image: ImageArray) -> IndexMap:
    """(h, w) the cell of each pixel's colour in a table without bands."""
    high = (image >> 4).astype(np.int32)
    return (high[..., 0] << 8) | (high[..., 1] << 4) | high[..., 2]


def band_index(view: View) -> npt.NDArray[np.int32]:
    """(h, 1) the band of each row of a view."""
    top, bottom = view.box[1], view.box[3]
    rows = (np.arange(view.size[1]) + 0.5 - top) / max(bottom - top, 1.0)
    return np.clip((rows * BANDS).astype(np.int32), 0, BANDS - 1)[:, None]


class ColourModel:
    """Colour histograms of one person by band; knows nothing before the first lesson."""

    def __init__(self) -> None:
        self._counts: Table | None = None
        self._log: Table | None = None

    @property
    def known(self) -> bool:
        return self._log is not None

    def learn(self, index: IndexMap, bands: npt.NDArray[np.int32], weight: FloatMap, share: float) -> None:
        """Take in pixels by weight (h, w) in [0, 1]; `share` of the new picture, 1 forgets all before."""
        cells = (index + bands * _LEVELS**3).ravel()
        counts = np.bincount(cells, weight.ravel(), BANDS * _LEVELS**3).astype(np.float32).reshape(BANDS, -1)
        total = counts.sum(axis=1, keepdims=True)
        if total.max() < _LEAST_PX:
            return
        # a band of which nothing is seen keeps what it knows
        shares = np.where(total >= _LEAST_PX, share, 0.0).astype(np.float32)
        fresh = counts / np.maximum(total, 1)
        if self._counts is None:
            self._counts = np.zeros_like(counts)
        shares[(self._counts.sum(axis=1, keepdims=True) == 0) & (total >= _LEAST_PX)] = 1.0
        self._counts = (1 - shares) * self._counts + shares * fresh
        self._log = _log_density(self._counts)

    def log_density(self, index: IndexMap, bands: npt.NDArray[np.int32]) -> FloatMap:
        """(h, w) log density of each pixel's colour on this person."""
        if self._log is None:
            return np.full(index.shape, _ANY, np.float32)
        return self._log[index + bands * _LEVELS**3]


def surroundings_log_density(index: IndexMap, outside: npt.NDArray[np.bool_]) -> FloatMap:
    """(h, w) log density of each pixel's colour among the pixels `outside`: the background where no plate is known."""
    counts = np.bincount(index[outside], minlength=_LEVELS**3).astype(np.float32)
    total = float(counts.sum())
    if total < 1:
        return np.full(index.shape, _ANY, np.float32)
    table = _smooth((counts / total).reshape(1, -1))[0]
    return np.log(0.9 * table / np.float32(np.exp(_CELL)) + 0.1 * np.float32(np.exp(_ANY)))[index]


def _log_density(counts: Table) -> Table:
    """(B·L³,) from relative counts (B, L³) by band; a band that nobody saw knows no colour."""
    table = counts.copy()
    table[1:] += 0.25 * counts[:-1]  # boxes shake up and down
    table[:-1] += 0.25 * counts[1:]
    total = table.sum(axis=1, keepdims=True)
    table = _smooth(table) / np.maximum(total, 1e-9)
    known = (1 - _UNIFORM) * np.minimum(total, 1)
    density = known * table / np.float32(np.exp(_CELL)) + (1 - known) * np.float32(np.exp(_ANY))
    return np.log(density).astype(np.float32).ravel()


def _smooth(table: Table) -> Table:
    """Colours near a seen one are likely, too: (B, L³), blurred along the three channels."""
    cube = table.reshape(-1, _LEVELS, _LEVELS, _LEVELS)
    for axis in (1, 2, 3):
        near = 0.5 * cube
        low = [slice(None)] * 4
        high = [slice(None)] * 4
        low[axis], high[axis] = slice(None, -1), slice(1, None)
        near[tuple(low)] += 0.25 * cube[tuple(high)]
        near[tuple(high)] += 0.25 * cube[tuple(low)]
        cube = near
    return cube.reshape(len(table), -1)

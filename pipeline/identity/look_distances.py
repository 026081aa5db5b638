"""How tracks look from how identities look, remembered until either changes.

A pending track is weighed again whenever anything happens near it; its looks are compared again only with those
identities whose features changed.
"""

from collections import OrderedDict
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.identity.memory import SiteMemory
from pipeline.identity.state import TrackState
from pipeline.types import FloatArray, IntArray, TrackKey

_REMEMBERED = 4096  # tracks, some 10 kB each; those asked for last


@dataclass(frozen=True, eq=False, slots=True)
class _Known:
    """A track's distances (I,) from identities `ids` (I,), rising, as both were at their stamps."""

    stamp: int
    ids: IntArray
    stamps: IntArray
    distances: FloatArray


class LookDistances:
    """Distances of looks between tracks and identities of a memory."""

    def __init__(self, memory: SiteMemory) -> None:
        self._memory = memory
        self._known: OrderedDict[TrackKey, _Known] = OrderedDict()

    def distances(self, track: TrackState, candidates: Sequence[int], silent: Collection[TrackKey]) -> FloatArray:
        """(I,) of how the track looks from how the candidates look; inf between different models.

        Args:
            candidates: rising. silent: tracks of the candidates that do not speak.
        """
        ids = np.fromiter(candidates, np.int64, len(candidates))
        stamps = np.fromiter(map(self._memory.stamp, candidates), np.int64, len(candidates))
        theirs = [owner for key in silent if (owner := self._memory.owner_of(key)) is not None]
        stamps[np.isin(ids, theirs)] = -1  # without those tracks: not what the stamp stands for
        result = self._remembered(track, ids, stamps)
        ask = np.flatnonzero(np.isnan(result))
        if len(ask):
            result[ask] = self._compared(track, [candidates[i] for i in ask.tolist()], silent)
            self._remember(track, _Known(self._memory.stamp(track.key), ids, stamps, result.copy()))
        return result

    def _remembered(self, track: TrackState, ids: IntArray, stamps: IntArray) -> FloatArray:
        """What is known already; NaN where nothing is."""
        result = np.full(len(ids), np.nan, np.float32)
        known = self._known.get(track.key)
        if known is None or known.stamp != self._memory.stamp(track.key) or not len(known.ids):
            return result
        place = np.minimum(np.searchsorted(known.ids, ids), len(known.ids) - 1)
        same = (known.ids[place] == ids) & (known.stamps[place] == stamps) & (stamps >= 0)
        result[same] = known.distances[place[same]]
        return result

    def _remember(self, track: TrackState, known: _Known) -> None:
        if len(known.ids) == 1 and track.key in self._known:
            return  # a question between: the row of all candidates serves again
        self._known[track.key] = known
        self._known.move_to_end(track.key)
        if len(self._known) > _REMEMBERED:
            self._known.popitem(last=False)

    def _compared(self, track: TrackState, candidates: Sequence[int], silent: Collection[TrackKey]) -> FloatArray:
        memory = self._memory
        result = np.full(len(candidates), np.inf, np.float32)
        same = [i for i, n in enumerate(candidates) if memory.identities[n].model_id == track.model_id]
        groups = [memory.owners(candidates[i], silent) for i in same]
        result[same] = memory.gallery.nearest(memory.gallery.features(track.key), groups)
        return result

    def between(self, track: TrackState, others: Sequence[TrackState]) -> FloatArray:
        """(N,) of how a track looks from how others do."""
        gallery = self._memory.gallery
        return gallery.nearest(gallery.features(track.key), [[other.key] for other in others])

"""When a mask begins: at once when somebody appears, or at the next look round (the plain way, for comparison)."""

from collections.abc import Iterable
from typing import Protocol

from pipeline.background.removal.tracks import Seen

_SLACK_S = 1e-6  # frame times are rounded


class Renewal(Protocol):
    """Says for whom a reference is taken now."""

    def due(self, at_s: float, seen: Iterable[Seen], carried: frozenset[int]) -> set[int]:
        """The track ids of those whose mask begins, or begins afresh, in this frame.

        Args:
            at_s: message time, rising.
            seen: everybody in the frame. carried: track ids that have a mask already.
        """
        ...


class ByAppearance:
    """With the re-entry trigger: whoever appears gets a mask in the same frame, however short the absence."""

    def due(self, at_s: float, seen: Iterable[Seen], carried: frozenset[int]) -> set[int]:
        return {one.track_id for one in seen} - carried


class ByPolling:
    """Without the trigger: a reference at a person's first entry into the camera, then one of everybody in turns.

    Args:
        every_s: between two looks. missing_every_s: between two while somebody seen before has no mask.
    """

    def __init__(self, every_s: float, missing_every_s: float | None = None) -> None:
        if every_s <= 0 or (missing_every_s is not None and missing_every_s <= 0):
            raise ValueError(f"expected times above 0 between looks, got {every_s} and {missing_every_s}")
        self._every_s = every_s
        self._missing_every_s = every_s if missing_every_s is None else missing_every_s
        self._looked_s: float | None = None
        self._met: set[int] = set()

    def due(self, at_s: float, seen: Iterable[Seen], carried: frozenset[int]) -> set[int]:
        people = list(seen)
        here = {one.identity_id for one in people if one.track_id in carried}
        every_s = self._every_s if self._met <= here else self._missing_every_s
        if self._looked_s is None or at_s >= self._looked_s + every_s - _SLACK_S:
            self._looked_s = at_s
            self._met |= {one.identity_id for one in people if one.identity_id}
            return {one.track_id for one in people}
        first = {one for one in people if one.identity_id and one.identity_id not in self._met}
        self._met |= {one.identity_id for one in first}
        return {one.track_id for one in first}

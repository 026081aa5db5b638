"""How long people take from camera to camera, learned while the site runs: a histogram for each ordered pair.

After st-ReID (Wang et al., AAAI 2019), which learns such histograms from labelled footage: here from links that are
sure, on a logarithmic axis of time, beginning from the windows that were declared. A time that nobody took yet is
unlikely, never impossible: its plausibility has a floor.
"""

from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.config import TopologyConfig
from pipeline.errors import DecodeError

FLOOR = 0.05  # plausibility of a time that nobody took: unlikely, never impossible (FACTS 7)
LEAST_LINKS = 10.0  # of an ordered pair of which nothing is declared: until then every time is as plausible
_BELIEF_LINKS = 10.0  # so many links weigh as much as what is believed without: the declared window, or nothing
_REMEMBERED_LINKS = 200.0  # about so many of the last links count, and those of the last weeks: ways change
_HALF_LIFE_S = 14 * 86400.0
_MOST_PAIRS = 20_000  # of cameras that are remembered: 1,000 cameras with 20 neighbours each

# Upper edges of the bins, s: seen by both at once for longer than a second; for less (clocks, boxes); then from 0.25 s
# to an hour, each a third longer than the one before; the last bin, without an edge, is what takes longer
_OVERLAP_S = -1.0
_EDGES_S = (_OVERLAP_S, 0.0, *np.geomspace(0.25, 3600.0, 34).tolist())
_BINS = len(_EDGES_S) + 1
_KERNEL = np.array([1, 4, 6, 4, 1]) / 16  # of bins: standard deviation of one, a third of a time

_LEAST_OVERLAPS = 2.5  # links at once that are believed (three, a little faded): fewer may be false
_LEAST_OVERLAP_SHARE = 0.03  # of the pair's links, for the same reason
_SURE_LINKS = 20.0  # both ways together, and none at once: these two share no ground

Histogram = npt.NDArray[np.float64]
Pair = tuple[str, str]


def declared_plausibility(window: tuple[float, float] | None, gap_s: float) -> float:
    """Of a way that took so long where a window was declared, in [FLOOR, 1]: 1 inside it, and where there is none."""
    if window is None or window[0] <= gap_s <= window[1]:
        return 1.0
    outside = window[0] - gap_s if gap_s < window[0] else gap_s - window[1]
    return max(FLOOR, 1.0 - outside / max(window[1] - window[0], 1.0))


class TransitTimes:
    """The ways between cameras.

    Args:
        rules: those with a transit time say what is believed at first; an undeclared pair is believed nothing of.
    """

    def __init__(self, rules: Sequence[TopologyConfig] = ()) -> None:
        self._windows = {
            (r.from_camera, r.to_camera): r.transit_s for r in rules if r.from_camera and r.to_camera and r.transit_s
        }
        self._counts: dict[Pair, Histogram] = {}
        self._last_s: dict[Pair, float] = {}
        self._shapes: dict[Pair, tuple[float, list[float]]] = {}  # made from the counts when they are asked for

    def __iter__(self) -> Iterator[Pair]:
        """The ordered pairs of which anything was learned."""
        return iter(self._counts)

    def __len__(self) -> int:
        return len(self._counts)

    def observe(self, origin: str, destination: str, gap_s: float, at_s: float, weight: float = 1.0) -> None:
        """One sure link: somebody left one camera and was seen in another one `gap_s` later.

        Args:
            gap_s: from the last sight to the first one; below 0 where both cameras saw the person at once.
            at_s: message time, when it was.
            weight: of the link, in (0, 1].

        Raises:
            ValueError: a weight outside of that, or a time that is no number.
        """
        if not (0 < weight <= 1 and np.isfinite(gap_s) and np.isfinite(at_s)):
            raise ValueError(
                f"a link: expected finite times and a weight in (0, 1], got {gap_s} s, {at_s} and {weight}"
            )
        pair = (origin, destination)
        if pair not in self._counts:
            self._make_room()
        last_s = self._last_s.get(pair, at_s)
        faded = 0.5 ** (max(at_s - last_s, 0.0) / _HALF_LIFE_S) * (1 - weight / _REMEMBERED_LINKS)
        counts = self._counts.get(pair, np.zeros(_BINS)) * faded
        counts[bisect_right(_EDGES_S, gap_s)] += weight
        self._counts[pair], self._last_s[pair] = counts, max(at_s, last_s)
        self._shapes.pop(pair, None)

    def prior(self, origin: str, destination: str, gap_s: float) -> float:
        """Plausibility of a way that took this long, in [FLOOR, 1], relative to the most usual time.

        As `declared_plausibility` as long as nothing was learned. `LEAST_LINKS` are needed where nothing is declared.
        """
        pair = (origin, destination)
        believed = declared_plausibility(self._windows.get(pair), gap_s)
        if pair not in self._counts:
            return believed
        trust, shape = self._shape(pair)
        learned = shape[bisect_right(_EDGES_S, gap_s)]
        return max(FLOOR, (1 - trust) * believed + trust * learned)

    def links(self, origin: str, destination: str) -> float:
        """How many links of this ordered pair count."""
        counts = self._counts.get((origin, destination))
        return 0.0 if counts is None else float(counts.sum())

    def at_once(self, a: str, b: str) -> float:
        """How many links say that people were seen by both cameras at once. The same for (b, a)."""
        return sum(float(self._counts[pair][0]) for pair in ((a, b), (b, a)) if pair in self._counts)

    def overlap_seen(self, a: str, b: str) -> bool | None:
        """Whether people were seen by both cameras at once; None: not known yet. The same for (b, a)."""
        found = [self._counts[pair] for pair in ((a, b), (b, a)) if pair in self._counts]
        at_once, links = sum(float(c[0]) for c in found), sum(float(c.sum()) for c in found)
        if at_once >= _LEAST_OVERLAPS and at_once >= _LEAST_OVERLAP_SHARE * links:
            return True
        touching = sum(float(c[1]) for c in found)
        return False if links >= _SURE_LINKS and at_once + touching < _LEAST_OVERLAP_SHARE else None

    def pair_to_json(self, origin: str, destination: str) -> dict[str, Any] | None:
        """What was learned of one ordered pair: links by number of the bin; None where nothing was."""
        pair = (origin, destination)
        counts = self._counts.get(pair)
        if counts is None:
            return None
        return {"last_s": self._last_s[pair], "links": {str(i): float(counts[i]) for i in np.flatnonzero(counts)}}

    def restore_pair(self, origin: str, destination: str, value: Mapping[str, Any]) -> None:
        """Takes up what `pair_to_json` gave.

        Raises:
            DecodeError: something else.
        """
        counts = np.zeros(_BINS)
        try:
            last_s = float(value["last_s"])
            for bin_number, links in value["links"].items():
                counts[int(bin_number)] = float(links)
        except (AttributeError, KeyError, TypeError, ValueError, IndexError) as error:
            raise DecodeError(f"transit times {origin} -> {destination}: cannot be read ({error})") from None
        if not (np.isfinite(last_s) and np.isfinite(counts).all() and (counts >= 0).all()):
            raise DecodeError(f"transit times {origin} -> {destination}: expected numbers of links")
        self._counts[origin, destination], self._last_s[origin, destination] = counts, last_s
        self._shapes.pop((origin, destination), None)

    def to_json(self) -> dict[str, Any]:
        """All pairs at once; of many cameras, better store the pairs that changed."""
        return {"pairs": [[*pair, self.pair_to_json(*pair)] for pair in sorted(self._counts)]}

    def restore(self, value: Mapping[str, Any]) -> None:
        """Takes up what `to_json` gave.

        Raises:
            DecodeError: something else.
        """
        try:
            pairs = [(str(origin), str(destination), plain) for origin, destination, plain in value["pairs"]]
        except (KeyError, TypeError, ValueError) as error:
            raise DecodeError(f"transit times: cannot be read ({error})") from None
        for origin, destination, plain in pairs:
            self.restore_pair(origin, destination, plain)

    def _shape(self, pair: Pair) -> tuple[float, list[float]]:
        """How much the links weigh against the belief, 0 to 1; and the plausibility of each bin."""
        if pair not in self._shapes:
            counts = self._counts[pair]
            links = float(counts.sum()) - (0.0 if pair in self._windows else LEAST_LINKS)
            trust = max(links, 0.0) / (max(links, 0.0) + _BELIEF_LINKS)
            smooth = np.convolve(counts, _KERNEL, mode="same")
            self._shapes[pair] = trust, (smooth / max(float(smooth.max()), 1e-9)).tolist()
        return self._shapes[pair]

    def _make_room(self) -> None:
        """Forgets the pairs with the fewest links, some at a time."""
        if len(self._counts) < _MOST_PAIRS:
            return
        weakest = sorted(self._counts, key=lambda pair: (float(self._counts[pair].sum()), pair))
        for pair in weakest[: _MOST_PAIRS // 100]:
            del self._counts[pair], self._last_s[pair]
            self._shapes.pop(pair, None)

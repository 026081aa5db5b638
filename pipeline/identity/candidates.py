"""Which identities a track may be at all, without asking each: an index of their last sights by camera and time.

The index vetoes nobody for a time that was not declared. It ranks, and `Reach.most` cuts off:

- While no more identities than `Reach.further` are known, everybody is a candidate: a small site is not gated at all.
- A camera is placed when a rule says what lies beside it: a transit time from it or to it, or a pair that overlaps.
  Near it are the cameras that at most `Reach.hops` rules lead to, whichever way they are written, so that a camera in
  between may miss somebody. First come the identities that are in time by one rule: last seen in this camera, or in
  one that a rule leads to, at a moment from which its window leads to the track, or to which it leads from the track;
  windows are widened by `Reach.slack` of their width at both ends. Decisions are taken, and undone, after their time:
  of an identity that was last seen nearby soon after the track had begun, the sights before that one count as well.
- Then come, however long it took, `Reach.further` of those who were last seen in a near camera or in one that is not
  placed, by the time beyond the shortest way; it counts `_FURTHER` times as much for each rule that lies between. Who
  went home and comes back comes by the same door, and whom a camera in between has missed comes soon.
- For a track in a camera that is not placed everybody comes, wherever they were seen last.
"""

import math
from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from pipeline.config import TopologyConfig

_AT_ONCE = -math.inf  # shortest way between cameras that see the same ground
_BESIDE_S = 10.0  # from the edge of an overlapping camera's view into the other's: a few steps
_HERE_S = 30.0  # from a camera to itself: a track that broke off, or somebody who turned round
_LEAST_SLACK_S = 1.0  # a window without a width is widened too: clocks differ
_SINCE_S = 60.0  # so much later a track's person may have been seen elsewhere, and the way to the track still counts
_FURTHER = 4.0  # among 30,000 people on made-up ways this found most of those who came back, and lost few others
_FIRST_LOOK_S = 60.0  # how long before and after a track the others are looked for first; then twice as long, and so on
_CAMERAS_KEPT = 3  # the last ones of an identity: a track is decided when its person may be two cameras further

Window = tuple[float, float]  # shortest and longest time of a way, s
_Sight = tuple[float, int]  # when, and the identity


@dataclass(frozen=True, slots=True)
class Reach:
    """How far the person of a track may have come.

    Attributes:
        most: candidates of one track. hops: declared ways from a near camera. slack: in widths of a window.
        further: candidates that are not in time by one declared way.
    """

    most: int = 100
    hops: int = 2
    slack: float = 0.5
    further: int = 50

    def __post_init__(self) -> None:
        if self.most < 1 or self.hops < 0 or self.slack < 0 or self.further < 0:
            raise ValueError(f"expected most >= 1, hops >= 0, slack >= 0 and further >= 0, got {self}")


@dataclass(frozen=True, slots=True)
class _Near:
    """A camera near another, `hops` rules away: the windows of the way from it and of the way to it."""

    camera_id: str
    hops: int
    came: Window
    went: Window

    def widened(self, slack: float) -> "_Near":
        """With windows that are wider at both ends."""
        return replace(self, came=_widened(self.came, slack), went=_widened(self.went, slack))

    def in_time(self, first_s: float, last_s: float) -> tuple[Window, Window]:
        """When somebody was seen in it who came from it to a track, or went from the track to it."""
        came, went = self.came, self.went
        return (
            (first_s - came[1], last_s if came[0] == _AT_ONCE else first_s - came[0]),
            (last_s if went[0] == _AT_ONCE else last_s + went[0], last_s + went[1]),
        )


class CandidateIndex:
    """The last sights of identities.

    Args:
        topology_rules: what is declared of the cameras.
        cameras: all of the site. Asking about others is fine: they are not placed.
    """

    def __init__(
        self, topology_rules: Sequence[TopologyConfig], cameras: Iterable[str], reach: Reach | None = None
    ) -> None:
        self._reach = reach or Reach()
        ways = _Ways(topology_rules)
        near = {c: ways.near(c, self._reach.hops) for c in cameras if ways.beside(c)}
        self._last_in = {n.camera_id: _Timeline() for around in near.values() for n in around}
        self._around = {
            camera_id: [(n, n.widened(self._reach.slack), self._last_in[n.camera_id]) for n in around]
            for camera_id, around in near.items()
        }
        self._near = {camera_id: {n.camera_id for n in around} for camera_id, around in near.items()}
        self._everybody = min(self._reach.most, self._reach.further)
        self._sights: dict[int, dict[str, float]] = {}  # by identity: when it was last seen in its last cameras
        self._last_unplaced = _Timeline()
        self._last_anywhere = _Timeline()

    def __len__(self) -> int:
        """How many identities are known."""
        return len(self._sights)

    def seen(self, identity_id: int, camera_id: str, at_s: float) -> None:
        """An identity was seen; an older time than the one known of this camera changes nothing."""
        sights = self._sights.setdefault(identity_id, {})
        if at_s <= sights.get(camera_id, -math.inf):
            return
        before = _newest(sights)
        sights[camera_id] = at_s
        if len(sights) > _CAMERAS_KEPT:
            del sights[min(sights, key=lambda c: (sights[c], c))]
        self._move(identity_id, before, _newest(sights))

    def remove(self, identity_id: int) -> None:
        """Forget an identity; one that is not known is fine."""
        self._move(identity_id, _newest(self._sights.pop(identity_id, {})), None)

    def candidates(self, camera_id: str, first_s: float, last_s: float) -> Sequence[int]:
        """Identities that a track of a camera, seen from `first_s` to `last_s`, may be: at most `most`, rising."""
        most = self._reach.most
        around = self._around.get(camera_id)
        if len(self._sights) <= (most if around is None else self._everybody):
            return sorted(self._sights)
        if around is None:
            return sorted(_fill([(self._last_anywhere, last_s, 1.0)], most, set()))
        found = _first(self._in_time(camera_id, first_s, last_s), most, set())
        most = min(most, len(found) + self._reach.further)
        if len(found) < most:
            looks = [(self._last_unplaced, last_s, 1.0)]
            for near, _, timeline in around:
                shortest_s = near.came[0]
                from_s = last_s if shortest_s == _AT_ONCE else first_s - shortest_s
                looks.append((timeline, from_s, _FURTHER**near.hops))
            found = _fill(looks, most, found)
        return sorted(found)

    def crowd(self, camera_id: str) -> int:
        """How many may be who is seen in a camera, compared with it or not: all who were last seen near it."""
        around = self._around.get(camera_id)
        if around is None or len(self._sights) <= self._everybody:
            return len(self._sights)
        return len(self._last_unplaced) + sum(len(timeline) for _, _, timeline in around)

    def are_near(self, a: str, b: str) -> bool:
        """Whether who was seen in one of two cameras may be a candidate for a track in the other just because of it."""
        if len(self._sights) <= self._everybody or a not in self._around or b not in self._around:
            return True
        return b in self._near[a] or a in self._near[b]

    def _in_time(self, camera_id: str, first_s: float, last_s: float) -> list[tuple[float, int]]:
        """(Time to the track's last sight, identity) of those who were seen in time; some more than once."""
        most = self._reach.most
        in_time: list[tuple[float, int]] = []
        since: list[int] = []
        came: dict[str, Window] = {}
        for near, wide, timeline in self._around[camera_id]:
            since += timeline.between(first_s, last_s + _SINCE_S)
            if near.hops <= 1:
                came[near.camera_id], went = wide.in_time(first_s, last_s)
                in_time += timeline.nearest(last_s, came[near.camera_id], most)
                in_time += timeline.nearest(last_s, went, most)
        for identity_id in since:
            for other, at_s in self._sights[identity_id].items():
                span = came.get(other)
                if span is not None and span[0] <= at_s <= span[1]:
                    in_time.append((abs(last_s - at_s), identity_id))
        return in_time

    def _move(self, identity_id: int, before: tuple[float, str] | None, after: tuple[float, str] | None) -> None:
        """Somebody's last sight is another one than before."""
        if before == after:
            return
        if before is not None:
            self._last_in.get(before[1], self._last_unplaced).remove((before[0], identity_id))
            self._last_anywhere.remove((before[0], identity_id))
        if after is not None:
            self._last_in.get(after[1], self._last_unplaced).add((after[0], identity_id))
            self._last_anywhere.add((after[0], identity_id))


class _Timeline:
    """Sights in order of time, each once."""

    def __init__(self) -> None:
        self._sights: list[_Sight] = []

    def __len__(self) -> int:
        return len(self._sights)

    def add(self, sight: _Sight) -> None:
        insort(self._sights, sight)  # nearly always at the end

    def remove(self, sight: _Sight) -> None:
        """Take out a sight that was added."""
        del self._sights[bisect_left(self._sights, sight)]

    def count(self, from_s: float, within_s: float) -> int:
        """How many lie at most so far from a moment."""
        sights = self._sights
        return bisect_right(sights, (from_s + within_s, math.inf)) - bisect_left(sights, (from_s - within_s,))

    def farthest_s(self, from_s: float) -> float:
        """How far the sight lies that is farthest from a moment; 0 without any."""
        return max(from_s - self._sights[0][0], self._sights[-1][0] - from_s) if self._sights else 0.0

    def between(self, begin_s: float, end_s: float) -> list[int]:
        """Identities in order of their sights in a span."""
        sights = self._sights
        return [n for _, n in sights[bisect_left(sights, (begin_s,)) : bisect_right(sights, (end_s, math.inf))]]

    def nearest(self, from_s: float, span: Window, most: int) -> list[tuple[float, int]]:
        """(Time to a moment, identity) of sights in a span: at least those `most` that are nearest; in no order."""
        sights = self._sights
        begin, end = bisect_left(sights, (span[0],)), bisect_right(sights, (span[1], math.inf))
        if end - begin > most:
            middle = bisect_right(sights, (from_s, math.inf), begin, end)
            begin, end = max(begin, middle - most), min(end, middle + most)
        return [(abs(from_s - at_s), identity_id) for at_s, identity_id in sights[begin:end]]


def _fill(looks: Sequence[tuple[_Timeline, float, float]], most: int, found: set[int]) -> set[int]:
    """What was found, and the nearest sights: `most` in all.

    Args:
        looks: where, from which moment on in both directions, and what the time from it counts.
    """
    ends_s = max(weight * timeline.farthest_s(from_s) for timeline, from_s, weight in looks)
    within_s = _FIRST_LOOK_S
    while within_s < ends_s and sum(t.count(from_s, within_s / weight) for t, from_s, weight in looks) < most:
        within_s *= 2
    sights: list[tuple[float, int]] = []
    for timeline, from_s, weight in looks:
        reach_s = within_s / weight
        near = timeline.nearest(from_s, (from_s - reach_s, from_s + reach_s), most)
        sights += [(weight * away_s, identity_id) for away_s, identity_id in near]
    return _first(sights, most, found)


def _newest(sights: Mapping[str, float]) -> tuple[float, str] | None:
    """Somebody's last sight and its camera; None where there is none."""
    return max(((at_s, camera_id) for camera_id, at_s in sights.items()), default=None)


def _first(sights: list[tuple[float, int]], most: int, found: set[int]) -> set[int]:
    """What was found, and the identities of the nearest sights: `most` in all."""
    taken = set(found)
    for _, identity_id in sorted(sights):
        if len(taken) >= most:
            break
        taken.add(identity_id)
    return taken


class _Ways:
    """The declared ways from camera to camera, each in both directions."""

    def __init__(self, rules: Sequence[TopologyConfig]) -> None:
        declared: dict[tuple[str, str], Window] = {}
        for rule in rules:
            if rule.pair and rule.overlap:
                pair, window = rule.pair, (_AT_ONCE, _BESIDE_S)
            elif rule.from_camera and rule.to_camera and rule.transit_s:
                pair, window = (rule.from_camera, rule.to_camera), rule.transit_s
            else:
                continue
            declared[pair] = _either(declared.get(pair), window)
            if rule.pair:
                declared[pair[1], pair[0]] = _either(declared.get((pair[1], pair[0])), window)
        self._windows = {(b, a): w for (a, b), w in declared.items()} | declared  # a way that is not: as its reverse
        self._beside: dict[str, list[str]] = {}
        for a, b in sorted(self._windows):
            self._beside.setdefault(a, []).append(b)

    def beside(self, camera_id: str) -> Sequence[str]:
        """The cameras that one rule leads to; none: nothing is declared of this one."""
        return self._beside.get(camera_id, ())

    def near(self, camera_id: str, most_hops: int) -> tuple[_Near, ...]:
        """The camera itself and those within some ways of it, in order of name."""
        here: tuple[Window, Window] = ((_AT_ONCE, _HERE_S), (_AT_ONCE, _HERE_S))
        known = {camera_id: (0, *here)}
        edge = self._first_ways(camera_id) if most_hops else {}
        for hops in range(1, most_hops + 1):
            for other, (came, went) in edge.items():
                nearest, *windows = known.get(other, (hops, None, None))
                known[other] = nearest, _either(windows[0], came), _either(windows[1], went)
            edge = self._further(edge, camera_id) if hops < most_hops else {}
        return tuple(_Near(c, hops, came, went) for c, (hops, came, went) in sorted(known.items()))

    def _first_ways(self, camera_id: str) -> dict[str, tuple[Window, Window]]:
        """By camera: the ways from it and to it."""
        windows = self._windows
        return {other: (windows[other, camera_id], windows[camera_id, other]) for other in self.beside(camera_id)}

    def _further(self, edge: Mapping[str, tuple[Window, Window]], home: str) -> dict[str, tuple[Window, Window]]:
        """The ways by one camera more, but not back home."""
        found: dict[str, tuple[Window, Window]] = {}
        for at, (came, went) in edge.items():
            for other in self.beside(at):
                if other == home:
                    continue
                earlier = found.get(other, (None, None))
                hither, thither = _joined(self._windows[other, at], came), _joined(went, self._windows[at, other])
                found[other] = _either(earlier[0], hither), _either(earlier[1], thither)
        return found


def _either(a: Window | None, b: Window) -> Window:
    """The window of a way that may be either of two."""
    return b if a is None else (min(a[0], b[0]), max(a[1], b[1]))


def _joined(a: Window, b: Window) -> Window:
    """The window of two ways after each other; an overlap takes no time."""
    at_once = a[0] == b[0] == _AT_ONCE
    return (_AT_ONCE if at_once else max(a[0], 0.0) + max(b[0], 0.0)), a[1] + b[1]


def _widened(window: Window, slack: float) -> Window:
    shortest_s, longest_s = window
    by_s = max(slack * (longest_s - max(shortest_s, 0.0)), _LEAST_SLACK_S)
    return max(shortest_s - by_s, 0.0) if shortest_s != _AT_ONCE else _AT_ONCE, longest_s + by_s

"""How long people take from camera to camera, and which cameras see the same ground."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from pipeline.config import TopologyConfig
from pipeline.fitting.paths import Stay

_LEAST_TRANSITS = 5  # of an ordered pair of cameras: fewer give no window
_OVERLAP_S = 1.0  # seen by both cameras for this long: a clock that is a little off does not do that
_LEAST_OVERLAPS = 2  # stays seen by both: one may be a false link
_SURE_TRANSITS = 10  # both ways together: so many ways, and never in both at once, and the views do not overlap
_SURE_PEOPLE = 3
_USUAL_SHARE = 0.9  # of the transits: the others went somewhere on the way
_WIDER = 2.0  # times the usual: who has time takes twice as long
_SLACK_S = 2.0  # added: detectors see people some time after they come in


@dataclass(frozen=True, slots=True)
class Hop:
    """A person's way from one camera to the next one; negative where both saw the person at once."""

    person_id: int
    origin: str
    destination: str
    gap_s: float


@dataclass(frozen=True, slots=True)
class TransitWindow:
    """The ways of one ordered pair of cameras.

    Attributes:
        gaps_s: every transit, rising. window_s: to be written; None when there are too few.
    """

    origin: str
    destination: str
    people: int
    gaps_s: tuple[float, ...]
    window_s: tuple[float, float] | None


@dataclass(frozen=True, slots=True)
class SharedView:
    """Two cameras that had the same people at the same time: how many stays, people and seconds."""

    cameras: tuple[str, str]
    stays: int
    people: int
    seconds: float
    is_sure: bool


def hops_of(stays: Sequence[Stay]) -> list[Hop]:
    """Each stay's way from where its person was seen last, when that was another camera (as the matcher counts)."""
    hops = []
    for person_stays in _by_person(stays).values():
        for i, stay in enumerate(person_stays):
            before = [s for s in person_stays[:i] if s.start_s < stay.start_s]
            if not before:
                continue
            last = max(before, key=lambda s: (s.end_s, s.camera_id))
            if last.camera_id != stay.camera_id:
                hops.append(Hop(stay.person_id, last.camera_id, stay.camera_id, stay.start_s - last.end_s))
    return hops


def _by_person(stays: Sequence[Stay]) -> dict[int, list[Stay]]:
    people: dict[int, list[Stay]] = defaultdict(list)
    for stay in sorted(stays, key=lambda s: (s.person_id, s.start_s, s.end_s, s.camera_id)):
        people[stay.person_id].append(stay)
    return people


def shared_views(stays: Sequence[Stay]) -> list[SharedView]:
    """Pairs of cameras that had somebody at the same time for at least a second."""
    found: dict[tuple[str, str], list[tuple[int, float]]] = defaultdict(list)
    for person_id, person_stays in _by_person(stays).items():
        for a, b in combinations(person_stays, 2):
            common_s = min(a.end_s, b.end_s) - max(a.start_s, b.start_s)
            if a.camera_id != b.camera_id and common_s >= _OVERLAP_S:
                first, second = sorted((a.camera_id, b.camera_id))
                found[first, second].append((person_id, common_s))
    return [
        SharedView(cameras, len(one), len({p for p, _ in one}), sum(s for _, s in one), len(one) >= _LEAST_OVERLAPS)
        for cameras, one in sorted(found.items())
    ]


def transit_windows(hops: Sequence[Hop], shared: Sequence[SharedView], *, certain: bool) -> list[TransitWindow]:
    """The window of each ordered pair of cameras that people went through, generously wide.

    The matcher only finds a time outside the window unlikely. But a window that begins above 0 s tells it that nobody
    can be in both cameras at once, so it begins there only after many ways of several people.

    Args:
        certain: the stays come from ground truth; what links say never excludes anything.
    """
    overlapping = {frozenset(view.cameras) for view in shared}
    ways: dict[tuple[str, str], list[Hop]] = defaultdict(list)
    for hop in hops:
        if frozenset((hop.origin, hop.destination)) not in overlapping:
            ways[hop.origin, hop.destination].append(hop)
    windows = []
    for (origin, destination), there in sorted(ways.items()):
        gaps = tuple(sorted(hop.gap_s for hop in there))
        both = [*there, *ways.get((destination, origin), [])]
        separate = certain and len(both) >= _SURE_TRANSITS and len({hop.person_id for hop in both}) >= _SURE_PEOPLE
        least_s = min(hop.gap_s for hop in both)
        people = len({hop.person_id for hop in there})
        windows.append(TransitWindow(origin, destination, people, gaps, _window(gaps, separate and least_s > 0)))
    return windows


def _window(gaps: Sequence[float], separate: bool) -> tuple[float, float] | None:
    if len(gaps) < _LEAST_TRANSITS:
        return None
    most_s = float(np.ceil(_WIDER * float(np.quantile(gaps, _USUAL_SHARE)) + _SLACK_S))
    least_s = float(np.floor(5 * gaps[0]) / 10) if separate else 0.0  # half the shortest, in tenths
    return max(0.0, least_s), max(most_s, 1.0)


def topology_of(windows: Sequence[TransitWindow], shared: Sequence[SharedView]) -> list[TopologyConfig]:
    """The entries to write."""
    entries = [TopologyConfig(pair=view.cameras, overlap=True) for view in shared if view.is_sure]
    entries += [
        TopologyConfig(from_camera=w.origin, to_camera=w.destination, transit_s=w.window_s)
        for w in windows
        if w.window_s is not None
    ]
    return entries

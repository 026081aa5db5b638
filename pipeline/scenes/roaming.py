"""People who roam a site of several places: through a place, on a way between two of them, away and back again."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from pipeline.scenes.ground_plan import GroundPath, Stop
from pipeline.scenes.paths import Side

_SPEED_M_S = (0.85, 1.4)  # of walking
_TURN_BACK = 0.15  # share of the crossings that end where they began
_TURN_S = 0.7  # standing before going back
_LINGER = 0.1  # share of the crossings with a pause
_LINGER_S = (1.0, 4.0)
_MIDDLE = 0.5  # of the half length: where people pause and turn
_LANES: dict[Side, tuple[float, float]] = {  # shares of the strip that those who walk to a side keep to
    "right": (0.0, 0.6),
    "left": (0.4, 1.0),
}
_WAIT_S = 6.0  # that somebody waits out of sight for company
_BEHIND_S = (0.6, 1.4)  # of company: a step or two between them, at walking speed
_ASIDE_M = 0.8  # across, between two who walk together, at most


class Port(NamedTuple):
    """An end of a place: who stands there is out of the picture."""

    place: str
    side: Side


class Way(NamedTuple):
    """From one port to another, out of everybody's sight.

    Attributes:
        transit_s: least and most seconds.
        weight: against the other ways from the same port.
        away: leads out of the site and back, so that the person's own absence counts, not `transit_s`.
    """

    origin: Port
    destination: Port
    transit_s: tuple[float, float]
    weight: float = 1.0
    away: bool = False


@dataclass(frozen=True, slots=True)
class Place:
    """A strip of floor that people cross from end to end.

    Attributes:
        x_m, y_m: its middle at its lower edge, on the floor plan; it lies along the plan's x axis.
        half_m: from the middle to either port. lanes_m: from its lower to its upper edge.
        cameras: ids of those that see it.
    """

    id: str
    x_m: float
    y_m: float
    half_m: float
    lanes_m: float
    cameras: tuple[str, ...]

    def port_x_m(self, side: Side) -> float:
        """x of a port on the plan."""
        return self.x_m + (self.half_m if side == "right" else -self.half_m)


@dataclass(frozen=True, slots=True)
class Habits:
    """How a crowd behaves.

    Attributes:
        absence_s: least and most seconds that somebody who goes away stays away.
        regulars: share of the people that stay away for a third of that only, and so come back most often.
        company: share of the crossings that wait for somebody else's and go beside them.
        start_within_s: everybody has begun after so long.
    """

    absence_s: tuple[float, float] = (10.0, 60.0)
    regulars: float = 0.3
    company: float = 0.05
    start_within_s: float = 30.0


class Crossing(NamedTuple):
    """One walk through one place."""

    place: str
    enter: Side
    leave: Side
    path: GroundPath


@dataclass
class Roamers:
    """Everybody's crossings, one person after the other: later ones may walk beside earlier ones.

    Args:
        ways: at least one from every port.
    """

    places: Sequence[Place]
    ways: Sequence[Way]
    habits: Habits
    duration_s: float
    crossings: list[Crossing] = field(default_factory=list)

    def add(self, person_id: int, rng: np.random.Generator) -> None:
        """Let one more person roam until the end."""
        patience = _REGULAR if rng.random() < self.habits.regulars else 1.0
        port = _any_port(self.places, rng)
        now_s = float(rng.uniform(0, min(self.habits.start_within_s, self.duration_s)))
        while now_s < self.duration_s:
            crossing = self._join(self.cross(person_id, port, now_s, rng), rng)
            self.crossings.append(crossing)
            way = self._choose_way(Port(crossing.place, crossing.leave), rng)
            gap_s = rng.uniform(*self.habits.absence_s) * patience if way.away else rng.uniform(*way.transit_s)
            now_s, port = crossing.path.end_s + float(gap_s), way.destination

    def _place(self, place_id: str) -> Place:
        return next(place for place in self.places if place.id == place_id)

    def cross(self, person_id: int, port: Port, start_s: float, rng: np.random.Generator) -> Crossing:
        """One crossing that begins at a port at a time; nobody is joined, and it is not added."""
        place = self._place(port.place)
        turns, lingers = rng.random() < _TURN_BACK, rng.random() < _LINGER
        leave = port.side if turns else opposite(port.side)
        # who enters by a side walks away from it, who leaves by one walks towards it: all keep to the right
        lanes = (_LANES[opposite(port.side)], _LANES[leave])
        across = [place.y_m + place.lanes_m * rng.uniform(*lane) for lane in lanes]
        speed, middle_m = rng.uniform(*_SPEED_M_S), place.x_m + _MIDDLE * place.half_m * rng.uniform(-1, 1)
        pause_s = _TURN_S if turns else float(rng.uniform(*_LINGER_S))
        first = Stop(start_s, place.port_x_m(port.side), float(across[0]))
        stops = [first]
        if turns or lingers:
            there_s = start_s + abs(middle_m - first.x_m) / speed
            share = 0.0 if turns else abs(middle_m - first.x_m) / (2 * place.half_m)
            y_m = float(across[0] + share * (across[1] - across[0]))
            stops += [Stop(there_s, middle_m, y_m), Stop(there_s + pause_s, middle_m, y_m)]
        end_m = place.port_x_m(leave)
        stops.append(Stop(stops[-1].at_s + abs(end_m - stops[-1].x_m) / speed, end_m, float(across[1])))
        return Crossing(place.id, port.side, leave, GroundPath(person_id, tuple(stops)))

    def _join(self, crossing: Crossing, rng: np.random.Generator) -> Crossing:
        """The crossing, or one at the side of somebody who enters by the same port a little later."""
        if rng.random() >= self.habits.company:
            return crossing
        mine = crossing.path
        near = [
            other
            for other in self.crossings
            if (other.place, other.enter) == (crossing.place, crossing.enter)
            and 0 <= other.path.start_s - mine.start_s <= _WAIT_S
            and other.path.person_id != mine.person_id
        ]
        if not near:
            return crossing
        other, place = near[int(rng.integers(len(near)))], self._place(crossing.place)
        behind_s, aside_m = rng.uniform(*_BEHIND_S), rng.uniform(-_ASIDE_M, _ASIDE_M)
        stops = tuple(
            Stop(s.at_s + behind_s, s.x_m, float(np.clip(s.y_m + aside_m, place.y_m, place.y_m + place.lanes_m)))
            for s in other.path.stops
        )
        return Crossing(place.id, other.enter, other.leave, GroundPath(mine.person_id, stops))

    def _choose_way(self, port: Port, rng: np.random.Generator) -> Way:
        ways = [way for way in self.ways if way.origin == port]
        if not ways:
            raise ValueError(f"expected a way from the {port.side} of {port.place}, got none")
        weights = np.array([way.weight for way in ways])
        return ways[int(rng.choice(len(ways), p=weights / weights.sum()))]


_REGULAR = 1 / 3


def opposite(side: Side) -> Side:
    """The other side."""
    return "right" if side == "left" else "left"


def _any_port(places: Sequence[Place], rng: np.random.Generator) -> Port:
    side: Side = "left" if rng.random() < 0.5 else "right"
    return Port(places[int(rng.integers(len(places)))].id, side)

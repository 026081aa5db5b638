"""Who is where when: every person's visits to cameras within the hour.

Assumed, and why:

- A person enters the site at any camera at any time, equally likely, walks from camera to camera along streets, and is
  gone after three visits on average (a geometric number): 100,000 people an hour at 1,000 cameras are passers-by.
- A visit is short: 10^6 clips of 100,000 people are ten clips a person, and with those who come back and those seen by
  two cameras a person has four visits. A track's first clip comes 0.4 s after its birth and the next ones every second,
  as `reid.first_clip_s` and `reid.every_s` say, so a visit takes some 2 s. How long single ones take follows an
  exponential law, with at least one clip each.
- Between two cameras people walk at 1.35 m/s with a deviation of 15 % (a log-normal law); one way in twenty takes up to
  four times as long, outside of the window that the site's owner declared: people stop, and windows are guesses.
- Where a camera overlaps with another one, nine of ten visits are seen by both, up to a second apart.
- Nobody turns round at once: the next camera is any neighbour but the last one, unless there is no other.
- One person in five comes back, after 1 to 20 minutes, to the camera where they were last, and walks on from there.
- Tracks are right and whole: what trackers do wrong is not the subject; how well decisions are made on real footage is
  measured by bench_matching.py.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from scale.site import SiteMap

MEAN_VISITS = 3.0  # walked ones, those of an overlapping camera on top
RETURNS = 0.2  # share of people who come back
AWAY_S = (60.0, 1200.0)
SPEED_M_S = 1.35  # Bohannon 1997: comfortable gait of adults 1.27 to 1.46 m/s
SPEED_SPREAD = 0.15
STOPS = 0.05  # share of ways on which somebody stops
STOP_FACTOR = 4.0  # longest such way, in ordinary ones
SEEN_TWICE = 0.9  # share of an overlapping camera's visits that its partner sees as well
FIRST_CLIP_S, CLIP_EVERY_S = 0.4, 1.0  # reid.first_clip_s, reid.every_s
TAIL_S = 0.6  # how long a track is seen after its last clip, at most less than till the next one
LOST_S = 2.0  # tracker.lost_s: a track ends so long after it was last seen


@dataclass(frozen=True, eq=False, slots=True)
class Visits:
    """Everybody's visits in order of `first_s`, all (V,): person, camera, first and last sight (s), clips."""

    person: npt.NDArray[np.int64]
    camera: npt.NDArray[np.int64]
    first_s: npt.NDArray[np.float64]
    last_s: npt.NDArray[np.float64]
    clips: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.person)


@dataclass(slots=True)
class _Leg:
    """One visit before its length is known: `gap_s` since the end of the leg that it follows (None: the first)."""

    camera: int
    gap_s: float
    beside: bool = False  # seen by an overlapping camera at the same time as the leg before


def make_visits(site: SiteMap, identities: int, clips: int, seconds: float, seed: int) -> Visits:
    """Visits of that many people, whose clips are `clips` in all as nearly as whole numbers allow.

    Raises:
        ValueError: fewer clips than visits, or no time.
    """
    if seconds <= 0 or identities < 0:
        raise ValueError(f"expected seconds > 0 and identities >= 0, got {seconds} and {identities}")
    rng = np.random.default_rng((seed, 7))
    walks = [_walk(site, rng, seconds) for _ in range(identities)]
    counts = _spread_clips(sum(map(len, walks)), clips, rng)
    person, camera, first_s, last_s = [], [], [], []
    taken = 0
    for number, legs in enumerate(walks):
        lengths = (
            FIRST_CLIP_S + CLIP_EVERY_S * (counts[taken : taken + len(legs)] - 1) + rng.uniform(0, TAIL_S, len(legs))
        )
        begins_s, ends_s = _times(legs, lengths, seconds, rng)
        taken += len(legs)
        person += [number] * len(legs)
        camera += [leg.camera for leg in legs]
        first_s += begins_s
        last_s += ends_s
    order = np.argsort(np.array(first_s), kind="stable")
    whole = [np.array(values)[order] for values in (person, camera, first_s, last_s)]
    return Visits(
        whole[0].astype(np.int64), whole[1].astype(np.int64), whole[2].round(3), whole[3].round(3), counts[order]
    )


def _walk(site: SiteMap, rng: np.random.Generator, seconds: float) -> list[_Leg]:
    """One person's way through the site, and perhaps a second one later."""
    at = int(rng.integers(len(site.around)))
    legs = _way(site, rng, at, 0.0)
    if rng.random() < RETURNS:
        at = next(leg.camera for leg in reversed(legs) if not leg.beside)
        away_s = min(rng.uniform(*AWAY_S), seconds / 3)
        legs += _way(site, rng, at, float(away_s))
    return legs


def _way(site: SiteMap, rng: np.random.Generator, at: int, gap_s: float) -> list[_Leg]:
    legs, came_from = [], None
    for _ in range(int(rng.geometric(1 / MEAN_VISITS))):
        legs.append(_Leg(at, gap_s))
        partner = site.partner[at]
        if partner is not None and rng.random() < SEEN_TWICE:
            legs.append(_Leg(partner, float(rng.uniform(0, 1)), beside=True))
        onwards = [way for way in site.around[at] if way[0] != came_from] or list(site.around[at])
        if not onwards:
            break
        came_from, (at, length_m) = at, onwards[int(rng.integers(len(onwards)))]
        gap_s = float(length_m / SPEED_M_S * rng.lognormal(0, SPEED_SPREAD))
        gap_s *= float(rng.uniform(1, STOP_FACTOR)) if rng.random() < STOPS else 1.0
    return legs


def _spread_clips(visits: int, clips: int, rng: np.random.Generator) -> npt.NDArray[np.int64]:
    """(V,) at least 1 each, of an exponential law, `clips` in all."""
    if visits > clips:
        raise ValueError(f"clips: expected at least one for each of {visits} visits, got {clips}")
    weights = rng.exponential(1.0, visits)
    more = (clips - visits) * weights / weights.sum() if visits else weights
    counts = np.floor(more).astype(np.int64)
    rest = clips - visits - int(counts.sum()) if visits else 0
    counts[np.argsort(counts - more, kind="stable")[:rest]] += 1
    return counts + 1


def _times(
    legs: Sequence[_Leg], lengths: npt.NDArray[np.float64], seconds: float, rng: np.random.Generator
) -> tuple[list[float], list[float]]:
    """When each visit begins and ends; who has no room in the time is still there when it is over."""
    begins_s: list[float] = []
    ends_s: list[float] = []
    walked_s = 0.0
    for leg, length_s in zip(legs, lengths.tolist(), strict=True):
        begin_s = begins_s[-1] + leg.gap_s if leg.beside else walked_s + leg.gap_s
        begins_s.append(begin_s)
        ends_s.append(begin_s + length_s)
        walked_s = max(walked_s, begin_s + length_s)
    room_s = seconds - LOST_S - walked_s
    entered_s = float(rng.uniform(0, max(room_s, 0.0)))
    return [entered_s + s for s in begins_s], [entered_s + s for s in ends_s]

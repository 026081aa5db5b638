"""Decision rates at an operating point: site by site, and for all real clips together."""

from collections.abc import Sequence
from concurrent.futures import Executor
from dataclasses import dataclass

import numpy as np

from matching.judging import SiteJudge
from matching.quick import Links
from matching.rates import Strangers, meet_strangers
from matching.sites import Site
from matching.sweeping import FACTORS, OURS, Point, Sweep
from matching.tracks import read_tracks

FOUND_SHARE = 0.7  # of the true links: where decision rates are compared
AT_FOUND, AT_STORED = "70 %", "stored"
TOGETHER = "real clips together"
_STORED_PLACE = int(np.argmin(np.abs(np.array(FACTORS) - 1)))


@dataclass(frozen=True)
class RateRow:
    """Decision rates of one site, or of several, at one threshold; all None where no threshold finds enough."""

    label: str
    at: str
    threshold: float | None = None
    point: Point | None = None
    strangers: Strangers | None = None


def rate_rows(sweeps: Sequence[Sweep], executor: Executor) -> list[RateRow]:
    """At the least threshold that finds enough of the true links, and at the stored one.

    Sites of a few cameras of a footage are left out: their links are the footage's.
    """
    whole = [one for one in sweeps if one.site.is_whole]
    groups = [(one.site.label, [one]) for one in whole]
    real = [one for one in whole if not (one.site.is_generated or one.site.variant)]
    if len(real) > 1:
        groups.append((TOGETHER, real))
    rows: list[tuple[RateRow, list[tuple[Site, float]]]] = []
    for label, group in groups:
        points = summed(group)
        for at, place in ((AT_FOUND, operating_place(points)), (AT_STORED, _STORED_PLACE)):
            if place is None:
                rows.append((RateRow(label, at), []))
                continue
            row = RateRow(label, at, group[0].thresholds[OURS][place], points[place])
            rows.append((row, [(one.site, one.thresholds[OURS][place]) for one in group]))
    jobs = list(dict.fromkeys(job for _, of_row in rows for job in of_row))
    met = dict(zip(jobs, executor.map(strangers_at, *zip(*jobs, strict=True)), strict=True)) if jobs else {}
    return [
        RateRow(r.label, r.at, r.threshold, r.point, sum((met[job] for job in of_row), Strangers()) if of_row else None)
        for r, of_row in rows
    ]


def strangers_at(site: Site, threshold: float) -> Strangers:
    tracks = read_tracks(site)
    return meet_strangers(tracks, SiteJudge(tracks), threshold)


def operating_place(points: Sequence[Point]) -> int | None:
    """The first of the thresholds at which enough of the true links are found; None: none is high enough."""
    found = [i for i, point in enumerate(points) if point.links.found_share >= FOUND_SHARE]
    return found[0] if found else None


def summed(sweeps: Sequence[Sweep]) -> list[Point]:
    """Links of several sites together, threshold by threshold (the IDF1 is their mean)."""
    points = []
    for of_sites in zip(*(one.points[OURS] for one in sweeps), strict=True):
        links = sum((p.links for p in of_sites), Links())
        decided = sum((p.decided for p in of_sites), Links())
        points.append(Point(float(np.mean([p.idf1 for p in of_sites])), links, decided))
    return points

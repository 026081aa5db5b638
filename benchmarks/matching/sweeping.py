"""Every threshold on every site; which one to use on a site, chosen on other clips; and the site's report."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from matching.baselines import GreedyNearest, cluster, thresholds_of
from matching.judging import Figures, SiteJudge, final_ids, said
from matching.ours import match, match_quickly, stored_threshold
from matching.quick import Links
from matching.rates import decided_links
from matching.sites import Site
from matching.tracks import SiteTracks, read_tracks
from pipeline.types import IdentityEvent, TrackKey

FACTORS = tuple(round(0.4 + 0.075 * i, 3) for i in range(17))  # of the threshold stored for the features
COSINES = tuple(round(0.14 + 0.04 * i, 2) for i in range(17))  # thresholds of the greedy rule, cosine distance
OURS, GREEDY = "ours", "greedy"
STORED, CLUSTERING, CEILING = "ours, stored", "clustering, best", "ceiling"
WITH_CLIPS = "ceiling, with clips"  # of those who know a track by its clips: the others have none to go by


@dataclass(frozen=True)
class Point:
    """What one threshold gives: IDF1, links of whole tracks as finally known, and links as they were decided."""

    idf1: float
    links: Links
    decided: Links


@dataclass(frozen=True)
class Sweep:
    """What one site gives at every threshold.

    Attributes:
        thresholds: way -> its thresholds; of ours `FACTORS` of the stored one.
        points: way -> one point for each of them.
        ceiling: IDF1 with true ids on these tracks.
    """

    site: Site
    thresholds: Mapping[str, tuple[float, ...]]
    points: Mapping[str, tuple[Point, ...]]
    ceiling: float

    def shares(self, way: str) -> np.ndarray:
        """(T,) share of the ceiling at each threshold."""
        return np.array([point.idf1 for point in self.points[way]]) / max(self.ceiling, 1e-9)

    def links(self, way: str) -> np.ndarray:
        """(T, 2) false links, and all links, at each threshold."""
        links = [point.links for point in self.points[way]]
        return np.array([(one.false, one.correct + one.false) for one in links])


def sweep(site: Site) -> Sweep:
    tracks = read_tracks(site)
    judge = SiteJudge(tracks)
    stored = stored_threshold(tracks)
    thresholds = {OURS: tuple(round(stored * factor, 4) for factor in FACTORS), GREEDY: COSINES}
    ways: dict[str, Callable[[float], list[IdentityEvent]]] = {
        OURS: lambda threshold: match_quickly(tracks, threshold),
        GREEDY: lambda threshold: GreedyNearest(tracks, threshold).run(),
    }
    points = {way: tuple(_point(judge, run(threshold)) for threshold in thresholds[way]) for way, run in ways.items()}
    return Sweep(site, thresholds, points, judge.ceiling().idf1)


def _point(judge: SiteJudge, events: Sequence[IdentityEvent]) -> Point:
    return Point(*judge.quick(final_ids(events)), decided_links(events, judge.people_of_tracks))


def chosen_elsewhere(sweeps: Iterable[Sweep], way: str, site: Site) -> float | None:
    """The threshold that is best on all clips but the site's; None: there is no other.

    Best: the highest mean share of the ceiling, less the share of all their links that are false: where nobody is alike
    IDF1 alone would choose a threshold at which strangers are taken for somebody.

    Real clips are chosen for by real clips; generated ones by generated ones where others were swept, else by real
    ones. A clip counts once, however many sites it gives; the threshold is appearance's, so sites count as they are
    without further knowledge. Of equally good ones the middle.
    """
    others = [one for one in sweeps if one.site.clip != site.clip and not one.site.variant]
    alike = [one for one in others if one.site.is_generated == site.is_generated]
    by_clip: dict[str, list[Sweep]] = {}
    for one in alike if alike or not site.is_generated else others:
        by_clip.setdefault(one.site.clip, []).append(one)
    if not by_clip:
        return None
    shares = np.mean([np.mean([one.shares(way) for one in of_clip], axis=0) for of_clip in by_clip.values()], axis=0)
    false, links = np.sum([np.mean([one.links(way) for one in c], axis=0) for c in by_clip.values()], axis=0).T
    worth = shares - false / np.maximum(links, 1)
    best = np.flatnonzero(worth >= worth.max() - 1e-9)
    first = next(iter(by_clip.values()))[0]
    return first.thresholds[way][int(best[len(best) // 2])]


@dataclass(frozen=True)
class Line:
    """One way of giving ids on one site, scored whole; threshold None: none is used."""

    way: str
    threshold: float | None
    figures: Figures


@dataclass(frozen=True)
class SiteReport:
    """Everything that is said about one site."""

    label: str
    clip: str
    boxes: str
    is_calibrated: bool
    is_generated: bool
    people: int
    tracks: int
    lines: tuple[Line, ...]

    def line(self, way: str) -> Line | None:
        return next((line for line in self.lines if line.way == way), None)

    def idf1(self, way: str) -> float | None:
        line = self.line(way)
        return line.figures.idf1 if line else None

    def share(self, way: str) -> float | None:
        """Of the ceiling's IDF1."""
        idf1, ceiling = self.idf1(way), self.idf1(CEILING)
        return None if idf1 is None or not ceiling else idf1 / ceiling


def report(site: Site, chosen: Mapping[str, float | None]) -> SiteReport:
    """Score every way whole.

    Args:
        chosen: way -> the threshold chosen on other clips; None: there is no other clip, and the way is left out.
    """
    tracks = read_tracks(site)
    judge = SiteJudge(tracks)
    lines = tuple(_lines(tracks, judge, chosen))
    return SiteReport(
        label=site.label,
        clip=site.clip,
        boxes=site.boxes,
        is_calibrated=site.is_calibrated,
        is_generated=site.is_generated,
        people=judge.people,
        tracks=len(tracks.tracklets),
        lines=lines,
    )


def _lines(tracks: SiteTracks, judge: SiteJudge, chosen: Mapping[str, float | None]) -> Iterable[Line]:
    if (threshold := chosen[OURS]) is not None:
        yield Line(OURS, threshold, judge.figures(match(tracks, threshold)))
    yield Line(STORED, stored_threshold(tracks), judge.figures(match(tracks, None)))
    if (threshold := chosen[GREEDY]) is not None:
        yield Line(GREEDY, threshold, judge.figures(GreedyNearest(tracks, threshold).run()))
    threshold, ids = best_clusters(tracks, judge)
    clusters = [said(key, identity, 0.0) for key, identity in ids.items()]
    yield Line(CLUSTERING, threshold, judge.figures(clusters, online=False))
    true_ids = [said(key, identity, 0.0) for key, identity in ids_by_truth(tracks, judge).items()]
    yield Line(WITH_CLIPS, None, judge.figures(true_ids, online=False))
    yield Line(CEILING, None, judge.ceiling())


def ids_by_truth(tracks: SiteTracks, judge: SiteJudge) -> dict[TrackKey, int]:
    """The ids of the tracks with clips that a matcher without a mistake gives; those of nobody have one each."""
    people = {key: person for key, person in judge.people_of_tracks.items() if key in tracks.clips}
    numbers = {person: n for n, person in enumerate(sorted({p for p in people.values() if p is not None}), start=1)}
    nobody = sorted(key for key, person in people.items() if person is None)
    fresh = {key: len(numbers) + n for n, key in enumerate(nobody, start=1)}
    return {key: fresh[key] if person is None else numbers[person] for key, person in people.items()}


def best_clusters(tracks: SiteTracks, judge: SiteJudge) -> tuple[float, Mapping[TrackKey, int]]:
    """The least threshold with the highest IDF1 for this ground truth, and the clusters it leads to."""
    reached = thresholds_of(cluster(tracks.tracklets, tracks.clips))
    scores = [judge.quick(ids)[0] for _, ids in reached]
    return reached[int(np.argmax(scores))]

"""The reports as plain text."""

from collections.abc import Sequence

from matching.operating import RateRow
from matching.quick import Links
from matching.sweeping import CEILING, CLUSTERING, GREEDY, OURS, STORED, WITH_CLIPS, SiteReport

GOAL_CALIBRATED, GOAL = 0.9, 0.8  # share of the ceiling's IDF1 that is to be reached on real clips
GOAL_GENERATED = 0.95  # IDF1 that is to be reached on generated sites, where nobody may share an id with somebody there
_WIDTH = 26  # of a site's name
_EPSILON = 1e-9


def summary_table(reports: Sequence[SiteReport]) -> str:
    """One line a site: IDF1 of every way, shares of the ceiling, and whether the goal is reached."""
    titles = (
        "people",
        CEILING,
        "clips",
        OURS,
        "share",
        "stored",
        "share",
        GREEDY,
        "cluster",
        "links",
        "ids",
        "thr",
        "at-once",
    )
    widths = (7, 9, 7, 8, 7, 8, 7, 8, 9, 11, 5, 6, 9)
    lines = [f"{'site':{_WIDTH}}" + _cells(titles, widths) + "  goal"]
    for one in reports:
        main = one.line(OURS) or one.line(STORED)
        if main is None:
            continue
        idf1 = {way: _number(one.idf1(way)) for way in (CEILING, WITH_CLIPS, OURS, STORED, GREEDY, CLUSTERING)}
        shares = {way: _number(one.share(way)) for way in (OURS, STORED)}
        cells = [str(one.people), idf1[CEILING], idf1[WITH_CLIPS]]
        cells += [idf1[OURS], shares[OURS], idf1[STORED], shares[STORED]]
        cells += [idf1[GREEDY], idf1[CLUSTERING], _links(main.figures.links), str(main.figures.identities)]
        cells += [_number(main.threshold, 2), str(main.figures.at_once)]
        lines.append(f"{one.label:{_WIDTH}}{_cells(cells, widths)}  {verdict(one)}")
    return "\n".join(lines)


def verdict(one: SiteReport) -> str:
    """What ours misses: its goal, or a baseline that is as good (unless ours is as good as can be on these clips)."""
    way = OURS if one.line(OURS) else STORED
    ours, share, best = one.idf1(way), one.share(way), one.idf1(WITH_CLIPS)
    if ours is None or share is None or best is None:
        return ""
    misses = _goal_misses(one, way, ours, share)
    for name in (GREEDY, CLUSTERING):
        other = one.idf1(name)
        if other is not None and (other > ours + _EPSILON or (other > ours - _EPSILON and ours < best - _EPSILON)):
            misses.append(name.partition(",")[0])
    return "missed: " + ", ".join(misses) if misses else "reached"


def _goal_misses(one: SiteReport, way: str, idf1: float, share: float) -> list[str]:
    if not one.is_generated:
        return [f"share {share:.2f}"] if share < (GOAL_CALIBRATED if one.is_calibrated else GOAL) else []
    line = one.line(way)
    misses = [f"IDF1 {idf1:.2f}"] if idf1 < GOAL_GENERATED else []
    return [*misses, "at once"] if line is not None and line.figures.at_once else misses


def details_table(reports: Sequence[SiteReport]) -> str:
    """Every way on every site."""
    figures = ("IDF1", "IDP", "IDR", "HOTA", "share", "links", "ids", "at-once", "online IDF1", "HOTA", "links")
    titles, widths = ("way", "thr", *figures), (21, 6, 8, 8, 8, 8, 8, 11, 5, 9, 13, 8, 11)
    lines = [f"{'site':{_WIDTH}}" + _cells(titles, widths)]
    for one in reports:
        for line in one.lines:
            f = line.figures
            cells = [line.way, _number(line.threshold, 2)]
            cells += [_number(value) for value in (f.idf1, f.idp, f.idr, f.hota, one.share(line.way))]
            cells += [_links(f.links), str(f.identities), str(f.at_once)]
            cells += [_number(f.online_idf1), _number(f.online_hota), _links(f.online_links)]
            lines.append(f"{one.label:{_WIDTH}}{_cells(cells, widths)}")
    return "\n".join(lines)


def rates_table(rows: Sequence[RateRow]) -> str:
    """Decision rates; the first shares are of links as finally known, "decided" of links as they first fell."""
    titles = ("at", "thr", "found", "false", "decided: found", "false", "strangers", "finally", "tracks")
    widths = (8, 7, 8, 8, 16, 8, 11, 9, 8)
    lines = [f"{'decisions':{_WIDTH}}" + _cells(titles, widths)]
    for row in rows:
        if row.point is None or row.strangers is None:
            lines.append(f"{row.label:{_WIDTH}}{row.at:>8}  never that many, at any threshold")
            continue
        links, decided, strangers = row.point.links, row.point.decided, row.strangers
        shares = [links.found_share, links.false_share, decided.found_share, decided.false_share]
        cells = [row.at, _number(row.threshold, 2), *(_number(share) for share in shares)]
        cells += [_number(strangers.taken_share), _number(strangers.taken_finally_share), str(strangers.tracks)]
        lines.append(f"{row.label:{_WIDTH}}{_cells(cells, widths)}")
    return "\n".join(lines)


def _cells(cells: Sequence[str], widths: Sequence[int]) -> str:
    return "".join(f"{cell:>{width}}" for cell, width in zip(cells, widths, strict=False))


def _number(value: float | None, digits: int = 3) -> str:
    return "–" if value is None else f"{value:.{digits}f}"


def _links(links: Links | None) -> str:
    return "–" if links is None else f"{links.correct}/{links.false}/{links.missed}"

"""Figures of one tracker over all clips, and the table of everybody's."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from peers.clips import Clip
from pipeline.scoring.alignment import align_camera
from pipeline.scoring.rows import read_rows
from pipeline.scoring.tracking_metrics import Figures, score_each

ALL = "all"  # clip name of the figures over all clips


@dataclass(frozen=True)
class Result:
    """One line of the table: figures by clip and over all, or why there are none.

    Attributes:
        version: of the library, as a footnote of the table.
        is_peer: the fastest of these is what speeds are compared with.
    """

    name: str
    scores: Mapping[str, Figures] = field(default_factory=dict)
    frames_per_s: float | None = None
    reason: str = ""
    version: str = ""
    is_peer: bool = False


def score_clips(clips: Sequence[Clip], folder: Path, nobody: int | None = None) -> dict[str, Figures]:
    """The figures of `folder`/<clip>.txt by clip, and of all together under `ALL` (no ids shared between clips).

    Args:
        nobody: the id of a box whose identity is not known yet.
    """
    rows = [read_rows(folder / f"{clip.name}.txt", nobody) for clip in clips]
    cameras = [align_camera(c.name, c.truth, found, c.frame_count) for c, found in zip(clips, rows, strict=True)]
    by_clip, combined = score_each(cameras, nobody)
    return {**by_clip, ALL: combined}


def score_result(result: Result, clips: Sequence[Clip], folder: Path) -> Result:
    """The result with the figures of its rows; as it is when it was not run."""
    return result if result.reason else replace(result, scores=score_clips(clips, folder))


def faster(one: Result, other: Result) -> Result:
    """The faster of two rounds of one tracker: load on the machine only ever slows down. One that broke off counts."""
    if one.reason or other.reason:
        return one if one.reason else other
    return max(one, other, key=lambda result: result.frames_per_s or 0.0)


def table(results: Sequence[Result], clips: Sequence[str]) -> str:
    """A Markdown table with HOTA by clip and HOTA, IDF1, MOTA, IDSW over all, in per cent, and the speed."""
    titles = [
        "tracker",
        *(f"{clip} HOTA" for clip in clips),
        "HOTA",
        "IDF1",
        "MOTA",
        "IDSW",
        "frames/s",
        "× fastest peer",
    ]
    best = max((r.frames_per_s for r in results if r.is_peer and r.frames_per_s), default=None)
    lines = [_line(titles), "|" + "---|" * len(titles)]
    for result in results:
        if result.reason:
            cells = [result.name, f"not run: {_one_line(result.reason)}"]
            lines.append(_line([*cells, *[""] * (len(titles) - len(cells))]))
            continue
        every = result.scores[ALL]
        cells = [result.name, *(_per_cent(result.scores[clip]["HOTA"]) for clip in clips)]
        cells += [_per_cent(every[figure]) for figure in ("HOTA", "IDF1", "MOTA")]
        cells += [_whole(every["IDSW"]), _whole(result.frames_per_s)]
        cells.append("–" if best is None or result.frames_per_s is None else f"{result.frames_per_s / best:.2f}")
        lines.append(_line(cells))
    return "\n".join(lines)


def versions(results: Sequence[Result]) -> str:
    """The libraries' versions, each once, in the order of the table."""
    return ", ".join(dict.fromkeys(result.version for result in results if result.version))


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _one_line(reason: str) -> str:
    return " ".join(reason.split()).replace("|", "/")[:160]


def _per_cent(share: float | None) -> str:
    return "–" if share is None else f"{100 * share:.2f}"


def _whole(value: float | None) -> str:
    return "–" if value is None else f"{value:.0f}"

"""Ground truth from a folder: who is where, what is annotated, what is to be left out (DESIGN, docs/replay.md)."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from pipeline.errors import ConfigError, DecodeError
from pipeline.scoring.csv_file import CsvRow, read_csv
from pipeline.scoring.roles import Role, RoleArray, people_labels, roles_of
from pipeline.scoring.rows import Float64Array, Rows, read_table, rows_of_table
from pipeline.scoring.shared_ids import SharedIds, read_shared_ids, with_shared_ids
from pipeline.seqinfo import read_seqinfo
from pipeline.types import IntArray


@dataclass(frozen=True, eq=False, slots=True)
class CameraTruth:
    """The annotation of one camera.

    Attributes:
        rows: all rows of the file. roles: (N,) int8, `Role` of each.
        annotated: (F,) sorted frame numbers that were annotated; None: every frame.
        ignored: (R, 6) frame_from, frame_to, x, y, w, h of regions where nothing is scored.
        fps, frame_count, size_px: from seqinfo.ini, None where there is none.
    """

    rows: Rows
    roles: RoleArray
    annotated: IntArray | None = None
    ignored: Float64Array = field(default_factory=lambda: np.zeros((0, 6)))
    fps: float | None = None
    frame_count: int | None = None
    size_px: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True)
class TrueVisit:
    """One stay of a person in a camera's picture, from visits.csv; frames from 1, both labelled.

    Attributes:
        visit: number of the stay of this person in this camera, from 1; from 2 on it begins with a re-entry.
        is_sure: False for the annotator's "likely": neither a miss nor a false alarm.
    """

    camera_id: str
    person_id: int
    visit: int
    entry_frame: int
    exit_frame: int
    is_sure: bool = True


@dataclass(frozen=True, eq=False, slots=True)
class GroundTruth:
    """The annotation of a site.

    Attributes:
        cameras: camera (or sequence) → its annotation, in natural order.
        visits: None without visits.csv.
        warnings: what was odd and how it was understood, for people.
    """

    cameras: Mapping[str, CameraTruth]
    visits: tuple[TrueVisit, ...] | None = None
    warnings: tuple[str, ...] = ()


_LAYOUTS = "`<camera>.txt`, `<camera>/gt/gt.txt` or `gt/gt.txt`"
_CVAT_IDS = (
    "exports of an annotation tool, and no identities.csv: it is taken for granted that a number is the same person in "
    "every camera; CVAT numbers the tracks of each task on its own"
)
_VISIT_COLUMNS = ("camera", "person_id", "visit", "entry_frame", "exit_frame", "certainty")


def read_ground_truth(folder: Path, cameras: Sequence[str] | None) -> GroundTruth:
    """The ground truth of a folder: `<camera>.txt`, MOTChallenge's sequences, CVAT's exports, or one sequence itself.

    Args:
        cameras: whose ground truth is wanted; None: everything that is there. Others are left out with a warning.

    Raises:
        ConfigError: no ground truth at all, or none of a wanted camera. DecodeError: names file and line.
    """
    files = camera_files(folder)
    wanted = natural_order(files) if cameras is None else [name for name in natural_order(cameras) if name in files]
    if not wanted:
        raise ConfigError(_nothing_wanted(folder, files, cameras))
    warnings: list[str] = []
    truths: dict[str, CameraTruth] = {}
    shared_ids = read_shared_ids(folder / "identities.csv")
    for name in wanted:
        truths[name] = _read_camera(folder, name, files[name], shared_ids)
        warnings += _oddities(name, truths[name])
    if shared_ids is None and sum(files[name].with_name("labels.txt").is_file() for name in wanted) > 1:
        warnings.append(_CVAT_IDS)
    if cameras is not None:
        warnings += _unmatched(files, cameras)
    visits, odd_visits = _read_visits(folder / "visits.csv", set(truths), set(files))
    return GroundTruth(truths, visits, (*warnings, *odd_visits))


def natural_order(names: Sequence[str] | Mapping[str, object]) -> list[str]:
    """Names without repetition, numbers inside them in order of size: cam2 before cam10."""

    def key(name: str) -> list[tuple[int, int, str]]:
        return [(0, int(part), "") if part.isdigit() else (1, 0, part) for part in re.split(r"(\d+)", name) if part]

    return sorted(dict.fromkeys(names), key=lambda name: (key(name), name))


def camera_files(folder: Path) -> dict[str, Path]:
    """Camera → file with its rows. The folder's own name stands for a folder that is one sequence.

    Raises:
        ConfigError: the folder is not there, or two files are of one camera.
    """
    if not folder.is_dir():
        raise ConfigError(f"{folder}: no such folder; expected ground truth as {_LAYOUTS}")
    if (folder / "gt" / "gt.txt").is_file():  # other texts beside it are detections or results
        return {folder.resolve().name: folder / "gt" / "gt.txt"}
    found = [(path.stem, path) for path in sorted(folder.glob("*.txt"))]
    found += [(path.parent.parent.name, path) for path in sorted(folder.glob("*/gt/gt.txt"))]
    files: dict[str, Path] = {}
    for name, path in found:
        if name in files:
            raise ConfigError(f"{folder}: two files for {name}, {files[name]} and {path}; leave one of them")
        files[name] = path
    return files


def _nothing_wanted(folder: Path, files: Mapping[str, Path], cameras: Sequence[str] | None) -> str:
    if not files:
        return f"{folder}: no ground truth; expected {_LAYOUTS}"
    wanted = ", ".join(natural_order(cameras or ())) or "none"
    return (
        f"{folder}: no camera in common: ground truth for {', '.join(natural_order(files))}; wanted {wanted}. "
        "Give file and camera the same name"
    )


def _unmatched(files: Mapping[str, Path], cameras: Sequence[str]) -> list[str]:
    missing = [name for name in natural_order(cameras) if name not in files]
    spare = [name for name in natural_order(files) if name not in set(cameras) and _has_rows(files[name])]
    warnings = []
    if missing:
        warnings.append(f"no ground truth for {', '.join(missing)}: not scored")
    if spare:
        warnings.append(f"ground truth of {', '.join(spare)} is not used: no such camera in the results")
    return warnings


def _has_rows(path: Path) -> bool:
    """False for a text that is something else, such as notes."""
    try:
        return len(read_table(path, least_columns=6).values) > 0
    except DecodeError:
        return False


def _read_camera(folder: Path, name: str, path: Path, shared_ids: SharedIds | None) -> CameraTruth:
    table = read_table(path, least_columns=6)
    labels = _read_labels(path.with_name("labels.txt")) if path.name == "gt.txt" else None
    rows, roles = rows_of_table(table), roles_of(table.values, labels, name)
    if shared_ids is not None:
        rows = with_shared_ids(name, rows, shared_ids)
    truth = CameraTruth(rows, roles)
    if path.name == "gt.txt" and path.parent.name == "gt":
        truth = _with_seqinfo(truth, path.parent.parent / "seqinfo.ini")
    frames, ignore = folder / "frames" / f"{name}.txt", folder / "ignore" / f"{name}.txt"
    if frames.is_file():
        truth = replace(truth, annotated=_read_frames(frames))
    if ignore.is_file():
        truth = replace(truth, ignored=_read_ignored(ignore))
    return truth


def _read_labels(path: Path) -> list[str] | None:
    """CVAT's labels, in order of their class number; None without the file."""
    if not path.is_file():
        return None
    try:
        labels = [line.strip() for line in path.read_text("utf-8-sig").strip().splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise DecodeError(f"{path}: cannot be read as text: {error}") from error
    people_labels(labels, str(path))
    return labels


def _with_seqinfo(truth: CameraTruth, path: Path) -> CameraTruth:
    info = read_seqinfo(path)
    return replace(truth, fps=info.fps, frame_count=info.frame_count, size_px=info.size_px)


def _read_frames(path: Path) -> IntArray:
    table = read_table(path, least_columns=1)
    values = table.values[:, 0]
    table.refuse((values < 1) | (values != np.round(values)), "the number of a frame, from 1", 0)
    return np.unique(values.astype(np.int64))


def _read_ignored(path: Path) -> Float64Array:
    table = read_table(path, least_columns=6)
    values = table.values[:, :6]
    table.refuse(values[:, 1] < values[:, 0], "frame_to at or after frame_from", 1)
    for column in (4, 5):
        table.refuse(values[:, column] <= 0, "a region with width and height above 0", column)
    return values


def _read_visits(path: Path, cameras: set[str], known: set[str]) -> tuple[tuple[TrueVisit, ...] | None, list[str]]:
    """Visits in these cameras, and a warning about cameras that have visits and no rows; None without the file."""
    if not path.is_file():
        return None, []
    visits = [_visit(row) for row in read_csv(path, _VISIT_COLUMNS)]
    strangers = natural_order([visit.camera_id for visit in visits if visit.camera_id not in known])
    warnings = [f"visits.csv: {', '.join(strangers)} has visits and no ground truth: left out"] if strangers else []
    return tuple(visit for visit in visits if visit.camera_id in cameras), warnings


def _visit(row: CsvRow) -> TrueVisit:
    first, last = row.number("entry_frame", 1), row.number("exit_frame", 1)
    if last < first:
        raise DecodeError(f"{row.place}: expected exit_frame at or after entry_frame {first}, got {last}")
    return TrueVisit(
        camera_id=row.text("camera"),
        person_id=row.number("person_id"),
        visit=row.number("visit", 1),
        entry_frame=first,
        exit_frame=last,
        is_sure=row.text("certainty").lower() == "sure",
    )


def _oddities(name: str, truth: CameraTruth) -> list[str]:
    """What a reader of the figures should know about one camera's annotation."""
    rows, is_person = truth.rows, truth.roles == Role.PERSON
    low, high = rows.xywh[:, :2], rows.xywh[:, :2] + rows.xywh[:, 2:]
    size = np.array(truth.size_px or (np.inf, np.inf))
    has_area = (high > low).all(axis=1)
    outside = ((high <= 0) | (low >= size)).any(axis=1) if truth.size_px else np.zeros(len(rows), bool)
    late = rows.frames > (truth.frame_count or np.inf)
    unlisted = np.zeros(len(rows), bool) if truth.annotated is None else ~np.isin(rows.frames, truth.annotated)
    counted = (
        (late, f"after the last frame ({truth.frame_count}): left out"),
        (unlisted, "in frames that are not listed as annotated: left out"),
        (rows.ids < 0, "without a track number (id below 0): nobody is looked for there"),
        (is_person & ~has_area, "without area: nothing can match them, they count as missed"),
        (is_person & has_area & outside, "wholly outside the picture: they count as missed unless a result is there"),
    )
    warnings = [f"{name}: {wrong.sum()} ground-truth rows {what}" for wrong, what in counted if wrong.any()]
    if not is_person.any():
        warnings.append(f"{name}: no people in the ground truth: every result box is a false alarm")
    return warnings

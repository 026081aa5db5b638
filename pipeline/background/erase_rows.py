"""Takes one person out of MOTChallenge rows and out of the identity log."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import numpy as np

from pipeline.background.erasure import Erasure, dump_like, joined
from pipeline.background.files import locked
from pipeline.background.retention import read_lines, read_object
from pipeline.boxes import box_iou, xywh_to_xyxy
from pipeline.resolution import IdentityBook
from pipeline.types import EventKind, FloatArray, FramePointer, IdentityEvent, TrackKey

_SAME_BOX_IOU = 0.9  # the same box in `tracks` and `tracks_online`: equal but for rounding


@dataclass(frozen=True, eq=False, slots=True)
class Rows:
    """The rows of one file; those that cannot be read have frame -1 and are never touched.

    Attributes:
        lines: as they stand in the file, without ends.
        frame: (N,) int64 from 1. identity: (N,) int64. xyxy: (N, 4) float32 px.
    """

    lines: list[bytes]
    frame: np.ndarray
    identity: np.ndarray
    xyxy: FloatArray

    def of(self, identity_ids: frozenset[int]) -> np.ndarray:
        """(N,) bool: rows of these identities."""
        return np.isin(self.identity, sorted(identity_ids)) & (self.frame >= 0)


def read_rows(path: Path) -> Rows:
    """Rows `frame,id,x,y,w,h,…`; none when the file is missing."""
    lines = read_lines(path)
    values = np.array([_row(line) for line in lines], np.float64).reshape(-1, 6)
    xyxy = xywh_to_xyxy(values[:, 2:6].astype(np.float32))
    return Rows(lines, values[:, 0].astype(np.int64), values[:, 1].astype(np.int64), xyxy)


def _row(line: bytes) -> list[float]:
    try:
        values = [float(v) for v in line.split(b",")[:6]]
    except ValueError:
        values = []
    usable = len(values) == 6 and bool(np.isfinite(values).all()) and abs(values[1]) < 2**53
    return values if usable else [-1.0, -1.0, 0.0, 0.0, 0.0, 0.0]


def erase_rows(work: Erasure) -> None:
    """Remove the person's rows from `tracks` and `tracks_online`; all other rows keep their bytes.

    Online, a row may carry the person's id though it turned out to be somebody else: that row stays with id 0 (not
    known yet). Rows with id 0 that turned out to be the person go.
    """
    names = {p.name for folder in ("tracks", "tracks_online") for p in (work.out_dir / folder).glob("*.txt")}
    for name in sorted(names):
        final = read_rows(work.out_dir / "tracks" / name)
        _erase_online(work, work.out_dir / "tracks_online" / name, final)  # needs the final rows: they go last
        mine = final.of(work.identity_ids)
        if mine.any():
            left = [line for line, gone in zip(final.lines, mine, strict=True) if not gone]
            work.write(work.out_dir / "tracks" / name, joined(left))
            work.counts["track_rows"] += int(mine.sum())


def _erase_online(work: Erasure, path: Path, final: Rows) -> None:
    online = read_rows(path)
    mine = online.of(work.identity_ids)
    gone = np.zeros(len(online.lines), bool)
    for i in np.flatnonzero(mine | (online.identity == 0)):
        owner = _final_owner(online, int(i), final)
        gone[i] = owner in work.identity_ids or (mine[i] and owner is None)
    if not (mine | gone).any():
        return
    lines = [
        _with_identity(line, 0) if hidden else line
        for line, hidden, removed in zip(online.lines, mine, gone, strict=True)
        if not removed
    ]
    work.write(path, joined(lines))
    work.counts["online_rows"] += int((mine | gone).sum())


def _final_owner(online: Rows, row: int, final: Rows) -> int | None:
    """Whose box this is in the end; None when the final rows do not have it."""
    there = np.flatnonzero(final.frame == online.frame[row])
    iou = box_iou(online.xyxy[row : row + 1], final.xyxy[there])[0]
    if not len(iou) or iou.max() < _SAME_BOX_IOU:
        return None
    return int(final.identity[there[int(iou.argmax())]])


def _with_identity(line: bytes, identity_id: int) -> bytes:
    frame, _, rest = line.split(b",", 2)
    return b"%s,%d,%s" % (frame, identity_id, rest)


def one_person(out_dir: Path, identity_id: int) -> tuple[frozenset[int], frozenset[TrackKey]]:
    """All ids that were merged with an identity, directly or not, itself included, and the tracks they finally are."""
    book = read_book(out_dir)
    return book.ids_of(identity_id), book.tracks_of(identity_id)


def read_book(out_dir: Path) -> IdentityBook:
    """Whose each track is by the folder's identity log, lines of other versions included."""
    lines = (read_object(line) for line in read_lines(out_dir / "identities.jsonl"))
    return IdentityBook(event for event in map(_event, lines) if event is not None)


def _event(line: dict[str, Any] | None) -> IdentityEvent | None:
    """What a line says of whose a track is, as far as it can be understood, whatever its version."""
    if line is None:
        return None
    kind: EventKind | None = next((k for k in get_args(EventKind) if k == line.get("kind")), None)
    identity_id, other = line.get("identity_id"), line.get("other_identity_id")
    if kind is None or not isinstance(identity_id, int):
        return None
    at_s = line.get("at_s")
    return IdentityEvent(
        sequence=0,
        kind=kind,
        identity_id=identity_id,
        key=_key(line.get("key")),
        at_s=float(at_s) if isinstance(at_s, int | float) else 0.0,
        decided_at_s=0.0,
        other_identity_id=other if isinstance(other, int) else None,
        frame=_pointer(line.get("frame")),
    )


def _pointer(value: Any) -> FramePointer | None:
    at_s = value.get("captured_at_s") if isinstance(value, dict) else None
    return FramePointer("", "", float(at_s), "") if isinstance(at_s, int | float) else None


def _key(value: Any) -> TrackKey | None:
    if isinstance(value, dict):
        value = [value.get("camera_id"), value.get("epoch"), value.get("track_id")]
    if isinstance(value, list) and len(value) == 3 and isinstance(value[2], int):
        return TrackKey(str(value[0]), str(value[1]), value[2])
    return None


def erase_events(work: Erasure, keys: frozenset[TrackKey]) -> None:
    """Remove the person's lines from `identities.jsonl`, and mentions of them from other people's evidence.

    A line about one of their tracks `keys` is theirs, also where it took them for somebody else.

    Lines that do not mention the person keep their bytes, as do `forgotten` lines, which say that this happened.
    """
    path = work.out_dir / "identities.jsonl"
    if not path.exists():
        return
    with locked(path):
        before = read_lines(path)
        after = [new for line in before if (new := _event_line(line, work.identity_ids, keys)) is not None]
        if after == before:
            return
        work.write(path, joined(after))
    work.counts["event_lines"] += len(before) - len(after)
    work.counts["events_scrubbed"] += len(set(after) - set(before))


def _event_line(line: bytes, person: frozenset[int], keys: frozenset[TrackKey]) -> bytes | None:
    """The line without the person; None when it is about them."""
    event = read_object(line)
    if event is None or event.get("kind") == "forgotten":
        return line
    if event.get("identity_id") in person or _key(event.get("key")) in keys:
        return None
    changed = False
    if event.get("other_identity_id") in person:
        event["other_identity_id"] = None
        changed = True
    if _key(event.get("previous_key")) in keys:
        event["previous_key"] = None
        changed = True
    evidence = event.get("evidence")
    if isinstance(evidence, dict):
        changed |= _scrub(evidence, person)
    return dump_like(event, line) if changed else line


def _scrub(evidence: dict[str, Any], person: frozenset[int]) -> bool:
    """Take mentions of the person out of `evidence`; whether there were any."""
    runner_up, excluded = evidence.get("runner_up"), evidence.get("excluded")
    changed = False
    if isinstance(runner_up, list) and runner_up and runner_up[0] in person:
        evidence["runner_up"] = None
        changed = True
    if isinstance(excluded, list):
        left = [e for e in excluded if not (isinstance(e, list) and e and e[0] in person)]
        changed |= len(left) < len(excluded)
        evidence["excluded"] = left
    return changed

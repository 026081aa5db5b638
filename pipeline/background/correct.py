"""Brings what lies in an output folder up to its identity log: rows, crops, and who is who in reference frames.

For corrections that were made after the run. Every file is replaced in one step, and doing it twice changes nothing
more, so that a correction that was interrupted is finished by doing it again.
"""

import logging
from collections import Counter
from collections.abc import Collection
from pathlib import Path

from pipeline.background.correct_rows import correct_rows
from pipeline.background.crops import read_name
from pipeline.background.erasure import dump_like, joined
from pipeline.background.files import locked, write_bytes
from pipeline.background.retention import read_lines, read_object
from pipeline.resolution import IdentityBook

_log = logging.getLogger(__name__)

_ROUNDING_S = 1e-3  # file names keep milliseconds, and events microseconds


def correct_folder(out_dir: Path, book: IdentityBook) -> tuple[dict[str, int], list[str]]:
    """Apply what `book` finally knows to the folder's files; any may be missing.

    Returns:
        How many rows, crops and reference lines changed; and sentences for people about what could not be corrected.

    Raises:
        OutputError: a file cannot be replaced; run it again.
    """
    rows, notes = correct_rows(out_dir, book)
    counts = {"track_rows": rows, "crops": correct_crops(out_dir, book)}
    counts["reference_lines"] = correct_references(out_dir, book)
    counts = {name: n for name, n in counts.items() if n}
    _log.info("corrected %s", counts)
    return counts, notes


def correct_crops(out_dir: Path, book: IdentityBook, of: Collection[int] | None = None) -> int:
    """Move pictures to whom they show, or only those that show one `of` these people; how many moved."""
    shown = {(camera_id, round(at_s, 3)): keys for (camera_id, at_s), keys in book.pictures().items()}
    counts: Counter[str] = Counter()
    for path in sorted((out_dir / "crops").glob("*/*.jpg")):
        crop, folder = read_name(path), path.parent.name
        if crop is None or not folder.isdigit():
            continue
        keys = [k for k in shown.get((crop.camera_id, crop.captured_at_s), ()) if book.was(k, int(folder))]
        identity_id = book.final(keys[0]) if keys else book.living(int(folder))
        if identity_id in (0, int(folder)) or (of is not None and identity_id not in of):
            continue
        target = out_dir / "crops" / str(identity_id) / path.name
        target.parent.mkdir(exist_ok=True)
        path.replace(target)
        counts["moved"] += 1
        if not any(path.parent.iterdir()):
            path.parent.rmdir()
    return counts["moved"]


def correct_references(out_dir: Path, book: IdentityBook, of: Collection[int] | None = None) -> int:
    """Say in `references.jsonl` who each value of a label map finally is; how many lines changed.

    A subject whom nobody knew when the frame was taken stays nameless.

    Args:
        of: only these people are corrected, under the ids that they finally have.
    """
    path = out_dir / "references" / "references.jsonl"
    if not path.exists():
        return 0
    with locked(path):
        before = read_lines(path)
        after = [_reference_line(line, book, of) for line in before]
        changed = sum(old != new for old, new in zip(before, after, strict=True))
        if changed:
            write_bytes(path, joined(after))
    return changed


def _reference_line(line: bytes, book: IdentityBook, of: Collection[int] | None) -> bytes:
    value = read_object(line)
    at_s = value.get("captured_at_s") if value else None
    if value is None or not isinstance(at_s, int | float):
        return line
    changed = False
    for one in (value, *(s for s in value.get("subjects") or [] if isinstance(s, dict))):
        identity_id = one.get("identity_id")
        if isinstance(identity_id, int) and identity_id > 0:
            final = _finally(identity_id, book, str(value.get("camera_id")), at_s)
            if final != identity_id and (of is None or final in of):
                one["identity_id"] = final
                changed = True
    return dump_like(value, line) if changed else line


def _finally(identity_id: int, book: IdentityBook, camera_id: str, at_s: float) -> int:
    """Who it finally is, whom a picture calls by this id."""
    key = book.track_at(camera_id, identity_id, at_s + _ROUNDING_S)
    return (book.final(key) if key is not None else 0) or book.living(identity_id)

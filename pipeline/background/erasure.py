"""What an erasure did, and how lines of JSON are rewritten by it."""

import json
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pipeline.background.files import remove, write_bytes


@dataclass(frozen=True, slots=True)
class ErasureReport:
    """What was done to an output folder.

    Attributes:
        identity_ids: the identity and those that were merged with it: one person.
        counts: how many lines, rows, crops, reference frames, kept frames and videos were removed or changed.
        files: relative to the folder, sorted: those that were changed or removed.
        notes: sentences for people: what could not be kept, and why.
    """

    identity_ids: tuple[int, ...]
    counts: dict[str, int]
    files: tuple[str, ...]
    notes: tuple[str, ...]


@dataclass(slots=True)
class Erasure:
    """One erasure under way: who, where, and what has been done."""

    out_dir: Path
    identity_ids: frozenset[int]
    counts: Counter[str] = field(default_factory=Counter)
    files: set[str] = field(default_factory=set)
    notes: list[str] = field(default_factory=list)

    def write(self, path: Path, content: bytes) -> None:
        """Replace a file in one step."""
        write_bytes(path, content)
        self._touched(path)

    def remove(self, path: Path, what: str) -> None:
        """Remove a file, counted as `what`, if it is there."""
        if remove(path):
            self.counts[what] += 1
            self._touched(path)

    def report(self) -> ErasureReport:
        counts = {name: n for name, n in sorted(self.counts.items()) if n}
        return ErasureReport(tuple(sorted(self.identity_ids)), counts, tuple(sorted(self.files)), tuple(self.notes))

    def _touched(self, path: Path) -> None:
        self.files.add(path.relative_to(self.out_dir).as_posix())


def dump_like(value: dict[str, Any], line: bytes) -> bytes:
    """`value` as JSON, spaced as `line` is."""
    separators = (", ", ": ") if b'": ' in line else (",", ":")
    return json.dumps(value, separators=separators, ensure_ascii=False).encode()


def joined(lines: list[bytes]) -> bytes:
    """Lines as a file's content."""
    return b"".join(line + b"\n" for line in lines)

"""Reads what a run left in its output folder, for the report; whatever is missing or damaged becomes a warning."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pipeline.reporting.presence import Presence, read_presence
from pipeline.reporting.values import natural_key, number, redacted


@dataclass(frozen=True, slots=True)
class Event:
    """One line of identities.jsonl, reduced to what the report shows; times in seconds."""

    sequence: int
    kind: str
    identity_id: int
    camera_id: str
    epoch: str
    track_id: int | None
    at_s: float
    decided_at_s: float
    absent_s: float | None = None
    via: tuple[str, ...] = ()
    other_identity_id: int | None = None
    name: str | None = None
    evidence: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Subject:
    """One person of a reference frame: the value in the label map and the identity."""

    identity_id: int
    value: int


@dataclass(frozen=True, slots=True)
class Reference:
    """One line of references.jsonl; the pictures are None when they are absent or outside of the folder."""

    camera_id: str
    captured_at_s: float
    reason: str
    identity_id: int
    image: Path | None
    mask: Path | None
    subjects: tuple[Subject, ...]


@dataclass(frozen=True, slots=True)
class MistakeNote:
    """One entry of mistakes.json, reduced to what the report shows; `pictures` are those that exist, at most two."""

    kind: str
    text: str
    frames_wrong: int
    pictures: tuple[Path, ...]


@dataclass(slots=True)
class Inputs:
    """Everything that the report shows."""

    run: dict[str, Any] = field(default_factory=dict)
    metrics: dict[str, Any] = field(default_factory=dict)
    events: list[Event] = field(default_factory=list)
    references: list[Reference] = field(default_factory=list)
    crops: dict[str, list[Path]] = field(default_factory=dict)
    presence: Presence = field(default_factory=Presence)
    mistakes: list[MistakeNote] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


def read_inputs(out_dir: Path) -> Inputs:
    """Read a run's output folder; every part may be absent."""
    inputs = Inputs()
    inputs.run = _json_object(out_dir / "run.json", inputs.warnings)
    inputs.metrics = _json_object(out_dir / "metrics.json", inputs.warnings)
    given = inputs.run.get("warnings")
    inputs.warnings[:0] = [redacted(str(w)) for w in given] if isinstance(given, list) else []
    for line in _json_lines(out_dir / "identities.jsonl", inputs.warnings):
        _take(inputs.events, _event(line), "identities.jsonl", inputs.warnings)
    for file in (out_dir / "references" / "references.jsonl", out_dir / "references.jsonl"):
        for line in _json_lines(file, inputs.warnings):
            _take(inputs.references, _reference(line, out_dir), "references.jsonl", inputs.warnings)
    inputs.crops = _crops(out_dir)
    inputs.presence = read_presence(out_dir, inputs.warnings)
    inputs.mistakes = _mistakes(out_dir, inputs.warnings)
    return inputs


def _take(target: list[Any], value: Any, file: str, warnings: list[str], unit: str = "lines") -> None:
    if value is not None:
        target.append(value)
    elif (text := f"{file}: {unit} that cannot be understood were left out") not in warnings:
        warnings.append(text)


def _json_object(file: Path, warnings: list[str]) -> dict[str, Any]:
    if not file.is_file():
        return {}
    try:
        value = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        warnings.append(f"{file.name} cannot be read; it was left out")
        return {}
    return value if isinstance(value, dict) else {}


def _json_lines(file: Path, warnings: list[str]) -> Iterator[dict[str, Any]]:
    """The objects of a JSON lines file; damaged lines (a crash, a full disk) are counted into one warning."""
    if not file.is_file():
        return
    damaged = 0
    try:
        lines = file.read_text(encoding="utf-8", errors="replace").split("\n")
    except OSError:
        warnings.append(f"{file.name} cannot be read; it was left out")
        return
    for line in filter(str.strip, lines):
        try:
            value = json.loads(line)
        except (ValueError, RecursionError):
            value = None
        if isinstance(value, dict):
            yield value
        else:
            damaged += 1
    if damaged:
        warnings.append(f"{file.name}: {damaged} damaged line{'s' if damaged > 1 else ''} left out")


def _key(value: Any) -> tuple[str, str, int | None]:
    """(camera, epoch, track) of a key that is a list or an object; empty for events without a track."""
    if isinstance(value, dict):
        value = [value.get(name) for name in ("camera_id", "epoch", "track_id")]
    if not isinstance(value, list) or len(value) != 3:
        return "", "", None
    track = number(value[2])
    return str(value[0]), str(value[1]), int(track) if track is not None else None


def _event(line: Mapping[str, Any]) -> Event | None:
    identity, at_s = number(line.get("identity_id")), number(line.get("at_s"))
    if identity is None or at_s is None or not isinstance(line.get("kind"), str):
        return None
    camera_id, epoch, track_id = _key(line.get("key"))
    decided = number(line.get("decided_at_s"))
    other = number(line.get("other_identity_id"))
    via, evidence = line.get("via"), line.get("evidence")
    return Event(
        sequence=int(number(line.get("sequence")) or 0),
        kind=line["kind"],
        identity_id=int(identity),
        camera_id=camera_id,
        epoch=epoch,
        track_id=track_id,
        at_s=at_s,
        decided_at_s=at_s if decided is None else decided,
        absent_s=number(line.get("absent_s")),
        via=tuple(map(str, via)) if isinstance(via, list) else (),
        other_identity_id=None if other is None else int(other),
        name=str(line["name"]) if line.get("name") else None,
        evidence=evidence if isinstance(evidence, dict) else {},
    )


def _reference(line: Mapping[str, Any], out_dir: Path) -> Reference | None:
    at_s = number(line.get("captured_at_s"))
    given = line.get("subjects")
    subjects = [s for s in given if isinstance(s, dict)] if isinstance(given, list) else []
    pairs = [(number(s.get("identity_id")), number(s.get("value"))) for s in subjects]
    return Reference(
        camera_id=str(line.get("camera_id", "")),
        captured_at_s=float("nan") if at_s is None else at_s,
        reason=str(line.get("reason", "")),
        identity_id=int(number(line.get("identity_id")) or 0),
        image=_inside(out_dir, line.get("image")),
        mask=_inside(out_dir, line.get("mask")),
        subjects=tuple(Subject(int(i), int(v)) for i, v in pairs if i is not None and v is not None),
    )


def _inside(out_dir: Path, name: Any) -> Path | None:
    """The file that a line names, relative to the output folder or to references/; None outside of it or absent."""
    if not isinstance(name, str) or not name or "\0" in name:
        return None
    root = out_dir.resolve()
    for folder in (root, root / "references"):
        file = (folder / name).resolve()
        if file.is_relative_to(root) and file.is_file():
            return file
    return None


def _crops(out_dir: Path) -> dict[str, list[Path]]:
    folders = (f for f in (out_dir / "crops").glob("*") if f.is_dir())
    found = {f.name: sorted(f.glob("*.jpg"), key=lambda p: natural_key(p.name)) for f in folders}
    return {name: found[name] for name in sorted(found, key=natural_key) if found[name]}


def _mistakes(out_dir: Path, warnings: list[str]) -> list[MistakeNote]:
    """The entries of mistakes.json in its order, with the pictures that belong to their places."""
    given = _json_object(out_dir / "mistakes.json", warnings).get("mistakes")
    notes: list[MistakeNote] = []
    for place, line in enumerate(given if isinstance(given, list) else []):
        _take(notes, _mistake(line, place, out_dir), "mistakes.json", warnings, "entries")
    return notes


def _mistake(line: Any, place: int, out_dir: Path) -> MistakeNote | None:
    if not isinstance(line, dict) or not isinstance(line.get("kind"), str) or not isinstance(line.get("text"), str):
        return None
    files = (_inside(out_dir, f"mistakes/{place}{letter}.jpg") for letter in ("", "b"))
    return MistakeNote(
        kind=line["kind"],
        text=line["text"],
        frames_wrong=int(number(line.get("frames_wrong")) or 0),
        pictures=tuple(file for file in files if file is not None),
    )

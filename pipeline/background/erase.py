"""Takes one person out of an output folder.

The order matters: what tells where the person is (rows, then the identity log) goes last, so that an erasure that was
interrupted can be run again and finishes. Every file is replaced in one step; running it twice changes nothing more.
"""

import json
import logging
import shutil
from collections.abc import Collection, Mapping
from pathlib import Path

import numpy as np

from pipeline.background.background_model import PlateFolder, enlarged
from pipeline.background.correct import correct_crops, correct_references
from pipeline.background.erase_references import erase_references
from pipeline.background.erase_rows import erase_events, erase_rows, read_book, read_rows
from pipeline.background.erase_video import CannotPixelate, count_frames, pixelate_video
from pipeline.background.erasure import Erasure, ErasureReport
from pipeline.background.kept_frames import read_sidecar, remove_kept
from pipeline.background.local_tracks import erase_local_rows, note_erased
from pipeline.errors import DecodeError
from pipeline.types import FloatArray, TrackKey

logger = logging.getLogger(__name__)

_AROUND = 2  # pictures before and after: a video may show a box one picture early or late
_LABEL = (0.15, 0.15)  # of box width and height: limbs outside the box, and the name that is drawn on it
_SHEETS = (".jpg", ".jpeg", ".png")  # nothing else writes pictures into the folder itself
_REPORTS = ("report.html", "mistakes.json", "mistakes/*.jpg")  # show everybody; the report is made anew


def erase_identity_files(
    out_dir: Path,
    identity_id: int,
    frames: Mapping[str, int] | None = None,
    known: frozenset[TrackKey] = frozenset(),
) -> ErasureReport:
    """Remove one person's data from an output folder; any file may be missing.

    Args:
        identity_id: the ids that were merged with it, in either direction, are the same person and go, too.
        frames: camera → how many frames its source had. An overlay video is pixelated only when it has that
            many pictures, so that they are known to be the rows' frames; any other that may show the person is removed.
        known: more tracks of the person, which the folder's own log does not tell.

    Raises:
        ValueError: no identity (< 1). OutputError: a file cannot be replaced; run it again.
    """
    if identity_id < 1:
        raise ValueError(f"identity: expected 1 or more, got {identity_id}")
    out_dir = Path(out_dir)
    book = read_book(out_dir)
    person, keys = book.ids_of(identity_id), book.tracks_of(identity_id) | known
    work = Erasure(out_dir, person)
    note_erased(out_dir, keys)
    correct_crops(out_dir, book, person)  # pictures of the person that still stand under another's number
    correct_references(out_dir, book, person)
    rows = _boxes_by_frame(out_dir, person)
    _erase_videos(work, rows, keys, frames or {})
    boxes = {camera: np.concatenate(list(found.values())) for camera, found in rows.items()}
    _erase_cut_outs(work, set(rows) | {key.camera_id for key in keys})
    erase_references(work, PlateFolder(out_dir), boxes)
    _erase_crops(work)
    _erase_kept(work, keys)
    for pattern in _REPORTS:
        for path in sorted(out_dir.glob(pattern)):
            work.remove(path, "reports")
    if keys:
        _erase_search_results(work)
    erase_local_rows(work, keys)
    erase_rows(work)
    erase_events(work, keys)
    report = work.report()
    logger.info("erased identities %s: %s", report.identity_ids, report.counts)
    return report


def _boxes_by_frame(out_dir: Path, person: frozenset[int]) -> dict[str, dict[int, FloatArray]]:
    """Camera → frame number from 1 → the person's boxes (N, 4) xyxy px, from both kinds of rows."""
    found: dict[str, dict[int, FloatArray]] = {}
    for folder in ("tracks", "tracks_online"):
        for path in sorted((out_dir / folder).glob("*.txt")):
            rows = read_rows(path)
            mine = rows.of(person)
            frames = found.setdefault(path.stem, {}) if mine.any() else {}
            for number, box in zip(rows.frame[mine].tolist(), rows.xyxy[mine], strict=True):
                frames[number] = np.concatenate([frames.get(number, np.zeros((0, 4), np.float32)), box[None]])
    return found


def _erase_videos(
    work: Erasure,
    rows: Mapping[str, Mapping[int, FloatArray]],
    keys: frozenset[TrackKey],
    frames: Mapping[str, int],
) -> None:
    seen_in = set(rows) | {key.camera_id for key in keys}
    for path in sorted((work.out_dir / "overlay").glob("*.mp4")):
        camera_id = path.stem
        if camera_id not in seen_in:
            continue
        try:
            if camera_id not in rows:
                raise CannotPixelate("there are no rows that say where the person is")
            if count_frames(path) != frames.get(camera_id):
                raise CannotPixelate("its pictures cannot be matched with the rows' frame numbers")
            work.counts["video_pictures"] += pixelate_video(path, _spread(rows[camera_id]))
        except CannotPixelate as why:
            work.remove(path, "videos_removed")
            work.notes.append(f"overlay/{path.name} was removed, not pixelated: {why}")
        else:
            work.counts["videos_pixelated"] += 1
            work.files.add(f"overlay/{path.name}")


def _erase_cut_outs(work: Erasure, seen_in: Collection[str]) -> None:
    """Remove what `background` cut out of the videos of cameras that saw the person; it can be made again."""
    for path in sorted((work.out_dir / "background").glob("*")):
        if path.stem.rpartition("_")[0] not in seen_in:
            continue
        for file in sorted(path.glob("*")) if path.is_dir() else [path]:
            work.remove(file, "cut_outs")
        if path.is_dir():
            shutil.rmtree(path)
        work.notes.append(f"background/{path.name} was removed: it may show the person")


def _spread(boxes: Mapping[int, FloatArray]) -> dict[int, FloatArray]:
    """Picture number from 0 → boxes to hide: those of its own frame and of its neighbours, grown."""
    spread: dict[int, list[FloatArray]] = {}
    for number, found in boxes.items():
        for picture in range(max(0, number - 1 - _AROUND), number + _AROUND):
            spread.setdefault(picture, []).append(enlarged(found, _LABEL))
    return {picture: np.concatenate(found) for picture, found in spread.items()}


def _erase_crops(work: Erasure) -> None:
    for identity_id in sorted(work.identity_ids):
        folder = work.out_dir / "crops" / str(identity_id)
        for path in sorted(folder.glob("*")):
            work.remove(path, "crops")
        if folder.is_dir():
            shutil.rmtree(folder)


def _erase_search_results(work: Erasure) -> None:
    """Remove what `search` wrote into the folder itself: pages, contact sheets and JSON, which may show anybody."""
    for path in sorted(work.out_dir.iterdir()):
        if path.suffix.lower() in _SHEETS or (path.suffix == ".html" and path.name not in _REPORTS):
            work.notes.append(f"{path.name} was removed: it may show the person")
            work.remove(path, "search_results")
        elif path.suffix == ".json" and _is_search_result(path):
            work.remove(path, "search_results")


def _is_search_result(path: Path) -> bool:
    try:
        value = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return False
    return isinstance(value, dict) and {"asked", "sections"} <= value.keys()


def _erase_kept(work: Erasure, keys: frozenset[TrackKey]) -> None:
    """Remove kept frames that show the person's tracks, and those whose sidecar cannot tell."""
    for sidecar in sorted((work.out_dir / "kept").glob("*/*.json")):
        try:
            shown = _keys_in(sidecar)
        except FileNotFoundError:
            continue  # a worker removed it meanwhile
        except DecodeError:
            shown = None
        if shown is None or shown & keys:
            remove_kept(sidecar)
            work.counts["kept_frames"] += 1
            work.files.add(sidecar.with_suffix(".jpg").relative_to(work.out_dir).as_posix())
    for picture in sorted((work.out_dir / "kept").glob("*/*.jpg")):
        if not picture.with_suffix(".json").exists():  # a killed worker's: nobody knows who is on it
            work.remove(picture, "kept_frames")


def _keys_in(sidecar: Path) -> set[TrackKey] | None:
    """The tracks that a kept frame shows; None when its list cannot be read."""
    head = read_sidecar(sidecar)
    people = head.get("tracks")
    if not isinstance(people, list) or not all(isinstance(p, dict) and "track_id" in p for p in people):
        return None
    return {TrackKey(str(head.get("camera_id")), str(head.get("epoch")), int(p["track_id"])) for p in people}

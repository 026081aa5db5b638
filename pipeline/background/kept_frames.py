"""The worker's pictures of open tracks: per track the best frame so far, as a JPEG with everybody's boxes beside it.

`kept/<camera>/<time>_<index>.jpg` and `.json`. The picture is written before its sidecar and removed after it, so that
who sees a sidecar can expect the picture.
"""

import json
import logging
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from pipeline.background.files import (
    checked_camera,
    encode_jpeg,
    inside,
    read_image,
    remove,
    remove_torn,
    time_name,
    write_bytes,
)
from pipeline.errors import DecodeError, OutputError
from pipeline.types import Frame, FramePointer, Tracks

logger = logging.getLogger(__name__)

BETTER = 1.25  # factor: a new frame must beat the kept one's quality by this much; below it gains nothing visible
EVERY_S = 0.5  # a track's picture improves at most this often
YOUNG_S = 1.0  # since its first one it does as often as the camera allows: who comes in is cut off by the edge at first
CAMERA_EVERY_S = 0.2  # improvements of all tracks of a camera together; births are not held up
KEPT_S = 60.0  # after the track moved on or ended; the matcher decides within patience + lateness, about 4 s
HALF_LIFE_S = 600.0  # a kept frame's quality counts half after this, so that somebody who stays gets a newer picture
JPEG_QUALITY = 92  # 1 to 100: no visible blocks at the edges that the segmenter follows; about 100 kB at 720p

_SLACK_S = 1e-4  # frame times are rounded
_SCHEMA = 1


@dataclass(frozen=True, eq=False, slots=True)
class KeptFrame:
    """A kept frame read back: `qualities` has one value in [0, 1] per row of `tracks`."""

    frame: Frame
    tracks: Tracks
    qualities: tuple[float, ...]

    def row(self, epoch: str, track_id: int) -> int | None:
        """The row of a track in `tracks`, or None when it is not in this frame."""
        rows = np.flatnonzero(self.tracks.ids == track_id)
        return int(rows[0]) if len(rows) and epoch == self.frame.epoch else None


@dataclass(slots=True)
class _Best:
    quality: float
    at_s: float
    stem: str
    since_s: float  # of the track's first kept frame


@dataclass(slots=True)
class _File:
    captured_at_s: float
    users: set[int] = field(default_factory=set)  # open tracks that point here
    free_since_s: float | None = None  # None for files of an earlier run: counted from the first sweep


class FrameKeeper:
    """Keeps per open track of one camera its best frame so far.

    Args:
        out_dir: the run's output folder; pointers are relative to it.
        host: name of this machine in pointers.
        kept_s: how long a file stays after the last track let go of it, in the frames' time.
    """

    def __init__(
        self, out_dir: Path, camera_id: str, host: str, *, better: float = BETTER, kept_s: float = KEPT_S
    ) -> None:
        if better < 1:
            raise ValueError(f"better: expected at least 1, got {better}")
        self.out_dir = Path(out_dir)
        self.camera_id = checked_camera(camera_id)
        self.host = host
        self.counters: Counter[str] = Counter()
        self._better = better
        self._kept_s = kept_s
        self._epoch: str | None = None
        self._now_s = 0.0
        self._written_s = -np.inf
        self._best: dict[int, _Best] = {}
        remove_torn(self.out_dir / "kept" / camera_id)
        self._files = {stem: _File(time_s) for stem, time_s in _stems(self.out_dir, self.camera_id)}

    def observe(self, frame: Frame, tracks: Tracks, qualities: Mapping[int, float]) -> None:
        """Keep this frame for every track that it shows clearly better than the frame kept so far.

        Args:
            qualities: track id → `CropQuality.score`; tracks without one are written into the sidecar with 0 and
                not kept.
        """
        if frame.camera_id != self.camera_id:
            raise ValueError(f"frame of camera {frame.camera_id!r}: expected {self.camera_id!r}")
        if frame.epoch != self._epoch:
            self._begin_epoch(frame.epoch)
        self._now_s = max(self._now_s, frame.captured_at_s)
        if frame.damaged:
            return
        gain = {int(i): self._gain(int(i), qualities, frame.captured_at_s) for i in tracks.ids}
        wanted = [i for i, g in gain.items() if g >= self._better and self._may_write(i, frame.captured_at_s)]
        if not wanted:
            return
        stem = f"{time_name(frame.captured_at_s)}_{frame.index:06d}"
        if self._write(stem, frame, tracks, qualities):
            # a frame that is written anyway serves everybody it shows at least as well
            for track_id in (i for i, g in gain.items() if i in wanted or g >= 1):
                before = self._best.get(track_id)
                since_s = frame.captured_at_s if before is None else before.since_s
                self._point(track_id, _Best(qualities[track_id], frame.captured_at_s, stem, since_s))

    def pointer(self, track_id: int) -> FramePointer | None:
        """Where the best frame of a track of this epoch lies; also after its end, as long as the file stays."""
        best = self._best.get(track_id)
        if best is None or best.stem not in self._files:
            return None
        captured_at_s = self._files[best.stem].captured_at_s
        return FramePointer(self.host, self.camera_id, captured_at_s, f"kept/{self.camera_id}/{best.stem}.jpg")

    def finish(self, track_id: int) -> None:
        """The track is over: its file goes `kept_s` later, unless another open track uses it."""
        if best := self._best.get(track_id):
            self._let_go(track_id, best.stem)

    def sweep(self, now_s: float) -> int:
        """Remove the files that nobody has used for `kept_s`; returns how many pictures went."""
        gone = []
        for stem, file in self._files.items():
            if file.free_since_s is None and not file.users:
                file.free_since_s = now_s
            if file.free_since_s is not None and now_s - file.free_since_s >= self._kept_s:
                gone.append(stem)
        for stem in gone:
            remove_kept(self.out_dir / "kept" / self.camera_id / f"{stem}.json")
            del self._files[stem]
        if gone:
            self._best = {i: b for i, b in self._best.items() if b.stem in self._files}
        return len(gone)

    def _begin_epoch(self, epoch: str) -> None:
        for track_id in list(self._best):
            self.finish(track_id)
        self._best.clear()  # track ids begin anew
        self._epoch = epoch

    def _gain(self, track_id: int, qualities: Mapping[int, float], at_s: float) -> float:
        """How many times better this frame is than the kept one; inf without a kept one, 0 without quality."""
        quality = qualities.get(track_id, 0.0)
        best = self._best.get(track_id)
        if quality <= 0:
            return 0.0
        if best is None or best.quality <= 0:
            return np.inf
        return float(quality / (best.quality * 0.5 ** ((at_s - best.at_s) / HALF_LIFE_S)))

    def _may_write(self, track_id: int, at_s: float) -> bool:
        best = self._best.get(track_id)
        if best is None:
            return True
        every_s = CAMERA_EVERY_S if at_s - best.since_s <= YOUNG_S + _SLACK_S else EVERY_S
        return at_s - max(best.at_s - CAMERA_EVERY_S + every_s, self._written_s) >= CAMERA_EVERY_S - _SLACK_S

    def _write(self, stem: str, frame: Frame, tracks: Tracks, qualities: Mapping[int, float]) -> bool:
        place = self.out_dir / "kept" / self.camera_id / f"{stem}.jpg"
        try:
            write_bytes(place, encode_jpeg(frame.image, JPEG_QUALITY))
            write_bytes(place.with_suffix(".json"), _sidecar(frame, tracks, qualities))
        except OutputError as error:
            remove(place)
            if not self.counters["write_failed"]:
                logger.warning("camera %s keeps no frames: %s", self.camera_id, error)
            self.counters["write_failed"] += 1
            return False
        self._written_s = frame.captured_at_s
        self._files[stem] = _File(frame.captured_at_s)
        self.counters["written"] += 1
        return True

    def _point(self, track_id: int, best: _Best) -> None:
        before = self._best.get(track_id)
        self._best[track_id] = best
        self._files[best.stem].users.add(track_id)
        if before is not None:
            self._let_go(track_id, before.stem)

    def _let_go(self, track_id: int, stem: str) -> None:
        file = self._files.get(stem)
        if file is None or track_id not in file.users:
            return
        file.users.discard(track_id)
        if not file.users:
            file.free_since_s = self._now_s


def _sidecar(frame: Frame, tracks: Tracks, qualities: Mapping[int, float]) -> bytes:
    people = [
        {
            "track_id": int(track_id),
            "xyxy": [round(float(v), 2) for v in xyxy],
            "confidence": round(float(confidence), 4),
            "quality": round(float(qualities.get(int(track_id), 0.0)), 4),
        }
        for track_id, xyxy, confidence in zip(tracks.ids, tracks.xyxy, tracks.confidence, strict=True)
    ]
    head = {
        "schema": _SCHEMA,
        "camera_id": frame.camera_id,
        "epoch": frame.epoch,
        "index": frame.index,
        "captured_at_s": frame.captured_at_s,
        "width_px": frame.image.shape[1],
        "height_px": frame.image.shape[0],
    }
    return json.dumps(head | {"tracks": people}).encode()


def _stems(out_dir: Path, camera_id: str) -> Iterator[tuple[str, float]]:
    """(name without ending, time) of the frames that lie in a camera's folder."""
    for path in sorted((out_dir / "kept" / camera_id).glob("*.jpg")):
        if (at_s := kept_time(path)) is not None:
            yield path.stem, at_s


def kept_time(path: Path) -> float | None:
    """The time in a kept frame's name; None for any other file."""
    try:
        return float(path.stem.rpartition("_")[0])
    except ValueError:
        return None


def remove_kept(sidecar: Path) -> None:
    """Remove one kept frame, sidecar first."""
    remove(sidecar)
    remove(sidecar.with_suffix(".jpg"))


def read_sidecar(path: Path) -> dict[str, object]:
    """The head and people of one kept frame, as written by `FrameKeeper`.

    Raises:
        FileNotFoundError: it is gone. DecodeError: it cannot be read, or is of another version.
    """
    try:
        value = json.loads(path.read_bytes())
    except ValueError:
        raise DecodeError(f"{path.name} is not JSON; remove it") from None
    if not isinstance(value, dict) or value.get("schema") != _SCHEMA:
        raise DecodeError(f"{path.name}: expected schema {_SCHEMA}; it was written by another version")
    return value


def read_kept(out_dir: Path, file: str) -> KeptFrame:
    """The kept frame that a `FramePointer.file` names.

    Raises:
        FileNotFoundError: it is gone. DecodeError: picture or sidecar is damaged, or they do not belong together.
        ValueError: the name leads out of the folder.
    """
    path = inside(out_dir, file)
    head = read_sidecar(path.with_suffix(".json"))
    image = read_image(path)
    try:
        return _kept_frame(head, image)
    except (KeyError, TypeError, ValueError) as error:
        raise DecodeError(f"{path.name}: the sidecar does not fit: {error}") from None


def _kept_frame(head: dict[str, object], image: np.ndarray) -> KeptFrame:
    if image.shape[:2] != (head["height_px"], head["width_px"]):
        raise ValueError(f"picture of {image.shape[1]}x{image.shape[0]} px")
    people = head["tracks"]
    if not isinstance(people, list):
        raise TypeError("tracks is no list")
    tracks = Tracks(
        np.array([p["track_id"] for p in people], np.int64),
        np.array([p["xyxy"] for p in people], np.float32).reshape(-1, 4),
        np.array([p["confidence"] for p in people], np.float32),
    )
    time_s, index = head["captured_at_s"], head["index"]
    if not isinstance(time_s, int | float) or not isinstance(index, int):
        raise TypeError("captured_at_s or index is no number")
    frame = Frame(str(head["camera_id"]), str(head["epoch"]), index, float(time_s), image)
    return KeptFrame(frame, tracks, tuple(float(p["quality"]) for p in people))


def kept_of_track(out_dir: Path, camera_id: str, epoch: str, track_id: int) -> list[tuple[float, str]]:
    """(quality, file) of all kept frames that show a track, best first; unreadable sidecars are passed over."""
    found = []
    for sidecar in sorted((out_dir / "kept" / checked_camera(camera_id)).glob("*.json")):
        try:
            head = read_sidecar(sidecar)
        except (FileNotFoundError, DecodeError):
            continue
        people = head.get("tracks")
        if head.get("epoch") != epoch or not isinstance(people, list):
            continue
        for person in people:
            if person.get("track_id") == track_id:
                found.append((float(person.get("quality", 0)), f"kept/{camera_id}/{sidecar.stem}.jpg"))
    return sorted(found, key=lambda item: (-item[0], item[1]))

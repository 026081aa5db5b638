"""Writes what a run leaves behind: the identity log, MOT rows with online and final ids, crops and reference frames."""

import itertools
import logging
import math
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt

from pipeline.background.crops import CropStore
from pipeline.background.files import append_line, write_bytes
from pipeline.background.local_tracks import FOLDER as LOCAL
from pipeline.background.local_tracks import drop_erased_note, read_erased, write_local_keys
from pipeline.background.references import ReferenceKeeper
from pipeline.boxes import xyxy_to_xywh
from pipeline.bus.lines import event_to_json
from pipeline.resolution import LINKS, IdentityBook
from pipeline.runtime.feature_store import FeatureStore
from pipeline.types import ClipFeature, IdentityEvent, ReferenceFrame, TrackKey, Tracklet

_log = logging.getLogger(__name__)

UNIDENTIFIED = 1_000_000  # ids of tracks that were never identified begin here (DESIGN, "Files it writes")
_ROW = np.dtype([("frame", "<i8"), ("at_s", "<f8"), ("xyxy", "<f4", 4), ("confidence", "<f4"), ("track", "<i4")])


class TrackWriter:
    """Boxes of all cameras, kept on disk until the end, when the ids are finally known.

    Call `close` in every case: what was recorded becomes complete files.
    """

    def __init__(self, out_dir: Path, cameras: Iterable[str]) -> None:
        self._out_dir = out_dir
        self._tracks: dict[str, list[tuple[TrackKey, int]]] = {camera: [] for camera in cameras}
        self._offset: dict[tuple[str, str], int] = {}
        self._last_frame: dict[str, int] = {}
        self.doubled = 0  # boxes left out of tracks/ because a surer one of the same identity is in the frame
        for folder in ("tracks", "tracks_online", LOCAL):
            (out_dir / folder).mkdir(parents=True, exist_ok=True)

    def add(self, tracklet: Tracklet) -> None:
        camera_id = tracklet.camera_id
        offset = self._frame_offset(tracklet)
        rows = _every_frame(tracklet)
        rows["frame"] += offset
        self._last_frame[camera_id] = max(self._last_frame.get(camera_id, -1), int(rows["frame"][-1]))
        known = self._tracks.setdefault(camera_id, [])
        rows["track"] = len(known)
        known.append((tracklet.key, len(rows)))
        with self._part(camera_id).open("ab") as file:
            file.write(rows.tobytes())

    def close(self, book: IdentityBook) -> None:
        """Write `tracks/`, `tracks_online/` and `tracks_local/`."""
        strangers = itertools.count(UNIDENTIFIED)  # over all cameras: one id is one track of the site
        erased = read_erased(self._out_dir)  # while the run went on
        local_keys: list[tuple[int, TrackKey]] = []
        for camera_id, known in self._tracks.items():
            part = self._part(camera_id)
            rows = np.fromfile(part, dtype=_ROW) if part.exists() else np.zeros(0, _ROW)
            keys = [key for key, _ in known]
            gone = {key for key in keys if key in erased or book.is_forgotten(key)}
            final, online = _ids(rows, keys, book, strangers, gone)
            local = np.where(final < 0, -1, rows["track"].astype(np.int64) + 1)
            for folder, ids in (("tracks", final), ("tracks_online", online), (LOCAL, local)):
                self._write(self._out_dir / folder / f"{camera_id}.txt", rows, ids)
            self.doubled += int((final >= 0).sum()) - len(_once_a_frame(rows, final))
            local_keys += [(n, key) for n, key in enumerate(keys, start=1) if key not in gone]
            part.unlink(missing_ok=True)
        write_local_keys(self._out_dir, local_keys)
        drop_erased_note(self._out_dir)

    def _part(self, camera_id: str) -> Path:
        return self._out_dir / "tracks" / f".{camera_id}.part"

    def _frame_offset(self, tracklet: Tracklet) -> int:
        """Frame numbers go on where an epoch (live) begins to count from 0 again."""
        stream = (tracklet.camera_id, tracklet.epoch)
        if stream not in self._offset:
            last = self._last_frame.get(tracklet.camera_id, -1)
            starts_again = int(tracklet.frame_index[0]) <= last
            self._offset[stream] = last + 1 if starts_again else 0
        return self._offset[stream]

    @staticmethod
    def _write(path: Path, rows: npt.NDArray[np.void], ids: npt.NDArray[np.int64]) -> None:
        keep = _once_a_frame(rows, ids)
        rows, ids = rows[keep], ids[keep]
        order = np.lexsort((ids, rows["frame"]))
        xywh = xyxy_to_xywh(rows["xyxy"].reshape(-1, 4))
        lines = [
            f"{rows['frame'][i] + 1},{ids[i]},{xywh[i, 0]:.2f},{xywh[i, 1]:.2f},{xywh[i, 2]:.2f},{xywh[i, 3]:.2f},"
            f"{rows['confidence'][i]:.3f},-1,-1,-1\n"
            for i in order
        ]
        write_bytes(path, "".join(lines).encode())


def _every_frame(tracklet: Tracklet) -> npt.NDArray[np.void]:
    """One row for every frame of the track: what lies between two detections is interpolated, with confidence 0."""
    first, last = int(tracklet.frame_index[0]), int(tracklet.frame_index[-1])
    frames = np.arange(first, last + 1)
    rows = np.zeros(len(frames), _ROW)
    rows["frame"] = frames
    rows["at_s"] = np.interp(frames, tracklet.frame_index, tracklet.captured_at_s)
    for side in range(4):
        rows["xyxy"][:, side] = np.interp(frames, tracklet.frame_index, tracklet.xyxy[:, side])
    rows["confidence"][tracklet.frame_index - first] = tracklet.confidence
    return rows


def _ids(
    rows: npt.NDArray[np.void], keys: list[TrackKey], book: IdentityBook, strangers: Iterator[int], gone: set[TrackKey]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """(R,) final and online ids; -1 marks rows of tracks that are `gone`, which are not written."""
    final = np.zeros(len(rows), np.int64)
    online = np.zeros(len(rows), np.int64)
    for number, key in enumerate(keys):
        of_track = rows["track"] == number
        if key in gone:
            final[of_track] = online[of_track] = -1
            continue
        final[of_track] = book.final(key) or next(strangers)
        online[of_track] = book.online(key, rows["at_s"][of_track])
    return final, online


def _once_a_frame(rows: npt.NDArray[np.void], ids: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Indices of the rows to write: of two boxes of one id in one frame the surer one; 0 may occur more than once."""
    order = np.lexsort((-rows["confidence"], ids, rows["frame"]))
    pairs = np.stack([rows["frame"][order], ids[order]], axis=1)
    first = np.ones(len(order), bool)
    if len(order) > 1:
        first[1:] = (pairs[1:] != pairs[:-1]).any(axis=1)
    return order[(first | (ids[order] == 0)) & (ids[order] >= 0)]


class RunRecorder:
    """One output folder: takes events and tracklets in the order in which they were published."""

    def __init__(
        self,
        out_dir: Path,
        cameras: Iterable[str],
        *,
        crops: CropStore | None,
        references: ReferenceKeeper | None,
        features_s: float | None = None,
    ) -> None:
        """
        Args:
            features_s: how long features are kept for `search`, message time; None: for ever.
        """
        self.out_dir = out_dir
        self._log_file = out_dir / "identities.jsonl"
        out_dir.mkdir(parents=True, exist_ok=True)
        self._log_file.touch()
        self._tracks = TrackWriter(out_dir, cameras)
        self._crops = crops
        self._references = references
        self._features = FeatureStore(out_dir, features_s)
        self.book = IdentityBook()
        self.event_kinds: dict[str, int] = defaultdict(int)

    def event(self, event: IdentityEvent) -> list[ReferenceFrame]:
        """Log the event; the reference frames it led to."""
        append_line(self._log_file, event_to_json(event))
        before = self.book.final(event.key) if event.key is not None else 0
        if event.kind == "forgotten":
            self._features.erase(self.book.tracks_of(event.identity_id))
        self.book.take(event)
        self.event_kinds[event.kind] += 1
        self._keep_crop(event, before)
        reference = self._references.handle(event) if self._references else None
        return [reference] if reference else []

    def clip(self, clip: ClipFeature) -> None:
        """Keep the clip's feature for `search`; nothing of a person who was forgotten."""
        if not self.book.is_forgotten(clip.key):
            self._features.add(clip)

    def tracklet(self, tracklet: Tracklet) -> None:
        self._tracks.add(tracklet)
        if self._references:
            self._references.track_ended(tracklet.key)

    def advance(self, now_s: float) -> list[ReferenceFrame]:
        """Take reference frames that are still owed, drop features that are too old; call about once a second."""
        if math.isfinite(now_s):
            self._features.advance(now_s)
        return self._references.retry(now_s) if self._references else []

    @property
    def doubled_boxes(self) -> int:
        """Boxes that tracks/ leaves out, because their identity has a surer one in the same frame; known at the end."""
        return self._tracks.doubled

    def close(self) -> list[ReferenceFrame]:
        """Write everything that waits for the end of the run."""
        late = self.advance(float("inf"))
        self.close_features()
        self._tracks.close(self.book)
        return late

    def close_features(self) -> None:
        """Let go of the features' files; may be called twice."""
        self._features.close()

    def _keep_crop(self, event: IdentityEvent, before: int) -> None:
        """`before`: who the event's track was taken for until now."""
        if self._crops is None:
            return
        identity_id = self.book.living(event.identity_id)
        if event.kind == "merged":
            self._crops.merge(event.identity_id, identity_id)
        elif event.kind == "forgotten":
            self._crops.forget(event.identity_id)
        elif event.identity_id > 0 and event.key is not None:
            if event.kind in LINKS and before not in (0, identity_id):
                self._crops.move(before, identity_id, event.key.camera_id, self.book.pictures_of(event.key))
            if event.frame is not None:
                self._crops.add_from_kept(identity_id, event.key, event.frame)

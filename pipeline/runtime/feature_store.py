"""Writes every published clip's embedding into the output folder, for `search`; `feature_files` has the format."""

import json
import os
from collections.abc import Collection, Sequence
from pathlib import Path

import numpy as np

from pipeline.background.files import write_bytes
from pipeline.errors import DecodeError, OutputError
from pipeline.runtime.feature_files import (
    FOLDER,
    ROW,
    ROWS,
    SCHEMA,
    SEGMENT_ROWS,
    VECTORS,
    RowArray,
    Stream,
    erase_before,
    erase_tracks,
    read_model,
    read_streams,
    segment,
    segment_numbers,
    slug,
)
from pipeline.types import ClipFeature, TrackKey

__all__ = ["FeatureStore", "erase_before", "erase_tracks", "row_of", "stream_of"]

_SWEEP_EVERY_S = 60.0  # message time
_LOOK_BACK = 2  # segments in which a message that is delivered again is recognised


def row_of(clip: ClipFeature, stream: int) -> RowArray:
    """A clip's row, (1,)."""
    row = np.zeros(1, ROW)
    picture_at_s, picture_index = np.nan, -1
    if clip.frame is not None:
        number = clip.frame.file.rpartition("_")[2].partition(".")[0]
        picture_at_s, picture_index = clip.frame.captured_at_s, int(number) if number.isdecimal() else -1
    row[0] = (
        stream,
        1,
        clip.key.track_id,
        clip.sequence,
        clip.first_visible_s,
        clip.start_s,
        clip.end_s,
        picture_at_s,
        picture_index,
        clip.quality,
    )
    return row


def stream_of(clip: ClipFeature) -> Stream:
    return Stream(clip.camera_id, clip.epoch)


class FeatureStore:
    """Writes the features of one output folder; goes on in what an earlier run of the folder left.

    Args:
        features_s: rows older than this are erased, message time; None: never.

    Raises:
        OutputError: the folder cannot be written. DecodeError: what is there cannot be gone on with.
    """

    def __init__(self, out_dir: Path, features_s: float | None = None, segment_rows: int = SEGMENT_ROWS) -> None:
        self._folder = out_dir / FOLDER
        self._features_s = features_s
        self._segment_rows = segment_rows
        self._models: dict[str, _ModelWriter] = {}
        self._swept_s: float | None = None

    def add(self, clip: ClipFeature) -> bool:
        """Append a clip; False when it is there already (a message that was delivered again).

        Raises:
            OutputError: the disk says no; the files are complete up to the clip before.
        """
        writer = self._models.get(clip.model_id)
        if writer is None:
            folder = self._folder / slug(clip.model_id)
            writer = _ModelWriter(folder, clip.model_id, len(clip.embedding), self._segment_rows)
            self._models[clip.model_id] = writer
        added = writer.add(clip)
        self.advance(clip.made_at_s)
        return added

    def advance(self, now_s: float) -> None:
        """Erase what is too old, at most once a minute; `now_s` is message time."""
        if self._features_s is None or (self._swept_s is not None and now_s < self._swept_s + _SWEEP_EVERY_S):
            return
        self._swept_s = now_s
        erase_before(self._folder.parent, now_s - self._features_s)

    def erase(self, keys: Collection[TrackKey]) -> int:
        """Erase all rows of these tracks; how many there were."""
        return erase_tracks(self._folder.parent, keys)

    def close(self) -> None:
        """Let go of the files; may be called twice."""
        for writer in self._models.values():
            writer.close()
        self._models.clear()


class _ModelWriter:
    """Appends to the last segment of one model's folder."""

    def __init__(self, folder: Path, model_id: str, dimensions: int, segment_rows: int) -> None:
        self._folder = folder
        self._dimensions = dimensions
        self._segment_rows = segment_rows
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._check(model_id)
            self._numbers = {stream: number for number, stream in enumerate(read_streams(folder, cut=True))}
            numbers = segment_numbers(folder)
            self._open(numbers[-1] if numbers else 1)
        except OSError as error:
            raise OutputError(f"cannot write {folder}: {error.strerror}; check the folder") from None
        self._last = self._last_sequences(numbers[-_LOOK_BACK:])

    def _check(self, model_id: str) -> None:
        path = self._folder / "model.json"
        wanted = {"schema": SCHEMA, "model_id": model_id, "dimensions": self._dimensions}
        if not path.exists():
            write_bytes(path, (json.dumps(wanted) + "\n").encode())
        elif read_model(self._folder) != wanted:
            raise DecodeError(f"{path} says {path.read_text(encoding='utf-8').strip()}, not {wanted}; remove {FOLDER}/")

    def _open(self, number: int) -> None:
        """Open a segment for appending; what is half written at its end is cut off."""
        vectors, rows = (segment(self._folder, number, ending) for ending in (VECTORS, ROWS))
        self._number = number
        self._vectors, self._rows = (os.open(p, os.O_RDWR | os.O_CREAT, 0o600) for p in (vectors, rows))
        width = 2 * self._dimensions
        self._count = min(os.fstat(self._vectors).st_size // width, os.fstat(self._rows).st_size // ROW.itemsize)
        self._cut()

    def _cut(self) -> None:
        """Leave whole rows only."""
        for file, size in ((self._vectors, 2 * self._dimensions), (self._rows, ROW.itemsize)):
            os.ftruncate(file, self._count * size)
            os.lseek(file, 0, os.SEEK_END)

    def _last_sequences(self, numbers: Sequence[int]) -> dict[int, int]:
        """Stream → number of its last message."""
        last: dict[int, int] = {}
        for number in numbers:
            rows = np.fromfile(segment(self._folder, number, ROWS), ROW)
            for stream in np.unique(rows["stream"]).tolist():
                last[stream] = max(last.get(stream, 0), int(rows["sequence"][rows["stream"] == stream].max()))
        return last

    def add(self, clip: ClipFeature) -> bool:
        vector = clip.embedding.astype("<f2")
        if vector.shape != (self._dimensions,):
            raise ValueError(f"embedding of {clip.model_id}: expected {self._dimensions} values, got {vector.shape}")
        try:
            stream = self._stream(stream_of(clip))
            if clip.sequence <= self._last.get(stream, 0):
                return False
            if self._count >= self._segment_rows:
                self.close()
                self._open(self._number + 1)
            _write(self._vectors, vector.tobytes())
            _write(self._rows, row_of(clip, stream).tobytes())
        except OSError as error:
            self._cut()
            raise OutputError(f"cannot write {self._folder}: {error.strerror}; free some space") from None
        self._count += 1
        self._last[stream] = clip.sequence
        return True

    def _stream(self, stream: Stream) -> int:
        number = self._numbers.get(stream)
        if number is None:
            file = os.open(self._folder / "streams.jsonl", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
            try:
                _write(file, (json.dumps(stream) + "\n").encode())
            finally:
                os.close(file)
            number = self._numbers[stream] = len(self._numbers)
        return number

    def close(self) -> None:
        os.close(self._vectors)
        os.close(self._rows)


def _write(file: int, content: bytes) -> None:
    """All of it: a disk that is nearly full takes a part."""
    while content:
        content = content[os.write(file, content) :]

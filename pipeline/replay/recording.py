"""Keeps what a replay computed, so that another one can start from there: `recorded/` in the output folder.

    recorded/recording.json             what was recorded, with which settings
    recorded/detections/<camera>.txt    what the detector found, as MOTChallenge det.txt
    recorded/features/<camera>.mcplog   everything the camera published, and the times of its frames

The replay tells the recording what happens; nothing of it changes what the replay does. docs/recordings.md describes
the files.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.background.files import write_bytes
from pipeline.bus.message_log import MESSAGE, LogWriter
from pipeline.capture.probe import SourceInfo
from pipeline.config import CameraConfig, Config
from pipeline.errors import ConfigError, OutputError
from pipeline.ports import Detector
from pipeline.types import Detections, Frame

RECORDED = "recorded"
DETECTIONS = "detections"
FEATURES = "features"
SCHEMA = 1  # of recording.json and of a feature log's header and records
ENDING = ".mcplog"

FRAMES = "F"  # times_s: float64, index: int64 of the frames since the record before
END = "E"  # no more frames; what follows was published when the whole replay was over

_DIGITS = range(3, 9)  # tried for a width: 3 suffice for no float32 pixel below 8192, 8 for most above 1


class DetectionFile:
    """One camera's detections as rows `frame,-1,x,y,w,h,confidence`, from which exactly the same float32 come back.

    Every frame is one write of whole lines: a killed replay leaves no torn row.

    Raises:
        OutputError: it exists or cannot be written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = path.open("xb", buffering=0)
        except OSError as error:
            raise OutputError(f"cannot write {path}: {error.strerror}; check the folder") from None

    def add(self, index: int, found: Detections) -> None:
        """Append what was found in the frame of this `Frame.index`; nobody gives no row.

        Raises:
            OutputError: a box that no row can hold (inside out); or the disk.
        """
        if not len(found):
            return
        try:
            lines = detection_rows(index + 1, found)
        except ValueError as error:
            raise OutputError(f"{self.path.name}: {error}; such detections cannot be recorded") from None
        try:
            self._file.write("".join(lines).encode())
        except OSError as error:
            raise OutputError(f"cannot write {self.path}: {error.strerror}; free some space") from None

    def close(self) -> None:
        self._file.close()


def detection_rows(number: int, found: Detections) -> list[str]:
    """Rows of frame `number` (from 1), with as few digits as give back the same float32 corners.

    The reader adds x and w in float64 and rounds the sum to float32.

    Raises:
        ValueError: a box that cannot be written so: turned inside out, or with a left edge millions of times as far
            from 0 as its right one.
    """
    starts = [[_short(value) for value in row] for row in found.xyxy[:, :2]]
    sides = _sides(np.array(starts, np.float64).reshape(-1, 2), found.xyxy[:, 2:])
    return [
        f"{number},-1,{x},{y},{w!r},{h!r},{_short(confidence)}\n"
        for (x, y), (w, h), confidence in zip(starts, sides.tolist(), found.confidence, strict=True)
    ]


def _short(value: np.float32) -> str:
    """The shortest text from which a reader by way of float64 gets this float32."""
    text = str(value)
    return text if np.float32(float(text)) == value else repr(float(value))


def _sides(starts: npt.NDArray[np.float64], ends: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    """(N, 2) widths and heights that lead from `starts`, as they are read, to exactly these `ends`."""
    exact = ends.astype(np.float64) - starts
    none = starts.astype(np.float32) == ends  # a start may be written a hair larger than it is
    sides, open_ = np.where(none, 0.0, exact), ~none
    for digits in _DIGITS:
        rounded = np.round(exact, digits)
        fits = open_ & (rounded >= 0) & ((starts + rounded).astype(np.float32) == ends)
        sides[fits] = rounded[fits]
        open_ &= ~fits
    wrong = (sides < 0) | ((starts + sides).astype(np.float32) != ends)
    if wrong.any():
        row = int(np.flatnonzero(wrong.any(axis=1))[0])
        shown = [*starts[row].tolist(), *ends[row].tolist()]
        raise ValueError(f"a det.txt row cannot hold the box {shown} (x1, y1, x2, y2)")
    return sides + 0.0  # never "-0.0"


class RecordingDetector:
    """A detector that writes down what another one finds."""

    def __init__(self, detector: Detector, files: Mapping[str, DetectionFile]) -> None:
        self._detector = detector
        self._files = files

    def detect(self, frames: Sequence[Frame]) -> list[Detections]:
        """See `ports.Detector`."""
        found = self._detector.detect(frames)
        for frame, detections in zip(frames, found, strict=True):
            self._files[frame.camera_id].add(frame.index, detections)
        return found


class FeatureFile:
    """One camera's messages and frame times, in the order in which they came."""

    def __init__(self, path: Path, header: Mapping[str, Any]) -> None:
        self._log = LogWriter(path, header)
        self._times_s: list[float] = []
        self._index: list[int] = []

    def frame(self, index: int, at_s: float) -> None:
        """The next frame; messages that follow were published after it."""
        self._index.append(index)
        self._times_s.append(at_s)

    def message(self, fields: Mapping[bytes, bytes]) -> None:
        """An encoded message."""
        self._flush_frames()
        self._log.add(MESSAGE, fields)

    def end(self) -> None:
        """All frames were processed."""
        self._flush_frames()
        self._log.add(END, {})

    def close(self) -> None:
        self._flush_frames()
        self._log.close()

    def _flush_frames(self) -> None:
        if self._index:
            times_s, index = np.array(self._times_s, "<f8"), np.array(self._index, "<i8")
            self._log.add(FRAMES, {b"times_s": times_s.tobytes(), b"index": index.tobytes()})
            self._times_s, self._index = [], []


class RunRecording:
    """`recorded/` of one replay.

    Args:
        config: settled. infos: what each camera's source says about itself.
        clip_model_id, detector_name: of the models in use.

    Raises:
        OutputError: a file exists or cannot be written.
    """

    def __init__(
        self,
        out_dir: Path,
        config: Config,
        infos: Mapping[str, SourceInfo],
        *,
        clip_model_id: str,
        detector_name: str,
    ) -> None:
        folder = out_dir / RECORDED
        if folder.exists():
            raise OutputError(f"{folder} exists; a recording does not go on in the files of another")
        facts = {camera.id: _facts(infos[camera.id]) for camera in config.cameras}
        summary = {
            "schema": SCHEMA,
            "site": config.site,
            "models": {"detector": detector_name, "clips": clip_model_id},
            "cameras": facts,
            "settings": made_with(config),
        }
        write_bytes(folder / "recording.json", (json.dumps(summary, indent=2) + "\n").encode())
        self._detections = {c.id: DetectionFile(folder / DETECTIONS / f"{c.id}.txt") for c in config.cameras}
        self._features = {
            camera.id: FeatureFile(
                folder / FEATURES / f"{camera.id}{ENDING}",
                {
                    "log": FEATURES,
                    "schema": SCHEMA,
                    "site": config.site,
                    "camera_id": camera.id,
                    "model_id": clip_model_id,
                    **facts[camera.id],
                    "settings": made_with(config, camera),
                },
            )
            for camera in config.cameras
        }

    def detector(self, detector: Detector) -> Detector:
        """The detector to use instead of this one."""
        return RecordingDetector(detector, self._detections)

    def frame(self, frame: Frame) -> None:
        """A frame was processed; its messages follow."""
        self._features[frame.camera_id].frame(frame.index, frame.captured_at_s)

    def message(self, camera_id: str, fields: Mapping[bytes, bytes]) -> None:
        """The camera published this."""
        self._features[camera_id].message(fields)

    def end(self) -> None:
        """No camera has more frames; what still comes ends what is open."""
        for file in self._features.values():
            file.end()

    def close(self) -> None:
        """Complete all files.

        Raises:
            OutputError: the disk says no.
        """
        for detections in self._detections.values():
            detections.close()
        for features in self._features.values():
            features.close()


def _facts(info: SourceInfo) -> dict[str, Any]:
    return {"width_px": info.width_px, "height_px": info.height_px, "fps": info.fps}


def made_with(config: Config, camera: CameraConfig | None = None) -> dict[str, Any]:
    """The settings that shape features, as plain values: what a replay from features can no longer change.

    No folders and no sources: a recording says nothing about the machine that made it.
    """
    cameras = config.cameras if camera is None else (camera,)
    settings: dict[str, Any] = {
        "detector": asdict(config.detector),
        "tracker": asdict(config.tracker),
        "reid": asdict(config.reid),
        "tick_every_s": config.runtime.tick_every_s,
        "cameras": {
            c.id: {
                "start_time": c.start_time,
                "clock_offset_s": c.clock_offset_s,
                "detect_every_s": c.detect_every_s,
                "exits": c.exits,
            }
            for c in cameras
        },
    }
    for section in ("detector", "reid"):
        settings[section].pop("device")  # where, not what
        weights = settings[section]["weights"]
        settings[section]["weights"] = Path(weights).name if weights else None
    plain: dict[str, Any] = json.loads(json.dumps(settings))  # tuples become lists, as they are read back
    return plain


def recorded_files(folder: Path, part: str, ending: str, cameras: Sequence[str]) -> dict[str, Path]:
    """Camera → its file in `recorded/<part>/`; `folder` may be that folder or one of the two above it.

    Raises:
        ConfigError: there is no such folder, or it has no file for a camera.
    """
    places = (folder / RECORDED / part, folder / part, folder)
    place = next((p for p in places if any(p.glob(f"*{ending}"))), None)
    if place is None:
        raise ConfigError(f"{folder} holds no recorded {part}; `replay --record` makes {RECORDED}/{part}/")
    files = {camera_id: place / f"{camera_id}{ending}" for camera_id in cameras}
    missing = [camera_id for camera_id, path in files.items() if not path.is_file()]
    if missing:
        known = ", ".join(sorted(p.name.removesuffix(ending) for p in place.glob(f"*{ending}")))
        raise ConfigError(f"{place} has nothing of camera {', '.join(missing)}; it has: {known}")
    return files

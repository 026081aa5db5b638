"""Turns a scored replay into a re-ID data set: `<person>/<camera>/<tracklet>/<frame>.jpg`, the plain layout.

The tracks are the run's own, the people the ground truth's: detector and tracker cut the pictures as they do live, and
nobody has to say who is on them. docs/datasets.md describes the layout.
"""

import logging
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np

from pipeline.background.crops import LEAST_HEIGHT_PX
from pipeline.background.files import checked_camera, encode_jpeg, write_bytes
from pipeline.background.local_tracks import FOLDER as LOCAL
from pipeline.background.local_tracks import read_local_keys
from pipeline.boxes import clip_boxes
from pipeline.errors import DecodeError, OutputError, SourceError
from pipeline.replay.labelled_tracks import MIXED, NOBODY, UNSCORED, LabelledTrack, label_tracks, spread_out
from pipeline.scoring.ground_truth import CameraTruth, GroundTruth
from pipeline.scoring.rows import read_rows, read_table
from pipeline.scoring.times import FrameTimes
from pipeline.types import FloatArray, Frame, ImageArray, TrackKey

_log = logging.getLogger(__name__)

FramesOf: TypeAlias = Callable[[str], Iterator[Frame]]

EVERY_S = 0.25  # between two pictures of a tracklet: reid.crop_every_s, what the pipeline itself encodes
JPEG_QUALITY = 95  # 1 to 100: networks look at these pictures, and compression moves what they see
_LEAST_WIDTH_PX = LEAST_HEIGHT_PX // 4  # the shape of a person who stands

# What is counted, and reported in this order.
TRACKLETS, PEOPLE, PICTURES = "tracklets", "people", "pictures"
NO_TRUTH = "tracks of cameras without ground truth"
NO_PICTURE = "tracks without a picture to use"
SMALL = "pictures too small"
DAMAGED = "pictures of damaged frames"
MISSING = "pictures whose frame did not come"
COUNTED = (TRACKLETS, PEOPLE, PICTURES, MIXED, NOBODY, UNSCORED, NO_TRUTH, NO_PICTURE, SMALL, DAMAGED, MISSING)


def export_tracklets(
    out_dir: Path,
    truth: GroundTruth,
    frames_of: FramesOf,
    folder: Path,
    *,
    every_s: float = EVERY_S,
    on_frame: Callable[[], None] = lambda: None,
) -> dict[str, int]:
    """Cut the tracks of a finished replay out of its footage, by the person whom each one shows (`label_tracks`).

    Each camera is read once, up to the last frame that is needed, and one frame is held at a time. A track of several
    people or of nobody is left out, and of a track the boxes that lie on somebody else.

    Args:
        out_dir: of the replay: `tracks_local/` and `frame_times/` are read.
        frames_of: camera -> its frames from the beginning, in order; asked only where there is something to cut.
        folder: made when absent; must be empty.
        every_s: least time between two pictures of a tracklet.
        on_frame: called after each frame that was read.

    Returns:
        How much was written, and how much was left out for which reason; every one of `COUNTED`, also with 0.

    Raises:
        OutputError: the folder holds something, or cannot be written. DecodeError: a damaged file of the replay.
    """
    _make_folder(folder)
    counts: Counter[str] = Counter()
    people: set[int] = set()
    for camera_id, tracks in _tracks_by_camera(out_dir).items():
        of_camera = truth.cameras.get(camera_id)
        if of_camera is None:
            counts[NO_TRUTH] += len(tracks)
            continue
        labels = label_tracks(
            read_rows(out_dir / LOCAL / f"{camera_id}.txt"), tracks, of_camera, _times(out_dir, camera_id, of_camera)
        )
        cutter = _Cutter(_plan(labels.tracks, folder, every_s))
        cutter.read(camera_id, frames_of, on_frame)
        shown = {track.person_id for track in labels.tracks if _place(track, folder) in cutter.written}
        people |= shown
        counts.update(labels.skipped)
        counts.update(cutter.counts)
        counts[TRACKLETS] += len(cutter.written)
        counts[NO_PICTURE] += len(labels.tracks) - len(cutter.written)
    counts[PEOPLE] = len(people)
    return {what: counts[what] for what in COUNTED}


@dataclass(frozen=True, eq=False, slots=True)
class _Cut:
    """One picture to cut: `xyxy` (4,) float32 px, and the folder of its tracklet."""

    xyxy: FloatArray
    folder: Path


class _Cutter:
    """Cuts what was planned out of one camera's frames.

    Attributes:
        written: folders of the tracklets that got a picture. counts: of pictures, by what became of them.
    """

    def __init__(self, planned: Mapping[int, Sequence[_Cut]]) -> None:
        self._planned = planned
        self.written: set[Path] = set()
        self.counts: Counter[str] = Counter()

    def read(self, camera_id: str, frames_of: FramesOf, on_frame: Callable[[], None]) -> None:
        """Go through the camera's frames, as far as something is to be cut; closes them also when interrupted."""
        if not self._planned:
            return
        last = max(self._planned)
        frames = frames_of(camera_id)
        try:
            for frame in frames:
                self._cut(frame)
                on_frame()
                if frame.index + 1 >= last:
                    break
        except SourceError as error:
            _log.warning("camera %s: no pictures of some tracks: %s", camera_id, error)
        finally:
            close = getattr(frames, "close", None)  # a generator lets go of its file here and not some time later
            if close is not None:
                close()
        missing = sum(map(len, self._planned.values())) - self.counts.total()
        self.counts.update({MISSING: missing} if missing else {})

    def _cut(self, frame: Frame) -> None:
        number = frame.index + 1
        for cut in self._planned.get(number, ()):
            crop = None if frame.damaged else _crop(frame.image, cut.xyxy)
            if crop is None:
                self.counts[DAMAGED if frame.damaged else SMALL] += 1
                continue
            write_bytes(cut.folder / f"{number:06d}.jpg", encode_jpeg(crop, JPEG_QUALITY))
            self.counts[PICTURES] += 1
            self.written.add(cut.folder)


def person_folder(person_id: int) -> str:
    """The folder of a person of the ground truth: the number, which the plain layout keeps as the person's.

    There `0` is the distractors, so that somebody annotated as 0 gets a name instead (and the reader numbers anew).
    """
    return f"{person_id:04d}" if person_id > 0 else f"person_{person_id}"


def _plan(tracks: Sequence[LabelledTrack], folder: Path, every_s: float) -> dict[int, list[_Cut]]:
    """What to cut, by frame number."""
    planned: dict[int, list[_Cut]] = defaultdict(list)
    for track in tracks:
        place = _place(track, folder)
        for chosen in spread_out(track.at_s, every_s).tolist():
            planned[int(track.frames[chosen])].append(_Cut(track.xyxy[chosen], place))
    return planned


def _place(track: LabelledTrack, folder: Path) -> Path:
    """Where a tracklet's pictures go."""
    return folder / person_folder(track.person_id) / tracklet_folder(track.key)


def tracklet_folder(key: TrackKey) -> str:
    """A track's folder below its person's; an epoch is opaque, and must not name another folder."""
    epoch = re.sub(r"[^A-Za-z0-9_-]", "_", key.epoch)
    return f"{key.camera_id}/{epoch}-{key.track_id:04d}"


def _crop(image: ImageArray, xyxy: FloatArray) -> ImageArray | None:
    """The part of a box (4,) px in the picture, to whole pixels as the encoders cut it; None when too small."""
    inside = clip_boxes(xyxy[None], image.shape[1], image.shape[0])[0]
    x1, y1, x2, y2 = np.rint(inside).astype(int).tolist()
    if y2 - y1 < LEAST_HEIGHT_PX or x2 - x1 < _LEAST_WIDTH_PX:
        return None
    return image[y1:y2, x1:x2]


def _tracks_by_camera(out_dir: Path) -> dict[str, list[tuple[int, TrackKey]]]:
    """Camera -> (id in tracks_local, key) of its tracks, cameras in order of their names."""
    if not (out_dir / LOCAL).is_dir():
        raise DecodeError(f"{out_dir / LOCAL}: no such folder; tracklets are exported from a replay's output folder")
    found: dict[str, list[tuple[int, TrackKey]]] = defaultdict(list)
    for number, key in read_local_keys(out_dir):
        found[checked_camera(key.camera_id)].append((number, key))
    return dict(sorted(found.items()))


def _times(out_dir: Path, camera_id: str, truth: CameraTruth) -> FrameTimes:
    file = out_dir / "frame_times" / f"{camera_id}.txt"
    stamps_s = read_table(file, least_columns=1).values[:, 0]
    return FrameTimes(stamps_s if len(stamps_s) else None, truth.fps)


def require_empty(folder: Path) -> None:
    """Raise OutputError unless tracklets can be written to `folder`: it is empty or not there. Makes nothing."""
    try:
        holds = next(folder.iterdir(), None)
    except FileNotFoundError:
        return
    except OSError as error:
        raise OutputError(f"cannot write to {folder}: {error.strerror}; choose another folder") from None
    if holds is not None:
        raise OutputError(f"{folder} is not empty; choose another folder for the tracklets")


def _make_folder(folder: Path) -> None:
    require_empty(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"cannot make {folder}: {error.strerror}; choose another folder for the tracklets") from None

"""Pictures of tracks: those that the recorder keeps of each identity, else the worker's own frame while it lasts."""

from pathlib import Path

import numpy as np

from pipeline.background.crops import Crop, cut, read_name
from pipeline.background.files import time_name
from pipeline.background.kept_frames import read_kept
from pipeline.errors import DecodeError
from pipeline.runtime.feature_files import FeatureRows, Stream
from pipeline.search.history import History
from pipeline.types import ImageArray, TrackKey
from pipeline.view.thumbnails import read_image


class Pictures:
    """Looks pictures up in an output folder; without one there are none."""

    def __init__(self, out_dir: Path | None, history: History, features: FeatureRows) -> None:
        self._out_dir = out_dir
        self._history = history
        self._features = features
        self._crops: dict[int, list[Crop]] = {}

    def of_track(self, key: TrackKey) -> ImageArray | None:
        """The best picture of a track, (H, W, 3) BGR; None where there is none any more."""
        if self._out_dir is None:
            return None
        times_s = {round(at_s, 3) for at_s in self._history.book.pictures_of(key)}
        for crop in self._crops_of(self._history.book.final(key)):
            if crop.camera_id == key.camera_id and round(crop.captured_at_s, 3) in times_s:
                image = read_image(crop.path)
                if image is not None:
                    return image
        return self._from_kept(self._out_dir, key)

    def _crops_of(self, identity_id: int) -> list[Crop]:
        """Best first."""
        if identity_id not in self._crops and self._out_dir is not None:
            paths = sorted((self._out_dir / "crops" / str(identity_id)).glob("*.jpg"))
            crops = [crop for crop in map(read_name, paths) if crop is not None]
            self._crops[identity_id] = sorted(crops, key=lambda crop: (-crop.quality, crop.path.name))
        return self._crops.get(identity_id, [])

    def _from_kept(self, out_dir: Path, key: TrackKey) -> ImageArray | None:
        """Cut out of the frames that the track's clips point to, newest first: the best frame comes last."""
        for at_s, index in self._kept_of(key):
            try:
                kept = read_kept(out_dir, f"kept/{key.camera_id}/{time_name(at_s)}_{index:06d}.jpg")
            except (DecodeError, OSError, ValueError):
                continue  # gone with its track
            row = kept.row(key.epoch, key.track_id)
            image = None if row is None else cut(kept.frame.image, kept.tracks.xyxy[row])
            if image is not None:
                return image
        return None

    def _kept_of(self, key: TrackKey) -> list[tuple[float, int]]:
        rows, stream = self._features.rows, Stream(key.camera_id, key.epoch)
        if stream not in self._features.streams:
            return []
        number = self._features.streams.index(stream)
        mine = rows[(rows["stream"] == number) & (rows["track_id"] == key.track_id) & (rows["picture_index"] >= 0)]
        mine = mine[np.argsort(-mine["end_s"], kind="stable")]
        return list(dict.fromkeys((float(r["picture_at_s"]), int(r["picture_index"])) for r in mine))

"""Where a search reads from: an output folder, or the streams of a running site."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from pipeline.bus.redis_streams import RedisBus
from pipeline.bus.streams import CLIPS, IDENTITIES
from pipeline.runtime.feature_files import ROW, FeatureRows, Stream, read_features, stored_models
from pipeline.runtime.feature_store import row_of
from pipeline.runtime.recording import read_events
from pipeline.search.history import History
from pipeline.types import ClipFeature, IdentityEvent

_PAGE = 500  # messages read at a time: 2 MB of clips


class FolderSource:
    """An output folder, also while a run still writes it."""

    def __init__(self, out_dir: Path) -> None:
        self.out_dir: Path | None = out_dir
        self._folder = out_dir
        self.where = str(out_dir)
        self.models = stored_models(out_dir)

    def read(self, model_id: str) -> tuple[History, FeatureRows]:
        """The site's history, and the features of one model.

        Raises:
            DecodeError: files that are damaged.
        """
        features = read_features(self._folder, model_id)
        return History.of(read_events(self._folder), features), features


class BusSource:
    """The streams `identities` and `clips` of a site: what they still hold.

    Raises:
        BusUnavailable, BusRefused.
    """

    out_dir: Path | None = None  # pictures are on the workers' hosts

    def __init__(self, bus: RedisBus) -> None:
        bus.ping()
        self.where = f"the streams of site {bus.site!r}"
        self._events = [m for m in _messages(bus, IDENTITIES) if isinstance(m, IdentityEvent)]
        self._clips = [m for m in _messages(bus, CLIPS) if isinstance(m, ClipFeature)]
        self.models = dict(Counter(clip.model_id for clip in self._clips))

    def read(self, model_id: str) -> tuple[History, FeatureRows]:
        """As `FolderSource.read`."""
        features = rows_in_memory(model_id, [clip for clip in self._clips if clip.model_id == model_id])
        return History.of(self._events, features), features


Source = FolderSource | BusSource


def most_used(models: dict[str, int]) -> str:
    """The model with the most features; "" when there are none."""
    return max(models, key=lambda model_id: (models[model_id], model_id), default="")


def rows_in_memory(model_id: str, clips: Sequence[ClipFeature]) -> FeatureRows:
    """Clips of one model, each (camera, epoch, sequence) once, as if they had been stored."""
    clips = list({(clip.camera_id, clip.epoch, clip.sequence): clip for clip in clips}.values())
    streams = list(dict.fromkeys(Stream(clip.camera_id, clip.epoch) for clip in clips))
    rows = [row_of(clip, streams.index(Stream(clip.camera_id, clip.epoch))) for clip in clips]
    vectors = (np.stack([clip.embedding for clip in clips]).astype(np.float16),) if clips else ()
    return FeatureRows(model_id, vectors, np.concatenate([np.zeros(0, ROW), *rows]), tuple(streams))


def _messages(bus: RedisBus, stream: str) -> list[object]:
    found: list[object] = []
    after = "0"
    while deliveries := bus.read(stream, after, timeout_s=0.0, count=_PAGE):
        after = deliveries[-1].id
        found += [delivery.message for delivery in deliveries]
    return found

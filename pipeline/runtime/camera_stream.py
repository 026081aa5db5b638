"""What a camera's pipeline keeps of one epoch, and how a track of it is cut in two."""

from dataclasses import dataclass, field

import numpy as np

from pipeline.runtime.seen_boxes import SeenBoxes
from pipeline.tracking.sampling import ClipSampler, CropRequest
from pipeline.tracking.switches import Switch, SwitchWatch
from pipeline.tracking.tracker import PersonTracker
from pipeline.types import Tracklet, Tracks


@dataclass(frozen=True, eq=False, slots=True)
class CutTrack:
    """The first part of a track that was cut; after `after_s` it goes on as `new_id`."""

    tracklet: Tracklet
    new_id: int
    after_s: float


@dataclass(slots=True)
class CameraStream:
    """Everything that belongs to one epoch of one camera.

    Attributes:
        watch: None where tracks are not cut.
        sequence: of the message told last.
        last_s, ticked_s, detected_s: times of the last frame, tick and detection.
    """

    epoch: str
    tracker: PersonTracker
    sampler: ClipSampler
    watch: SwitchWatch | None = None
    sequence: int = 0
    last_s: float = -np.inf
    ticked_s: float = -np.inf
    detected_s: float = -np.inf
    seen: SeenBoxes = field(default_factory=SeenBoxes)
    picture_px: tuple[int, int] | None = None
    _cuts: list[CutTrack] = field(default_factory=list)  # not told yet
    _renamed: dict[int, tuple[int, float]] = field(default_factory=dict)  # in this frame: new id, and from when on

    def settled_until_s(self, track_id: int) -> float:
        """What is seen of a track up to here is of one person for all that is known; inf: all of it."""
        return self.watch.settled_until_s(track_id) if self.watch else np.inf

    def owner(self, request: CropRequest) -> int:
        """The track that a crop is of, if its track was cut after the crop was chosen."""
        new_id, after_s = self._renamed.get(request.track_id, (request.track_id, np.inf))
        return new_id if request.captured_at_s > after_s else request.track_id

    def split(self, switch: Switch) -> None:
        """Cut a track; nothing happens to one that is not open any more."""
        old_id, after_s = switch.track_id, switch.after_s
        parts = self.tracker.split(old_id, after_s)
        if parts is None or self.watch is None:
            return
        tracklet, new_id = parts
        self.sampler.split(old_id, new_id, after_s, self.tracker.births()[new_id])
        self.seen.split(old_id, new_id, after_s)
        self.watch.split(switch, new_id)
        self._cuts.append(CutTrack(tracklet, new_id, after_s))
        for first_id, (last_id, first_s) in self._renamed.items():
            if last_id == old_id:  # cut twice in one frame
                self._renamed[first_id] = new_id, first_s
        self._renamed[old_id] = new_id, after_s

    def take_cuts(self) -> list[CutTrack]:
        """The tracks that were cut since the last call, in order."""
        cuts, self._cuts = self._cuts, []
        return cuts

    def relabelled(self, tracks: Tracks) -> Tracks:
        """The tracks of a frame, by id, as they are called after the cuts made in it; the next frame begins here."""
        new_ids = {old: new for old, (new, _) in self._renamed.items()}
        self._renamed.clear()
        if not new_ids:
            return tracks
        ids = np.array([new_ids.get(track_id, track_id) for track_id in tracks.ids.tolist()], np.int64)
        order = ids.argsort()
        return Tracks(ids[order], tracks.xyxy[order], tracks.confidence[order])

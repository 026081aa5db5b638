"""Which trackers of which library are measured."""

from dataclasses import dataclass
from typing import Literal

Library = Literal["ultralytics", "trackers", "boxmot"]


@dataclass(frozen=True)
class Peer:
    """One line of a table: `tracker` as its library calls it."""

    library: Library
    tracker: str
    label: str

    @property
    def name(self) -> str:
        return f"{self.library} {self.label}"


# Association alone: without pictures, appearance and motion compensation are off where a tracker has them.
MOTION_PEERS = (
    Peer("ultralytics", "bytetrack", "ByteTrack"),
    Peer("ultralytics", "botsort", "BoT-SORT"),
    Peer("ultralytics", "ocsort", "OC-SORT"),
    Peer("ultralytics", "deepocsort", "Deep OC-SORT"),
    Peer("ultralytics", "fasttrack", "FastTracker"),
    Peer("ultralytics", "tracktrack", "TrackTrack"),
    Peer("trackers", "sort", "SORT"),
    Peer("trackers", "bytetrack", "ByteTrack"),
    Peer("trackers", "ocsort", "OC-SORT"),
    Peer("trackers", "botsort", "BoT-SORT"),
    Peer("trackers", "cbiou", "C-BIoU"),
    Peer("trackers", "mcbyte", "McByte, no masks"),
    Peer("boxmot", "bytetrack-class", "ByteTrack, class defaults"),
    Peer("boxmot", "bytetrack", "ByteTrack, shipped config"),
    Peer("boxmot", "ocsort", "OC-SORT"),
    Peer("boxmot", "sfsort", "SFSORT"),
    Peer("boxmot", "botsort", "BoT-SORT"),
    Peer("boxmot", "deepocsort", "Deep OC-SORT"),
    Peer("boxmot", "boosttrack", "BoostTrack"),
    Peer("boxmot", "occluboost", "OccluBoost"),
)

APPEARANCE_PEERS = (
    Peer("boxmot", "botsort", "BoT-SORT"),
    Peer("boxmot", "strongsort", "StrongSORT"),
    Peer("boxmot", "deepocsort", "Deep OC-SORT"),
    Peer("boxmot", "hybridsort", "Hybrid-SORT"),
    Peer("boxmot", "boosttrack", "BoostTrack"),
    Peer("boxmot", "occluboost", "OccluBoost"),
    Peer("ultralytics", "botsort", "BoT-SORT"),
    Peer("ultralytics", "deepocsort", "Deep OC-SORT"),
    Peer("ultralytics", "tracktrack", "TrackTrack"),
)

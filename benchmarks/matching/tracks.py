"""A site's recording as everybody gets it: messages in the order of the replay, tracks, clips, and the ground truth."""

import heapq
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from matching.sites import Site
from pipeline.commands.recorded import read_truth
from pipeline.replay.from_features import CameraFeatures, open_features
from pipeline.scoring.ground_truth import GroundTruth
from pipeline.scoring.rows import Float64Array
from pipeline.types import ClipFeature, ClipMessage, TrackKey, Tracklet

_FPS = 25.0  # of footage that states no rate


@dataclass(frozen=True, eq=False)
class SiteTracks:
    """What every way of giving ids starts from.

    Attributes:
        messages: of all cameras, in the order in which the replay published them.
        tracklets: in that order. clips: track -> its clips, in that order.
        times_s: camera -> time of frame n at index n - 1.
        fps: frames per second, the fastest camera's.
    """

    site: Site
    model_id: str
    messages: tuple[ClipMessage, ...]
    tracklets: tuple[Tracklet, ...]
    clips: Mapping[TrackKey, tuple[ClipFeature, ...]]
    times_s: Mapping[str, Float64Array]
    fps: float
    truth: GroundTruth


def read_tracks(site: Site) -> SiteTracks:
    """Everything of a site's recording.

    Raises:
        ConfigError: no recording, or no ground truth. DecodeError: a file that cannot be read.
    """
    features = open_features(site.recording, site.config)
    messages = tuple(_in_order(features.cameras))
    clips: dict[TrackKey, list[ClipFeature]] = {}
    for message in messages:
        if isinstance(message, ClipFeature):
            clips.setdefault(message.key, []).append(message)
    truth = read_truth(site.config, site.truth)
    if truth is None:
        raise ValueError("a site without ground truth")
    return SiteTracks(
        site,
        features.model_id,
        messages,
        tuple(message for message in messages if isinstance(message, Tracklet)),
        {key: tuple(of_track) for key, of_track in clips.items()},
        {c: np.loadtxt(site.recording / "frame_times" / f"{c}.txt", ndmin=1) for c in truth.cameras},
        max((float(camera.header.get("fps") or _FPS) for camera in features.cameras), default=_FPS),
        truth,
    )


def _in_order(cameras: tuple[CameraFeatures, ...]) -> Iterator[ClipMessage]:
    """As `replay_features` delivers them: by time of the frame, then place of the camera; closings last."""

    def groups(place: int) -> Iterator[tuple[float, int, list[ClipMessage]]]:
        for at_s, messages in cameras[place].groups():
            yield at_s, place, messages

    for _, _, messages in heapq.merge(*map(groups, range(len(cameras))), key=lambda group: group[:2]):
        yield from messages
    for camera in cameras:
        yield from camera.closing

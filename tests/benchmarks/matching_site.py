"""A tiny site with a recording and a ground truth: two people who walk through two cameras, one after the other."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from matching.judging import said
from matching.sites import Site

from pipeline.bus.codec import encode
from pipeline.config import CameraConfig, Config
from pipeline.replay.recording import FEATURES, SCHEMA, FeatureFile
from pipeline.types import CameraState, ClipFeature, ClipMessage, IdentityEvent, Tick, TrackKey, Tracklet

FPS = 10.0
FRAMES = 120
SIZE_PX = (640, 360)
MODEL = "handcrafted@0/mean"  # a model with a stored threshold
CAMERAS = ("a", "b")
# track number, camera, person, first and last frame (from 1), left edge (px)
WALKS = (
    (1, "a", 1, 1, 50, 100.0),
    (2, "a", 2, 21, 70, 400.0),
    (1, "b", 1, 61, 110, 100.0),
    (2, "b", 2, 81, 120, 400.0),
)
PEOPLE = {TrackKey(camera, "1", number): person for number, camera, person, *_ in WALKS}
A1, A2, B1, B2 = (TrackKey(camera, "1", number) for number, camera, *_ in WALKS)


def looks(person: int, wobble: float = 0.0) -> np.ndarray:
    """(8,) unit vector: people at right angles, and as far off as `wobble`."""
    vector = np.zeros(8, np.float32)
    vector[person] = 1.0
    vector[0] = wobble
    return (vector / np.linalg.norm(vector)).astype(np.float32)


def clip(key: TrackKey, sequence: int, at_s: float, embedding: np.ndarray, first_s: float = 0.0) -> ClipFeature:
    return ClipFeature(
        key=key,
        sequence=sequence,
        first_visible_s=first_s,
        start_s=max(first_s, at_s - 0.4),
        end_s=at_s,
        made_at_s=at_s,
        embedding=embedding,
        parts=embedding[None],
        visibility=np.ones(1, np.float32),
        attention=np.ones((1, 1), np.float32),
        quality=0.8,
        model_id=MODEL,
    )


def tracklet(key: TrackKey, sequence: int, first: int, last: int, left_px: float = 100.0) -> Tracklet:
    frames = np.arange(first - 1, last)
    boxes = np.tile(np.array([left_px, 50.0, left_px + 60.0, 200.0], np.float32), (len(frames), 1))
    sure = np.ones(len(frames), np.float32)
    return Tracklet(key, sequence, last / FPS, True, frames, frames / FPS, boxes, sure)


def camera_messages(camera: str, walks: Sequence[tuple]) -> list[tuple[int, ClipMessage]]:
    """(frame, message) of one camera: a tick a frame, a clip a second of each track, tracklets, the end."""
    made: list[tuple[int, ClipMessage]] = []

    def add(frame: int, message: ClipMessage) -> None:
        made.append((frame, replace(message, sequence=len(made) + 1)))

    here = [walk for walk in walks if walk[1] == camera]
    for frame in range(1, FRAMES + 1):
        at_s = (frame - 1) / FPS
        for number, _, person, first, last, left in here:
            key = TrackKey(camera, "1", number)
            if first < frame <= last and (frame - first) % 10 == 5:
                add(frame, clip(key, 0, at_s, looks(person, 0.1), (first - 1) / FPS))
            if frame == last:
                add(frame, tracklet(key, 0, first, last, left))
        visible = tuple(n for n, _, _, first, last, _ in here if first <= frame <= last)
        add(frame, Tick(camera, "1", 0, at_s, visible))
    add(FRAMES, CameraState(camera, "1", 0, FRAMES / FPS, "end"))
    return made


def write_recording(folder: Path, walks: Sequence[tuple] = WALKS) -> None:
    (folder / "frame_times").mkdir(parents=True)
    times = "".join(f"{n / FPS!r}\n" for n in range(FRAMES))
    for camera in CAMERAS:
        header = {"log": FEATURES, "schema": SCHEMA, "site": "tiny", "camera_id": camera, "model_id": MODEL}
        file = FeatureFile(folder / "recorded" / "features" / f"{camera}.mcplog", {**header, "fps": FPS})
        waiting = camera_messages(camera, walks)
        for index in range(FRAMES):
            file.frame(index, index / FPS)
            for frame, message in waiting:
                if frame == index + 1:
                    file.message(encode(message))
        file.end()
        file.close()
        (folder / "frame_times" / f"{camera}.txt").write_text(times)


def write_truth(folder: Path, walks: Sequence[tuple] = WALKS) -> None:
    folder.mkdir()
    for camera in CAMERAS:
        rows = [
            f"{frame},{person},{left},50,60,150,1,1,1\n"
            for _, of_camera, person, first, last, left in walks
            if of_camera == camera
            for frame in range(first, last + 1)
        ]
        (folder / f"{camera}.txt").write_text("".join(rows))


def tiny_site(folder: Path, walks: Sequence[tuple] = WALKS, *, clip_name: str = "tiny") -> Site:
    write_recording(folder / "run", walks)
    write_truth(folder / "gt", walks)
    config = Config(site="tiny", cameras=tuple(CameraConfig(name, f"{name}.mp4") for name in CAMERAS))
    return Site(clip_name, clip_name, "detector", "", config, folder / "run", folder / "gt", True, False)


def said_all(ids: Mapping[TrackKey, int], at_s: float = 0.0) -> list[IdentityEvent]:
    return [said(key, identity, at_s) for key, identity in ids.items()]

"""Small made-up sites for the tests of fitting: paths, stays, comparisons and clips with known truth."""

import numpy as np

from pipeline.fitting.comparisons import Comparisons
from pipeline.fitting.paths import Stay, WalkedPath
from pipeline.scenes.walks import Scenario
from pipeline.types import ClipFeature, TrackKey, Tracklet

PERSON_PX = 100.0


def wandering(rng, seconds=40.0, step_s=0.1):
    """(T,) times and (T, 2) places on a floor of 10 by 10 m: somebody who walks, turns and stops."""
    at_s = np.arange(0, seconds, step_s)
    turns = np.arange(0, seconds + 4, 4.0)
    places = rng.uniform(0, 10, (len(turns), 2))
    places[-2] = places[-3]  # stands still once
    return at_s, np.stack([np.interp(at_s, turns, places[:, axis]) for axis in (0, 1)], axis=1)


def seen_by(homography, ground):
    """Foot points (T, 2) px of places on the ground."""
    rows = np.concatenate([ground, np.ones((len(ground), 1))], axis=1) @ np.asarray(homography).T
    return rows[:, :2] / rows[:, 2:]


CAMERA_A = [[60.0, 5.0, 20.0], [2.0, 25.0, 120.0], [0.0, 0.02, 1.0]]
CAMERA_B = [[-40.0, 25.0, 500.0], [20.0, 12.0, 100.0], [0.03, 0.0, 1.0]]


def path(camera, at_s, foot_px, name="1", person=None):
    return WalkedPath(camera, f"{camera}/1/{name}", person, at_s, foot_px, np.full(len(at_s), PERSON_PX))


def stays_of_walks(scenario: Scenario, offsets=None):
    """Who is where when, by clocks that are `offsets[camera]` ahead."""
    stays = [Stay(w.camera_id, w.person_id, w.start_s, w.end_s) for w in scenario.walks]
    return [s.moved((offsets or {}).get(s.camera_id, 0.0)) for s in stays]


def paths_of_walks(scenario: Scenario, step_s=0.1):
    """The foot points of every walk as its camera sees them."""
    found = []
    for number, walk in enumerate(scenario.walks):
        camera = scenario.camera(walk.camera_id)
        at_s = np.arange(walk.start_s, walk.end_s - 1e-6, step_s)
        poses = [walk.pose(t) for t in at_s.tolist()]
        foot = np.array([[p.x * camera.width_px, camera.foot_y(p.depth)] for p in poses])
        height = np.array([camera.person_px(p.depth) for p in poses])
        name = f"{walk.camera_id}/1/{number}"
        found.append(WalkedPath(walk.camera_id, name, walk.person_id, at_s, foot, height))
    return found


def comparisons(same, different, people=12, basis="ground truth", qualities=None, seed=0):
    """Comparisons of these distances, spread over so many people."""
    rng = np.random.default_rng(seed)
    first = rng.integers(0, people, len(different))
    second = (first + rng.integers(1, people, len(different))) % people
    same_quality = np.full(len(same), 0.8) if qualities is None else qualities[0]
    different_quality = np.full(len(different), 0.8) if qualities is None else qualities[1]
    return Comparisons(
        np.asarray(same, np.float32),
        rng.integers(0, people, len(same)),
        np.asarray(same_quality, np.float32),
        np.asarray(different, np.float32),
        np.stack([first, second], axis=1).reshape(-1, 2).astype(np.int64),
        np.asarray(different_quality, np.float32),
        np.asarray(different[:10], np.float32),
        "person" if basis == "ground truth" else "track",
        people,
        basis,
    )


def clip(camera, track_id, vector, start_s, end_s, quality=0.8):
    vector = np.asarray(vector, np.float32)
    none = np.zeros((0, 0))
    key = TrackKey(camera, "1", track_id)
    unit = vector / np.linalg.norm(vector)
    return ClipFeature(key, 1, start_s, start_s, end_s, end_s, unit, none, np.zeros(0), none, quality, "m")


def tracklet(camera, track_id, start_s, end_s, left=100.0, fps=10.0, confidence=0.9):
    """Somebody who stands at `left`."""
    index = np.arange(round(start_s * fps), round(end_s * fps) + 1)
    xyxy = np.tile([left, 0.0, left + 20, 50.0], (len(index), 1))
    key = TrackKey(camera, "1", track_id)
    times = index / fps
    return Tracklet(key, 0, float(times[-1]), True, index, times, xyxy, np.full(len(index), confidence))

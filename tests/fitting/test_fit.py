"""Everything together, on sites whose truth is known: the messages of a generated timetable, without pictures."""

from dataclasses import replace

import numpy as np
import pytest
from fitting_scenes import clip, stays_of_walks

from pipeline.config import CameraConfig, Config, MatcherConfig, TopologyConfig
from pipeline.fitting.evidence import changes_of, fit_to_plain
from pipeline.fitting.fit import fit_site_settings
from pipeline.fitting.footage import Footage
from pipeline.scenes.walks import random_scenario
from pipeline.scoring.ground_truth import CameraTruth, GroundTruth
from pipeline.scoring.roles import Role
from pipeline.scoring.rows import Rows
from pipeline.scoring.times import FrameTimes
from pipeline.types import CameraState, TrackKey, Tracklet

FPS = 10.0
CAMERAS = ("lobby", "street")
DURATION_S = 200.0


def site(ahead_s=0.0, people=8, seed=5):
    """Footage and ground truth of a timetable; the second camera's clock is ahead."""
    scenario = random_scenario(people=people, cameras=2, duration_s=DURATION_S, seed=seed)
    stays = [replace(s, end_s=min(s.end_s, DURATION_S)) for s in stays_of_walks(scenario)]
    rng = np.random.default_rng(seed)
    looks = rng.normal(size=(people, 64)) * (np.arange(64) < 16)  # some are nearer than others
    looks /= np.linalg.norm(looks, axis=1, keepdims=True)
    messages, rows = [], {camera: [] for camera in CAMERAS}
    for number, stay in enumerate(sorted(stays, key=lambda s: (s.camera_id, s.start_s)), start=1):
        offset_s = ahead_s if stay.camera_id == CAMERAS[1] else 0.0
        index = np.arange(int(stay.start_s * FPS) + 1, int(stay.end_s * FPS))
        if len(index) < 10:
            continue
        left = 200.0 * stay.person_id
        rows[stay.camera_id] += [(i + 1, stay.person_id, left) for i in index.tolist()]
        times = index / FPS + offset_s
        for at_s in np.arange(times[0] + 0.4, times[-1], 1.0):
            person = looks[stay.person_id - 1] + rng.normal(0, 0.06, 64)
            messages.append(clip(stay.camera_id, number, person, max(times[0], at_s - 2.0), at_s))
        boxes = np.tile([left, 0, left + 50, 120], (len(index), 1))
        key = TrackKey(stay.camera_id, "1", number)
        messages.append(Tracklet(key, 1, times[-1], True, index, times, boxes, np.ones(len(index))))
    messages = [replace(m, sequence=i + 1) for i, m in enumerate(messages)]
    messages += [CameraState(c, "1", len(messages) + 1, DURATION_S + 50, "end") for c in CAMERAS]
    times = {c: FrameTimes(fps=FPS, start_s=ahead_s if c == CAMERAS[1] else 0.0) for c in CAMERAS}
    truth = GroundTruth({c: _camera(rows[c]) for c in CAMERAS})
    return Footage(CAMERAS, tuple(messages), times, {c: int(DURATION_S * FPS) for c in CAMERAS}), truth


def _camera(rows):
    xywh = np.array([[r[2], 0, 50, 120] for r in rows], float).reshape(-1, 4)
    table = Rows(np.array([r[0] for r in rows], int), np.array([r[1] for r in rows], int), xywh, np.ones(len(rows)))
    return CameraTruth(table, np.full(len(rows), Role.PERSON, np.int8))


def config(topology=()):
    cameras = tuple(CameraConfig(c, f"{c}.mp4") for c in CAMERAS)
    return Config(cameras=cameras, matcher=MatcherConfig(), topology=topology)


@pytest.mark.parametrize("with_truth", [True, False])
def test_a_sites_threshold_clock_and_ways_are_found(with_truth):
    footage, truth = site(ahead_s=6.0)
    fit = fit_site_settings(footage, config(), truth if with_truth else None, 0.5)
    assert fit.basis == ("ground truth" if with_truth else "certain pairs")
    # One person is about .2 from himself (64 values with noise of .06), two are .5 to 1.5 apart.
    assert 0.3 < fit.threshold.threshold < 1.0
    assert fit.offsets["street"].offset_s == pytest.approx(-6.0, abs=1.5)
    windows = {(w.origin, w.destination): w for w in fit.windows}
    for way in (CAMERAS, CAMERAS[::-1]):
        low_s, high_s = windows[way].window_s
        assert low_s <= 1.5 and high_s >= 6.0
    assert len(fit.topology) == 2


def test_what_the_configuration_says_already_stays_and_a_contradiction_is_told():
    footage, truth = site()
    declared = TopologyConfig(from_camera="lobby", to_camera="street", transit_s=(50.0, 60.0))
    fit = fit_site_settings(footage, config((declared,)), truth, None)
    assert [(e.from_camera, e.to_camera) for e in fit.topology] == [("street", "lobby")]
    assert any("lobby to street is left as it was" in warning for warning in fit.warnings)


def test_the_same_footage_gives_the_same_result():
    footage, truth = site(people=4)
    first, second = (fit_to_plain(fit_site_settings(footage, config(), truth, 0.5), footage.frames) for _ in range(2))
    assert first == second


def test_nothing_of_an_empty_site_is_changed_and_the_warnings_say_why():
    footage = Footage(CAMERAS, (), {c: FrameTimes() for c in CAMERAS}, dict.fromkeys(CAMERAS, 0))
    for truth in (None, GroundTruth({c: _camera([]) for c in CAMERAS})):
        fit = fit_site_settings(footage, config(), truth, 0.3)
        changes = changes_of(fit, config(), "mine.yaml")
        assert not (changes.matcher or changes.offsets or changes.topology)
        assert any("nobody was found" in note for note in changes.notes)
        assert any("too little" in note for note in changes.notes)
        assert fit_to_plain(fit, footage.frames)["threshold"]["threshold"] is None


def test_one_camera_has_no_ways_and_no_clocks_and_says_so():
    footage, truth = site(people=5)
    only = tuple(m for m in footage.messages if m.camera_id == "lobby")
    alone = Footage(("lobby",), only, footage.times, {"lobby": 10})
    one = config().with_cameras(config().cameras[:1])
    fit = fit_site_settings(alone, one, GroundTruth({"lobby": truth.cameras["lobby"]}), 0.5)
    assert (fit.lags, fit.windows, fit.topology) == ((), (), ())
    assert any("one camera" in warning for warning in fit.warnings)


def test_a_model_without_any_threshold_is_told():
    footage = Footage(CAMERAS, (), {c: FrameTimes() for c in CAMERAS}, dict.fromkeys(CAMERAS, 0))
    fit = fit_site_settings(footage, config(), None, None)
    assert any("set matcher.threshold" in warning for warning in fit.warnings)


def test_the_evidence_is_in_the_comments_and_the_histograms_in_the_values():
    footage, truth = site(ahead_s=6.0)
    fit = fit_site_settings(footage, config(), truth, 0.5)
    changes = changes_of(fit, config(), "mine.yaml")
    assert f"{fit.threshold.different} comparisons" in changes.matcher["threshold"].evidence[0]
    assert "walking times" in changes.offsets["street"].evidence[0]
    assert all("ways of" in told for _, (told,) in changes.topology)
    plain = fit_to_plain(fit, footage.frames)
    assert sum(plain["distances"]["same"]) == fit.threshold.same
    for window, found in zip(plain["transits"], fit.windows, strict=True):
        assert sum(window["histogram"]["count"]) == len(found.gaps_s)

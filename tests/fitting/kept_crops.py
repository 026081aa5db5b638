"""Crops and footage made of numbers, for the tests of what a head learns from."""

from types import SimpleNamespace

import numpy as np
from fitting_scenes import tracklet

from pipeline.fitting.crops import CropStore
from pipeline.fitting.footage import Footage
from pipeline.scoring.times import FrameTimes
from pipeline.types import CameraState, ClipFeature, CropFeature, CropQuality, TrackKey

ROWS, CHANNELS = 8, 16
GOOD = CropQuality(height_px=200.0, sharpness=300.0, truncation=0.0, overlap=0.0, confidence=0.9)


def crop(at_s, stripes=None, quality=GOOD):
    stripes = np.ones((ROWS, CHANNELS), np.float32) if stripes is None else stripes
    return CropFeature(at_s, stripes, np.square(stripes).sum(axis=1), quality, "m")


def request(picture=None):
    return SimpleNamespace(picture=picture)


def look_of(person, rng):
    """(R, C) of one person: the same every time but for noise."""
    own = np.random.default_rng(person).uniform(0, 1, (ROWS, CHANNELS))
    return np.asarray(own + rng.normal(0, 0.1, own.shape), np.float32).clip(0)


def site(tracks, fps=5.0):
    """Footage and store of `(camera, track_id, person, start_s, end_s, left)`; a crop and a clip every half second."""
    rng = np.random.default_rng(0)
    store, messages, number = CropStore(), [], 0
    for camera, track_id, person, start_s, end_s, left in tracks:
        track = tracklet(camera, track_id, start_s, end_s, left, fps)
        crops = [crop(float(at_s), look_of(person, rng)) for at_s in np.arange(start_s, end_s, 0.5)]
        for one in crops:
            store.add(track.key, one, request())
        for i in range(len(crops)):
            number += 1
            clip = clip_of(track.key, number, crops[max(0, i - 3) : i + 1])
            store.note(clip, crops[max(0, i - 3) : i + 1])
            messages.append(clip)
        messages.append(track)
    cameras = tuple(dict.fromkeys(t[0] for t in tracks)) or ("a",)
    messages += [CameraState(c, "1", 10**6, 10**4, "end") for c in cameras]
    footage = Footage(cameras, tuple(messages), {c: FrameTimes() for c in cameras}, dict.fromkeys(cameras, 100))
    return footage, store


def clip_of(key, number, crops):
    vector = np.mean([c.stripes for c in crops], axis=0).ravel()
    none = np.zeros((0, 0), np.float32)
    unit = np.asarray(vector / np.linalg.norm(vector), np.float32)
    start_s, end_s = crops[0].captured_at_s, crops[-1].captured_at_s
    return ClipFeature(key, number, start_s, start_s, end_s, end_s, unit, none, np.zeros(0), none, 0.9, "m")


def key(camera="a", track_id=1):
    return TrackKey(camera, "1", track_id)

"""Synthetic crop features of a site: people with a direction of their own, tracks with disturbances they share."""

from dataclasses import dataclass

import numpy as np

from pipeline.ports import EncoderDescription
from pipeline.types import TrackKey
from reid.adaptation.closed_form import fit_prototypes
from reid.adaptation.material import Material, TrackCrops
from reid.aligned import AlignedParameters

ROWS, CHANNELS = 4, 24
ENCODER = EncoderDescription("example@1", ROWS, CHANNELS)


@dataclass(frozen=True)
class Site:
    """How the crops come about: person * its direction + disturbance * a direction shared by all people + noise."""

    people: int = 8
    crops: int = 16
    disturbance: float = 6.0
    noise: float = 0.3
    identity: float = 1.0
    spacing_s: float = 0.5
    visits: int = 1


def make_site(site: Site = Site(), seed: int = 0, *, together: int = 4, pictures: bool = False) -> Material:
    """Tracks of a site; `together` people are in view at once and certainly apart, the next ones later."""
    rng = np.random.default_rng(seed)
    own = rng.normal(size=(site.people, ROWS, CHANNELS))
    shared = rng.normal(size=(3, ROWS, CHANNELS))  # light, side, step: the same directions for everybody
    tracks, first = [], []
    for visit in range(site.visits):
        for person in range(site.people):
            start_s = 100.0 * (person // together) + 1000.0 * visit
            amount = rng.normal(size=(site.crops, 3)) * site.disturbance
            rows = site.identity * own[person] + np.einsum("ns,src->nrc", amount, shared)
            rows = rows + 8 + rng.normal(size=rows.shape) * site.noise
            key = TrackKey("door", "1", len(tracks))
            tracks.append(make_track(key, rows, start_s + np.arange(site.crops) * site.spacing_s, pictures, rng))
            first.append(person)
    numbers = np.arange(len(tracks))
    block = numbers // site.people * site.people + np.array(first) // together * together
    apart = {(int(a), int(b)) for a in numbers for b in numbers if a < b and block[a] == block[b]}
    return Material(tuple(tracks), numbers, frozenset(apart))


def make_track(
    key: TrackKey, rows: np.ndarray, times_s: np.ndarray, pictures: bool, rng: np.random.Generator
) -> TrackCrops:
    stripes = rows.astype(np.float32)
    shown = rng.integers(0, 256, (len(rows), 256, 128, 3), np.uint8) if pictures else None
    energy = np.square(stripes).sum(axis=-1)
    return TrackCrops(key, np.asarray(times_s, np.float64), stripes, energy, np.ones(len(rows), np.float32), shown)


def plain_start(parts: int = 2, seed: int = 1) -> AlignedParameters:
    """A head fitted to nobody in particular."""
    rows = np.random.default_rng(seed).gamma(2.0, 1.0, (40, ROWS, CHANNELS)).astype(np.float32)
    return fit_prototypes(rows, ENCODER, parts, origin="example")


def without_pairs(material: Material) -> Material:
    return Material(material.tracks, material.person_of, frozenset())


def first_people(material: Material, count: int) -> Material:
    return material.of_people(material.people[:count])

"""Scores ids given to a site's tracks, whoever gave them, with pipeline.scoring."""

import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path

import numpy as np

from matching.quick import Links, QuickScore, counted
from matching.tracks import SiteTracks
from pipeline.background.local_tracks import read_local_keys
from pipeline.commands.score import read_results
from pipeline.resolution import IdentityBook
from pipeline.runtime.recorder import UNIDENTIFIED, TrackWriter
from pipeline.scoring.alignment import align_camera
from pipeline.scoring.appearances import TracedCamera, trace_camera
from pipeline.scoring.ceiling import ceiling, ceiling_appearances
from pipeline.scoring.links import find_links
from pipeline.scoring.roles import Role
from pipeline.scoring.rows import NOBODY, Rows
from pipeline.scoring.score import SiteResults
from pipeline.scoring.times import site_times
from pipeline.scoring.tracking_metrics import score_site
from pipeline.types import IdentityEvent, TrackKey, Tracklet


@dataclass(frozen=True)
class Figures:
    """One way of giving ids, on one site.

    Attributes:
        idf1, idp, idr, hota: over all cameras as one sequence.
        links: of whole tracks under their final ids: one decision a track.
        identities: how many ids were made; tracks that were never identified do not count.
        at_once: pairs of tracks of two people that were ever under one id in one camera at one time.
        online_idf1, online_hota: with the ids known when each frame was published; None: there were none.
    """

    idf1: float
    idp: float
    idr: float
    hota: float
    links: Links
    identities: int
    at_once: int
    online_idf1: float | None = None
    online_hota: float | None = None
    online_links: Links | None = None


def said(key: TrackKey, identity_id: int, at_s: float, sequence: int = 1) -> IdentityEvent:
    """That a track is this identity, known from `at_s` on: as a recorder wants to hear it."""
    return IdentityEvent(sequence, "entered", identity_id, key, at_s, at_s)


def book_of(events: Iterable[IdentityEvent]) -> IdentityBook:
    """What the events say about tracks."""
    book = IdentityBook()
    for event in events:
        book.take(event)
    return book


def final_ids(events: Iterable[IdentityEvent]) -> dict[TrackKey, int]:
    """Track -> identity as finally known, corrections applied; tracks without one are not listed."""
    events = list(events)
    book = book_of(events)
    keys = {event.key for event in events if event.key is not None}
    return {key: identity for key in sorted(keys) if (identity := book.final(key))}


class SiteJudge:
    """Scores one site's ids, any number of times; boxes are matched with people once.

    The boxes are `TrackWriter`'s: a row for every frame of a track.
    """

    def __init__(self, tracks: SiteTracks) -> None:
        self.tracks = tracks
        self._cameras = list(tracks.truth.cameras)
        self._frame_counts = {camera: len(tracks.times_s[camera]) for camera in self._cameras}
        self._times = site_times(self._cameras, dict(tracks.times_s), {})
        written, keys = self._written(())
        self._local = dict(written.local or {})
        self._traced = self._trace(self._local, None)
        self._quick = QuickScore(self._traced, keys)

    @property
    def people(self) -> int:
        """How many people the ground truth has."""
        rows = (camera.rows.ids[camera.roles == Role.PERSON] for camera in self.tracks.truth.cameras.values())
        return len(np.unique(np.concatenate([np.zeros(0, np.int64), *rows])))

    @property
    def people_of_tracks(self) -> dict[TrackKey, int | None]:
        """Whom each track lies on most; None: on nobody. Tracks without a scored box are not listed."""
        return self._quick.people

    @property
    def people_shown(self) -> dict[TrackKey, frozenset[int]]:
        """Everybody whom each track shows for a tenth of its boxes or longer."""
        return self._quick.shown

    def figures(self, events: Iterable[IdentityEvent], *, online: bool = True) -> Figures:
        """Score what was said about the tracks.

        Args:
            online: whether it was known at the time of the events, so that online figures make sense.
        """
        events = list(events)
        written, _ = self._written(events)
        cross = score_site([one.camera for one in self._trace(written.final, None)])
        ids = np.concatenate([np.zeros(0, np.int64), *(rows.ids for rows in written.final.values())])
        made = len(np.unique(ids[ids < UNIDENTIFIED]))
        links = self._quick.links(final_ids(events))
        figures = Figures(*_fractions(cross), links, made, self.at_once(events))
        if not online:
            return figures
        traced = self._trace(written.online or {}, NOBODY)
        cross = score_site([one.camera for one in traced], NOBODY)
        online_links = counted(find_links(a for one in traced for a in one.appearances))
        idf1, _, _, hota = _fractions(cross)
        return replace(figures, online_idf1=idf1, online_hota=hota, online_links=online_links)

    def ceiling(self) -> Figures:
        """The same tracks with ids given by the ground truth (`pipeline.scoring.ceiling`)."""
        cross = score_site(ceiling(self._traced))
        links = find_links(a for of_camera in ceiling_appearances(self._traced) for a in of_camera)
        people = {person for person in self.people_of_tracks.values() if person is not None}
        return Figures(*_fractions(cross), counted(links), len(people), 0)

    def at_once(self, events: Iterable[IdentityEvent]) -> int:
        """How many pairs of tracks of two people were under one id in one camera at one time, then or finally."""
        book = book_of(events)
        known = [t for t in self.tracks.tracklets if self.people_of_tracks.get(t.key) is not None]
        count = 0
        for one, other in combinations(known, 2):
            two_people = self.people_of_tracks[one.key] != self.people_of_tracks[other.key]
            if one.camera_id == other.camera_id and two_people and _meet(one, other):
                count += _under_one_id(book, one, other)
        return count

    def quick(self, final: Mapping[TrackKey, int]) -> tuple[float, Links]:
        """IDF1 over cameras and links, of final ids of tracks; tracks without an id, or with 0, are by themselves.

        The same as `figures` gives, unless a box of an identity that is twice in a frame lay on a distractor.
        """
        return self._quick.idf1(final), self._quick.links(final)

    def _written(self, events: Iterable[IdentityEvent]) -> tuple[SiteResults, dict[str, dict[int, TrackKey]]]:
        """The rows that a recorder writes after these events; and by camera the key of each number in `local`."""
        book = book_of(events)
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            writer = TrackWriter(folder, self._cameras)
            for tracklet in self.tracks.tracklets:
                writer.add(tracklet)
            writer.close(book)
            keys: dict[str, dict[int, TrackKey]] = {camera: {} for camera in self._cameras}
            for number, key in read_local_keys(folder):
                keys[key.camera_id][number] = key
            return read_results(folder, self.tracks.truth), keys

    def _trace(self, rows: Mapping[str, Rows], nobody: int | None) -> list[TracedCamera]:
        traced = []
        for camera_id, truth in self.tracks.truth.cameras.items():
            camera = align_camera(camera_id, truth, rows[camera_id], self._frame_counts[camera_id])
            local, times = self._local[camera_id], self._times[camera_id]
            traced.append(trace_camera(camera, rows[camera_id], times, local=local, nobody=nobody))
        return traced


def _meet(one: Tracklet, other: Tracklet) -> bool:
    """Whether the two were seen at one time."""
    first = max(one.captured_at_s[0], other.captured_at_s[0])
    return bool(first <= min(one.captured_at_s[-1], other.captured_at_s[-1]))


def _under_one_id(book: IdentityBook, one: Tracklet, other: Tracklet) -> bool:
    if book.final(one.key) and book.final(one.key) == book.final(other.key):
        return True
    last_s = min(one.captured_at_s[-1], other.captured_at_s[-1])
    shared = one.captured_at_s[(one.captured_at_s >= other.captured_at_s[0]) & (one.captured_at_s <= last_s)]
    ids = book.online(one.key, shared)
    return bool(((ids == book.online(other.key, shared)) & (ids > 0)).any())


def _fractions(cross: Mapping[str, float | int | None]) -> tuple[float, float, float, float]:
    idf1, idp, idr, hota = (float(cross[name] or 0.0) for name in ("IDF1", "IDP", "IDR", "HOTA"))
    return idf1, idp, idr, hota

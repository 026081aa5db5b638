"""Evenly thinned footage, so that a thousand tracks take minutes as well."""

from dataclasses import replace

import numpy as np

from reid.adaptation.material import Material, TrackCrops

_BLOCKS = 20  # neighbours in time are kept together, because certain pairs are made of people seen together


def thin(material: Material, most_tracks: int, most_crops: int) -> Material:
    """About `most_tracks` tracks, from blocks spread evenly over cameras and time, of `most_crops` crops at most."""
    tracks = tuple(thin_track(track, most_crops) for track in material.tracks)
    shortened = Material(tracks, material.person_of, material.apart)
    if len(tracks) <= most_tracks:
        return shortened
    first: dict[int, tuple[str, float]] = {}
    for track, person in zip(tracks, material.person_of.tolist(), strict=True):
        at = (track.key.camera_id, float(track.captured_at_s[0]))
        first[person] = min(first.get(person, at), at)
    ordered = np.array(sorted(first, key=lambda person: (first[person], person)), np.int64)
    share = most_tracks / len(tracks)
    kept = [block[: max(round(len(block) * share), 1)] for block in np.array_split(ordered, _BLOCKS) if len(block)]
    return shortened.of_people(np.concatenate(kept))


def thin_track(track: TrackCrops, most_crops: int) -> TrackCrops:
    """The track with at most that many crops, evenly spread."""
    if len(track) <= most_crops:
        return track
    chosen = np.linspace(0, len(track) - 1, most_crops).round().astype(np.int64)
    return replace(
        track,
        captured_at_s=track.captured_at_s[chosen],
        stripes=track.stripes[chosen],
        energy=track.energy[chosen],
        quality=track.quality[chosen],
        pictures=None if track.pictures is None else track.pictures[chosen],
    )

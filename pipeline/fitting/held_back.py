"""Clips of people whom a head has not learned from, so that a threshold can be chosen for people to come.

Of the people it was fitted on a head says too well who they are: the threshold that suits them would be too large for
others. Distances have a meaning within one head only, so clips are compared in groups, each fused by one head.
"""

from collections import defaultdict
from collections.abc import Collection, Sequence

from pipeline.fitting.facts import SiteFacts
from pipeline.fitting.footage import Footage
from pipeline.fitting.pieces import origin_of
from pipeline.types import ClipFeature, TrackKey


def clips_of_numbers(footage: Footage, facts: SiteFacts, folds: Sequence[Collection[int]]) -> list[list[ClipFeature]]:
    """For each fold of numbers of `facts`, the clips that show nobody else of the facts.

    A clip of which no piece with good crops has a part is in no fold: what it shows is not known to be held back.
    """
    pieces: dict[TrackKey, list[tuple[float, float, int]]] = defaultdict(list)  # first and last crop, s, and number
    for piece, number in zip(facts.pieces, facts.person_of, strict=True):
        pieces[origin_of(piece.key)].append((piece.crops[0].captured_at_s, piece.crops[-1].captured_at_s, number))
    of_clips = [
        {number for start_s, end_s, number in pieces[clip.key] if start_s <= clip.end_s and clip.start_s <= end_s}
        for clip in footage.clips
    ]
    inside = [frozenset(fold) for fold in folds]
    return [
        [clip for clip, shown in zip(footage.clips, of_clips, strict=True) if shown and shown <= fold]
        for fold in inside
    ]

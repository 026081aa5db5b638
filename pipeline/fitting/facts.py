"""What a site's footage says for certain about who is who: good crops of pieces of tracks, and which pairs are whom."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pipeline.config import Config, TrackerConfig
from pipeline.fitting.certain import certain_pairs
from pipeline.fitting.clocks import solve_offsets
from pipeline.fitting.crops import CropStore, KeptCrop
from pipeline.fitting.footage import Footage
from pipeline.fitting.ground import SameSpan, ground_paths, spans_of_paths, spans_of_places
from pipeline.fitting.pieces import cut_tracks, origin_of
from pipeline.fitting.views import ClockLag
from pipeline.ground import GroundPlane
from pipeline.identity.constraints import Topology
from pipeline.scoring.clips import evenly_spread
from pipeline.types import CropQuality, TrackKey, Tracklet

LEAST_CROPS = 2  # of a piece: one crop has nothing to be compared with
MOST_CROPS = 64  # of a piece, evenly spread: 16 s at the default of four a second
MOST_COVERED = 0.5  # of the box, by another one: from here on the crop shows somebody else at least as much
MOST_BYTES = 1 << 30  # of all crops' rows in single precision: 32,000 crops of 16 rows of 512 channels
LEAST_COMMON_S = 2.0  # two pieces of two tracks that are one person for some time must share so much of it


@dataclass(frozen=True, eq=False, slots=True)
class Piece:
    """The good crops of one piece of a track, in order of time."""

    key: TrackKey
    crops: tuple[KeptCrop, ...]


@dataclass(frozen=True, eq=False, slots=True)
class SiteFacts:
    """What is certain.

    Attributes:
        person_of: a number for each piece; equal ones are one person, others may be.
        apart: pairs (a, b), a < b, of numbers that are two people.
        counts: what was found and what was left out, for people, by name.
    """

    pieces: tuple[Piece, ...]
    person_of: tuple[int, ...]
    apart: frozenset[tuple[int, int]]
    counts: Mapping[str, Any]


def site_facts(
    footage: Footage,
    store: CropStore,
    config: Config,
    lags: Sequence[ClockLag],
    grounds: Mapping[str, GroundPlane],
    sizes_px: Mapping[str, tuple[int, int]],
) -> SiteFacts:
    """Everything that is certain about the crops of the footage.

    Args:
        lags: what the tracks of cameras that share ground say, `pipeline.fitting.views`.
        grounds: of the cameras that are calibrated; may be empty. sizes_px: (width, height) of their pictures.
    """
    tracks = footage.tracklets
    pieces = cut_tracks(tracks, config.tracker.high_confidence)
    placed = _spans_of_places(footage, lags, grounds, sizes_px)
    spans = [*spans_of_paths(tracks, lags), *placed]
    pairs = certain_pairs(pieces, (), Topology(config.topology), _pairs_of_pieces(pieces, spans))
    kept, poor = _good_pieces(pieces, store, config)
    kept = _within_memory(kept)
    numbers = tuple(pairs.person_of[piece.key] for piece in kept)
    used = set(numbers)
    apart = frozenset((min(p), max(p)) for p in pairs.apart if len(p) == 2 and p <= used)
    counts = {
        "tracks": len(tracks),
        "pieces": len(pieces),
        "pieces_used": len(kept),
        "crops": store.total,
        "crops_used": sum(len(piece.crops) for piece in kept),
        "crops_too_poor": poor,
        "crops_thinned_out": store.thinned,
        "people_at_most": len(used),
        "pairs_apart": len(apart),
        "pieces_joined_over_cameras": pairs.across,
        "tracks_at_one_place": len(placed),
        "calibrated_cameras": sorted(grounds),
    }
    return SiteFacts(tuple(kept), numbers, apart, counts)


def _spans_of_places(
    footage: Footage,
    lags: Sequence[ClockLag],
    grounds: Mapping[str, GroundPlane],
    sizes_px: Mapping[str, tuple[int, int]],
) -> list[SameSpan]:
    if len(grounds) < 2:
        return []
    offsets = solve_offsets(footage.cameras, lags)
    behind_s = {name: offset.offset_s for name, offset in offsets.items() if offset.is_worth_it}
    return spans_of_places(ground_paths(footage.tracklets, grounds, sizes_px, behind_s), behind_s)


def _pairs_of_pieces(pieces: Sequence[Tracklet], spans: Sequence[SameSpan]) -> list[tuple[TrackKey, TrackKey]]:
    """Pieces of two tracks that are one person, where they share enough of the time for which that holds."""
    of_track: dict[TrackKey, list[Tracklet]] = defaultdict(list)
    for piece in pieces:
        of_track[origin_of(piece.key)].append(piece)
    found = []
    for span in spans:
        for a in of_track[span.keys[0]]:
            for b in of_track[span.keys[1]]:
                start_s = max(span.start_s, a.captured_at_s[0], b.captured_at_s[0] - span.lag_s)
                end_s = min(span.end_s, a.captured_at_s[-1], b.captured_at_s[-1] - span.lag_s)
                if end_s - start_s >= LEAST_COMMON_S:
                    found.append((a.key, b.key))
    return found


def _good_pieces(pieces: Sequence[Tracklet], store: CropStore, config: Config) -> tuple[list[Piece], int]:
    """Pieces with enough good crops, and how many crops were not good enough."""
    kept, poor = [], 0
    for piece in pieces:
        start_s, end_s = piece.captured_at_s[0], piece.captured_at_s[-1]
        crops = [c for c in store.crops_of(origin_of(piece.key)) if start_s <= c.captured_at_s <= end_s]
        good = [crop for crop in crops if is_good(crop.quality, config.tracker, config.matcher.min_quality)]
        poor += len(crops) - len(good)
        if len(good) >= LEAST_CROPS:
            kept.append(Piece(piece.key, _thinned(good, MOST_CROPS)))
    return kept, poor


def is_good(quality: CropQuality, tracker: TrackerConfig, min_quality: float) -> bool:
    """Whether a crop shows its person for certain: what the tracker takes for sure and the matcher learns from."""
    sure = quality.confidence >= tracker.high_confidence and quality.overlap <= MOST_COVERED
    return sure and quality.score >= min_quality


def _within_memory(pieces: Sequence[Piece]) -> list[Piece]:
    """Fewer crops of each piece where all of them would not fit; never fewer than two."""
    most = MOST_CROPS
    while most > LEAST_CROPS and sum(_bytes(piece) for piece in pieces) > MOST_BYTES:
        most = max(LEAST_CROPS, most // 2)
        pieces = [Piece(piece.key, _thinned(piece.crops, most)) for piece in pieces]
    return list(pieces)


def _thinned(crops: Sequence[KeptCrop], most: int) -> tuple[KeptCrop, ...]:
    return tuple(crops[i] for i in evenly_spread(range(len(crops)), most))


def _bytes(piece: Piece) -> int:
    return sum(4 * (crop.stripes.size + crop.energy.size) for crop in piece.crops)

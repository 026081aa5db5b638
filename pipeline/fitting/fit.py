"""Everything that a site's own footage says about its settings."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np

from pipeline.config import Config, TopologyConfig
from pipeline.fitting.certain import certain_pairs, compare_certain
from pipeline.fitting.clocks import CameraOffset, contradictions, lag_of_transits, solve_offsets
from pipeline.fitting.comparisons import Comparisons, compare_labelled
from pipeline.fitting.footage import Footage
from pipeline.fitting.links import stays_of_links
from pipeline.fitting.paths import Stay, WalkedPath, paths_of_tracks, paths_of_truth, stays_of_truth
from pipeline.fitting.quality import QualityFit, fit_quality
from pipeline.fitting.threshold import HELD_BACK, LEARNED_FROM, ThresholdFit, fit_threshold
from pipeline.fitting.transits import SharedView, TransitWindow, hops_of, shared_views, topology_of, transit_windows
from pipeline.fitting.views import ClockLag, lag_of_views
from pipeline.identity.constraints import Topology
from pipeline.scoring.clips import label_clips
from pipeline.scoring.ground_truth import GroundTruth
from pipeline.types import ClipFeature

ClipGroups = Sequence[Sequence[ClipFeature]]  # each fused by one head; only clips of one group are compared

MOST_LAG_S = 30.0  # clocks farther apart are set by start_time; every second more to try is one more chance hit


@dataclass(frozen=True, eq=False, slots=True)
class SiteFit:
    """What was found.

    Attributes:
        basis: "ground truth" or "certain pairs".
        compared: the distances behind threshold and gate.
        left_out: clips that show nobody or two people (with ground truth only).
        offsets: by camera; only those with `is_worth_it` are to be written.
        topology: entries to write: of pairs of cameras that the configuration does not speak of.
        notes: what was done, and what contradicts the configuration. warnings: where the data was too little.
    """

    basis: str
    compared: Comparisons
    left_out: int
    threshold: ThresholdFit
    quality: QualityFit
    lags: tuple[ClockLag, ...]
    offsets: Mapping[str, CameraOffset]
    windows: tuple[TransitWindow, ...]
    shared: tuple[SharedView, ...]
    topology: tuple[TopologyConfig, ...]
    warnings: tuple[str, ...]


def lags_of_tracks(footage: Footage) -> list[ClockLag]:
    """What the tracks of every two cameras say about their clocks, where both see the same ground."""
    return _lags_of_views(footage.cameras, paths_of_tracks(footage.tracklets))


def fit_site_settings(
    footage: Footage,
    config: Config,
    truth: GroundTruth | None,
    fallback_threshold: float | None,
    seed: int = 0,
    *,
    track_lags: Sequence[ClockLag] | None = None,
    held_back: ClipGroups | None = None,
) -> SiteFit:
    """Choose threshold, quality gate, clock offsets and topology.

    Args:
        config: the configuration that the footage was made with.
        truth: None: what is certain anyway is used.
        fallback_threshold: for links where no threshold can be chosen (the configured or stored one); None: there is
            none, and without ground truth no transit is known.
        seed: of the bootstrap.
        track_lags: of `lags_of_tracks`, where they are known already.
        held_back: for a head that was fitted to this footage: clips of people as heads fused them that were fitted
            without them; threshold and gate are chosen on these, as far as they are enough.
    """
    seen = _lags(footage, truth, track_lags)
    compared, left_out, threshold = _choose_threshold(footage, config, truth, seen, seed, held_back)
    chosen = threshold.threshold if threshold.threshold is not None else fallback_threshold
    gate = fit_quality(compared, threshold.threshold, config.matcher.min_quality, np.random.default_rng(seed))
    stays = _stays(footage, config, truth, chosen)
    lags = [*seen, *_lags_of_walks(footage.cameras, stays, seen)]
    offsets = solve_offsets(footage.cameras, lags)
    corrected = [_corrected(stay, offsets) for stay in stays]
    shared = _with_matched_paths(shared_views(corrected), seen)
    windows = transit_windows(hops_of(corrected), shared, certain=truth is not None)
    topology, known = _new_entries(topology_of(windows, shared), config)
    warnings = [
        *threshold.warnings,
        *_warnings_without_threshold(config, chosen),
        *contradictions(lags, offsets),
        *_warnings_of_cameras(footage, stays, windows, offsets, lags),
        *known,
    ]
    return SiteFit(
        compared.basis,
        compared,
        left_out,
        threshold,
        gate,
        tuple(lags),
        offsets,
        tuple(windows),
        tuple(shared),
        tuple(topology),
        tuple(dict.fromkeys(warnings)),
    )


def fit_threshold_alone(
    footage: Footage,
    config: Config,
    truth: GroundTruth | None,
    seed: int,
    track_lags: Sequence[ClockLag] | None = None,
    groups: ClipGroups | None = None,
) -> ThresholdFit:
    """The threshold that `fit_site_settings` would choose: to compare two heads on the same footage.

    Args:
        groups: of the footage's clips, where not all are compared with all.
    """
    lags = _lags(footage, truth, track_lags) if truth is None else []
    compared, _ = _compare(footage, config, truth, lags, [footage.clips] if groups is None else groups)
    return fit_threshold(compared, np.random.default_rng(seed))


def _choose_threshold(
    footage: Footage,
    config: Config,
    truth: GroundTruth | None,
    lags: Sequence[ClockLag],
    seed: int,
    held_back: ClipGroups | None,
) -> tuple[Comparisons, int, ThresholdFit]:
    """What was compared, how many clips of it were left out, and the threshold."""
    if held_back is not None:
        compared, left_out = _compare(footage, config, truth, lags, held_back)
        fit = fit_threshold(compared, np.random.default_rng(seed))
        if fit.threshold is not None:
            return compared, left_out, replace(fit, chosen_on=HELD_BACK)
    everything, left_out = _compare(footage, config, truth, lags, [footage.clips])
    chosen = fit_threshold(everything, np.random.default_rng(seed))
    if held_back is not None and chosen.threshold is not None:
        doubt = (
            "the threshold was chosen on people whom the head has learned from, so it may be too large for others: of "
            f"those who were held back there was {', '.join(fit.warnings)}"
        )
        chosen = replace(chosen, warnings=(doubt, *chosen.warnings), chosen_on=LEARNED_FROM)
    return everything, left_out, chosen


def _lags(footage: Footage, truth: GroundTruth | None, known: Sequence[ClockLag] | None) -> list[ClockLag]:
    if truth is not None:
        return _lags_of_views(footage.cameras, paths_of_truth(truth, footage.times))
    return lags_of_tracks(footage) if known is None else list(known)


def _lags_of_views(cameras: Sequence[str], paths: Sequence[WalkedPath]) -> list[ClockLag]:
    own = {camera: [path for path in paths if path.camera_id == camera] for camera in cameras}
    found = (lag_of_views(own[a], own[b], MOST_LAG_S) for a, b in combinations(cameras, 2))
    return [lag for lag in found if lag is not None]


def _lags_of_walks(cameras: Sequence[str], stays: Sequence[Stay], seen: Sequence[ClockLag]) -> list[ClockLag]:
    """Of the pairs whose views do not say it."""
    known = {frozenset(lag.cameras) for lag in seen}
    pairs = [pair for pair in combinations(cameras, 2) if frozenset(pair) not in known]
    found = (lag_of_transits(first, second, stays, MOST_LAG_S) for first, second in pairs)
    return [lag for lag in found if lag is not None]


def _compare(
    footage: Footage, config: Config, truth: GroundTruth | None, lags: Sequence[ClockLag], groups: ClipGroups
) -> tuple[Comparisons, int]:
    if truth is None:
        pairs = certain_pairs(footage.tracklets, lags, Topology(config.topology))
        return compare_certain(groups, pairs, config), 0
    tracklets, absence_s = footage.tracklets, config.matcher.absence_s
    labelled = [label_clips(clips, tracklets, truth, absence_s=absence_s) for clips in groups]
    compared = compare_labelled([clips for clips, _ in labelled], config.matcher)
    return compared, sum(left_out for _, left_out in labelled)


def _stays(footage: Footage, config: Config, truth: GroundTruth | None, threshold: float | None) -> list[Stay]:
    if truth is not None:
        return stays_of_truth(truth, footage.times, config.matcher.absence_s)
    return stays_of_links(footage, config, threshold) if threshold is not None else []


def _with_matched_paths(shared: Sequence[SharedView], lags: Sequence[ClockLag]) -> list[SharedView]:
    """Views that share ground, also where nobody could be linked: paths that obey one map say it."""
    known = {view.cameras for view in shared if view.is_sure}
    matched = []
    for lag in lags:
        first, second = sorted(lag.cameras)
        if (first, second) not in known:
            seconds = sum(match.seconds for match in lag.matches)
            matched.append(SharedView((first, second), lag.samples, lag.samples, seconds, True))
    replaced = {view.cameras for view in matched}
    return sorted([*(v for v in shared if v.cameras not in replaced), *matched], key=lambda view: view.cameras)


def _corrected(stay: Stay, offsets: Mapping[str, CameraOffset]) -> Stay:
    offset = offsets.get(stay.camera_id)
    return stay.moved(offset.offset_s) if offset and offset.is_worth_it else stay


def _new_entries(found: Sequence[TopologyConfig], config: Config) -> tuple[list[TopologyConfig], list[str]]:
    """Entries of which the configuration says nothing yet; and what it says otherwise."""
    declared = {_ends(entry) for entry in config.topology}
    entries, told = [], []
    for entry in found:
        if _ends(entry) not in declared:
            entries.append(entry)
        elif replace(entry) not in config.topology:
            told.append(f"topology: the entry of {_name(entry)} is left as it was; the footage says {_said(entry)}")
    return entries, told


def _ends(entry: TopologyConfig) -> frozenset[str] | tuple[str | None, str | None]:
    return frozenset(entry.pair) if entry.pair else (entry.from_camera, entry.to_camera)


def _name(entry: TopologyConfig) -> str:
    return " and ".join(entry.pair) if entry.pair else f"{entry.from_camera} to {entry.to_camera}"


def _said(entry: TopologyConfig) -> str:
    return "overlap: true" if entry.pair else f"transit_s: {[round(s, 2) for s in entry.transit_s or ()]}"


def _warnings_without_threshold(config: Config, threshold: float | None) -> list[str]:
    if threshold is not None or config.matcher.threshold != "auto":
        return []
    return ["there is no stored threshold for this model either: set matcher.threshold before a run"]


def _warnings_of_cameras(
    footage: Footage,
    stays: Sequence[Stay],
    windows: Sequence[TransitWindow],
    offsets: Mapping[str, CameraOffset],
    lags: Sequence[ClockLag],
) -> list[str]:
    if not footage.clips:
        return ["nobody was found in this footage"]
    if len(footage.cameras) < 2:
        return ["one camera: there are no ways between cameras and no clocks to compare"]
    told = []
    few = [w for w in windows if w.window_s is None]
    if few:
        ways = ", ".join(f"{w.origin} to {w.destination} ({len(w.gaps_s)})" for w in few)
        told.append(f"too few ways for a transit time: {ways}")
    if not windows and not any(lag.how == "movement" for lag in lags):
        told.append("nobody was seen going from one camera to another: no topology is written")
    unknown = [camera for camera in footage.cameras[1:] if camera not in offsets]
    if unknown:
        told.append(f"the footage does not say how the clocks of {', '.join(unknown)} stand to {footage.cameras[0]}'s")
    return told

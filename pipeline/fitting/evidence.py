"""What was found, in words for the fitted configuration and as plain values for fit.json."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from pipeline.config import CameraConfig, Config, TopologyConfig
from pipeline.fitting.clocks import CameraOffset
from pipeline.fitting.fit import SiteFit
from pipeline.fitting.site_changes import Change, SiteChanges
from pipeline.fitting.threshold import HELD_BACK, LEARNED_FROM, ThresholdFit
from pipeline.fitting.transits import SharedView, TransitWindow
from pipeline.scoring.clips import PairDistances, histogram

_GAP_BIN_S = 1.0  # of the histograms of transit times
_MOST_BINS = 120
_BIASES = {
    "ground truth": "with ground truth, one stay against another one",
    "certain pairs": (
        "without ground truth: pieces of one track (and tracks of two cameras that move as one) are the same, two "
        "tracks at one time in one camera are different; both kinds are nearer than what the matcher meets"
    ),
}
_CHOSEN_ON = {
    HELD_BACK: "each by a head that was fitted like this one without them",
    LEARNED_FROM: "all of them by the head that has learned from them, so others may be nearer",
}


def changes_of(
    fit: SiteFit, config: Config, source: str, head: Mapping[str, Change] | None = None, notes: Sequence[str] = ()
) -> SiteChanges:
    """What to write into the configuration, each with its evidence.

    Args:
        source: names the file it was made from. head: changes of `reid`. notes: more lines for the head of the file.
    """
    matcher = {}
    if fit.threshold.threshold is not None:
        matcher["threshold"] = Change(f"{fit.threshold.threshold:g}", (threshold_told(fit.threshold),))
    if fit.quality.min_quality is not None and fit.quality.min_quality != config.matcher.min_quality:
        matcher["min_quality"] = Change(f"{fit.quality.min_quality:g}", (f"fit-site: {fit.quality.reason}",))
    offsets = {
        camera.id: _offset_change(camera, fit.offsets[camera.id])
        for camera in config.cameras
        if camera.id in fit.offsets and fit.offsets[camera.id].is_worth_it
    }
    topology = [(entry, (f"fit-site: {_entry_told(entry, fit)}",)) for entry in fit.topology]
    lines = [f"made by fit-site from {source}; its evidence in full: fit.json"]
    lines += [f"warning: {warning}" for warning in fit.warnings]
    if "min_quality" not in matcher:
        lines.append(f"matcher.min_quality: {fit.quality.reason}")
    return SiteChanges(matcher, offsets, topology, [*lines, *notes], head or {})


def threshold_told(fit: ThresholdFit) -> str:
    """One sentence about the threshold."""
    if fit.threshold is None:
        return "fit-site: left as it was"
    parts = [f"fit-site: false {_percent(fit.false_share)} of {fit.different} comparisons of different people"]
    parts.append(
        f"missed {_percent(fit.missed_share)} of {fit.same} of the same" if fit.same else "none of the same to judge by"
    )
    if fit.newcomer_share is not None:
        parts.append(f"somebody else is as near for {_percent(fit.newcomer_share)} of the tracks")
    if fit.interval:
        parts.append(f"other {_plural(fit.unit)} of the same kind: {fit.interval[0]:g} to {fit.interval[1]:g} (90 %)")
    parts.append(f"{fit.units} {_plural(fit.unit)}, {_BIASES[fit.basis]}")
    if fit.chosen_on in _CHOSEN_ON:
        parts.append(_CHOSEN_ON[fit.chosen_on])
    return "; ".join(parts)


def _plural(unit: str) -> str:
    return "people" if unit == "person" else f"{unit}s"


def _percent(share: float | None) -> str:
    return "nothing" if share is None else f"{100 * share:.1f} %"


def _offset_change(camera: CameraConfig, offset: CameraOffset) -> Change:
    total_s = round(camera.clock_offset_s + offset.offset_s, 2)
    rests = {
        "movement": "the paths of people that both cameras see",
        "walking times": "the walking times there and back, taken to be equal",
    }
    before = f" on top of {camera.clock_offset_s:g}" if camera.clock_offset_s else ""
    text = f"fit-site: {offset.offset_s:+.2f} s ± {offset.error_s:.2f} s{before}, by {rests[offset.how]}"
    return Change(f"{total_s:g}", (text,))


def _entry_told(entry: TopologyConfig, fit: SiteFit) -> str:
    if entry.pair is not None:
        view = next(v for v in fit.shared if v.cameras == entry.pair)
        return f"seen by both at once: people {view.people}, stays {view.stays}, together {view.seconds:.0f} s"
    window = next(w for w in fit.windows if (w.origin, w.destination) == (entry.from_camera, entry.to_camera))
    gaps = np.array(window.gaps_s)
    told = f"{len(gaps)} ways of {window.people} people took {gaps.min():.1f} to {gaps.max():.1f} s"
    return f"{told}, median {np.median(gaps):.1f} s"


# -- fit.json ---------------------------------------------------------------------------------------------------------


def fit_to_plain(fit: SiteFit, frames: Mapping[str, int]) -> dict[str, Any]:
    """Everything, as plain values in a fixed order; floats to 6 digits."""
    compared = fit.compared
    pairs = PairDistances(compared.same, compared.different)
    plain: dict[str, Any] = {
        "basis": fit.basis,
        "frames": dict(frames),
        "threshold": asdict(fit.threshold),
        "distances": histogram(pairs, fit.basis),
        "quality": {
            "min_quality": fit.quality.min_quality,
            "reason": fit.quality.reason,
            "errors": {f"{gate:g}": error for gate, error in fit.quality.errors.items()},
        },
        "clips_left_out": fit.left_out,
        "clocks": {
            "lags": [_lag(lag) for lag in fit.lags],
            "offsets": [asdict(offset) for offset in fit.offsets.values()],
        },
        "transits": [_window(window) for window in fit.windows],
        "shared_views": [_shared(view) for view in fit.shared],
        "warnings": list(fit.warnings),
    }
    return {key: rounded_values(value) for key, value in plain.items()}


def _lag(lag: Any) -> dict[str, Any]:
    plain = asdict(lag)
    plain["matches"] = [asdict(match) for match in lag.matches]
    return plain


def _window(window: TransitWindow) -> dict[str, Any]:
    return asdict(window) | {"histogram": _gap_histogram(window.gaps_s)}


def _gap_histogram(gaps_s: tuple[float, ...]) -> dict[str, Any]:
    """Counts over bins of a second, from below the shortest to beyond the longest; at most 120 bins."""
    low, high = float(np.floor(min(gaps_s))), float(np.floor(max(gaps_s))) + _GAP_BIN_S
    bins = int(min(_MOST_BINS, max(1, round((high - low) / _GAP_BIN_S))))
    counts, edges = np.histogram(gaps_s, bins=bins, range=(low, high))
    return {"edges_s": edges.tolist(), "count": counts.tolist()}


def _shared(view: SharedView) -> dict[str, Any]:
    return asdict(view)


def rounded_values(value: Any) -> Any:
    """Plain values with floats to 6 digits; what is not finite becomes None."""
    if isinstance(value, dict):
        return {key: rounded_values(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [rounded_values(one) for one in value]
    if isinstance(value, float | np.floating):
        return round(float(value), 6) if np.isfinite(value) else None
    return value.item() if isinstance(value, np.generic) else value

"""Does attention over a clip pay? Every fusion, untouched and adapted to the footage, on people it was not adapted to.

    MODELS_DIR=... MEDIA_DIR=... python benchmarks/bench_adaptation.py [--footage lab4cam hard-11 ...] [--json FILE]

One recipe for all rows: the same crops (true boxes, every 0.2 s on real clips and 0.4 s on generated ones), the same
clips (4 crops, 0.4 s apart, up to 10 of a stay), the same closed form (`reid.adaptation.closed_form`) learned from
crops alone. People are split into folds (3 people: one at a time, else 4 folds); each fold's people are queries only
of heads that were adapted to the others' stays. A gallery holds everybody. Intervals: bootstrap over people.

Cross-camera mAP (`rectangle`); on footage of one camera a query's own stay is junk instead of its camera.
"""

import argparse
import json
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parent))

from bench_fusion import View, encode_boxes, video_frames, views_by_camera, views_by_visit
from make_stored_head import track_of

from pipeline.config import ReidConfig
from pipeline.ports import CropEncoder, EncoderDescription
from pipeline.retrieval import cosine_distance, normalise_rows, rank_queries
from pipeline.scenes.clips import person_views
from pipeline.scenes.presets import hard_scenario
from pipeline.types import CropFeature, FloatArray, Frame, IntArray, TrackKey
from reid.adaptation.closed_form import ClosedForm, fit_closed_form, fit_prototypes, fit_statistics
from reid.adaptation.material import Material, TrackCrops
from reid.aligned import AlignedHead, AlignedParameters
from reid.attention import even_attention, select_stripes, temporal_attention, weigh_stripes
from reid.heads import gather_stripes, project
from reid.load import load_encoder, start_parameters
from reid.weights import find_weights

ROWS, STRIPES = 16, 4
CLIP_CROPS, CLIP_STEP_S, CLIPS_PER_STAY = 4, 0.4, 10
REAL_STEP = 2  # frames between two crops of a real clip, at 10 frames per second
GENERATED_STEP_S = 0.4
SHAKE = 0.08  # of generated boxes, as a detector's are off
FOLDS = 4
DRAWS = 2000


@dataclass(frozen=True, eq=False)
class StayCrops:
    """A person's stay in front of one camera; `group`: what makes two clips the same view, the camera or the stay."""

    person: int
    group: int
    track: TrackCrops


@dataclass(frozen=True, eq=False)
class ClipSet:
    """Clips of all stays as arrays: stripes (B, N, R, C), energy (B, N, R), quality (B, N), people and views (B,)."""

    stripes: FloatArray
    energy: FloatArray
    quality: FloatArray
    people: IntArray
    views: IntArray


# --- footage ---------------------------------------------------------------------------------------------------------


def real_stays(encoder: CropEncoder, folder: Path) -> list[StayCrops]:
    several = len(list((folder / "gt").glob("cam*.txt"))) > 1
    stays: list[StayCrops] = []
    for number, (video, views) in enumerate((views_by_camera if several else views_by_visit)(folder)):
        crops: list[list[CropFeature]] = [[] for _ in views]
        for index, frame in video_frames(video):
            here = [
                (i, view.boxes[index]) for i, view in enumerate(views) if index % REAL_STEP == 1 and index in view.boxes
            ]
            _encode(encoder, frame, here, crops)
        for i, (view, own) in enumerate(zip(views, crops, strict=True)):
            if own:
                stays.append(_stay(view, own, TrackKey(f"{number}", "1", i), number if several else len(stays)))
    return stays


def _stay(view: View, crops: list[CropFeature], key: TrackKey, group: int) -> StayCrops:
    return StayCrops(view.person, group, track_of(key, crops))


def generated_stays(encoder: CropEncoder, seed: int) -> list[StayCrops]:
    scenario = hard_scenario(people=24, cameras=3, duration_s=60.0, seed=seed)
    stays: list[StayCrops] = []
    for number, views in enumerate(person_views(scenario, GENERATED_STEP_S, SHAKE, np.random.default_rng(seed))):
        crops: list[list[CropFeature]] = [[] for _ in views.stays]
        for frame, places, boxes in views.frames():
            _encode(encoder, frame, list(zip(places, boxes, strict=True)), crops)
        for i, (stay, own) in enumerate(zip(views.stays, crops, strict=True)):
            if own:
                stays.append(StayCrops(stay.person_id, number, track_of(TrackKey(f"{number}", "1", i), own)))
    return stays


def _encode(
    encoder: CropEncoder, frame: Frame, here: Sequence[tuple[int, FloatArray]], crops: list[list[CropFeature]]
) -> None:
    """Append the features of the boxes here, each with its quality, to the crops of its stay."""
    if not here:
        return
    features = encode_boxes(encoder, frame, [box for _, box in here])
    for (place, _), feature in zip(here, features, strict=True):
        crops[place].append(feature)


def clips_of(stays: Sequence[StayCrops]) -> ClipSet:
    chosen: list[tuple[StayCrops, list[int]]] = []
    for stay in stays:
        place = {round(float(t) * 100): i for i, t in enumerate(stay.track.captured_at_s)}
        wanted = [[t + round(k * CLIP_STEP_S * 100) for k in range(CLIP_CROPS)] for t in place]
        full = [[place[t] for t in times] for times in wanted if all(t in place for t in times)]
        if full:
            spread = np.unique(np.linspace(0, len(full) - 1, CLIPS_PER_STAY).round().astype(int))
            chosen += [(stay, full[i]) for i in spread]
    return ClipSet(
        np.stack([stay.track.stripes[i] for stay, i in chosen]),
        np.stack([stay.track.energy[i] for stay, i in chosen]),
        np.stack([stay.track.quality[i] for stay, i in chosen]),
        np.array([stay.person for stay, _ in chosen]),
        np.array([stay.group for stay, _ in chosen]),
    )


# --- fusions as vectors in P parts -----------------------------------------------------------------------------------

Blocks = Callable[[FloatArray, FloatArray, FloatArray], FloatArray]
"""Stripes (B, N, R, C), energy and quality -> (B, P, D) unit vectors, whose concatenation is the untouched vector."""


def fusions(encoder: EncoderDescription) -> dict[str, Blocks]:
    into = partial(_into_vectors, encoder)

    def mean_of_embeddings(stripes: FloatArray, energy: FloatArray, quality: FloatArray) -> FloatArray:
        return normalise_rows(into(stripes.mean(axis=2)).mean(axis=1, keepdims=True))

    def whole(attend: Callable[..., FloatArray], weigh: bool = False) -> Blocks:
        def blocks(stripes: FloatArray, energy: FloatArray, quality: FloatArray) -> FloatArray:
            few, energies = gather_stripes(stripes, energy, STRIPES)
            attention = attend(energies, np.maximum(quality, 1e-3) if weigh else None)
            return into(weigh_stripes(attention, few).mean(axis=1, keepdims=True))

        return blocks

    def kept_apart(attend: Callable[..., FloatArray]) -> Blocks:
        def blocks(stripes: FloatArray, energy: FloatArray, quality: FloatArray) -> FloatArray:
            few, energies = gather_stripes(stripes, energy, STRIPES)
            pooled = weigh_stripes(attend(energies), few)
            return into(np.concatenate([pooled.mean(axis=1, keepdims=True), pooled], axis=1))

        return blocks

    def paper(stripes: FloatArray, energy: FloatArray, quality: FloatArray) -> FloatArray:
        few, energies = gather_stripes(stripes, energy, STRIPES)
        attention = temporal_attention(energies)
        both = [f(attention, few).mean(axis=1) for f in (select_stripes, weigh_stripes)]
        return into(np.stack(both, axis=1))

    return {
        "mean of embeddings": mean_of_embeddings,
        "mean of maps": whole(even_attention),
        "STA paper (P1 + P2)": paper,
        "STA global (P2)": whole(temporal_attention),
        "mean, by quality": whole(even_attention, weigh=True),
        "STA global, by quality": whole(temporal_attention, weigh=True),
        "stripes apart, mean": kept_apart(even_attention),
        "stripes apart, STA": kept_apart(temporal_attention),
    }


def _into_vectors(encoder: EncoderDescription, pooled: FloatArray) -> FloatArray:
    return normalise_rows(project(encoder.projection, pooled))


def adapted_blocks(stays: Sequence[StayCrops], blocks: Blocks) -> Callable[[FloatArray], FloatArray]:
    """The closed form over any fusion: learned from these stays' crops; returns what it does to vectors (B, P, D)."""
    how = ClosedForm()
    of_tracks: list[FloatArray] = []
    of_people: list[FloatArray] = []
    for stay in stays:
        track, n = stay.track, len(stay.track)
        for size, kept in ((1, of_tracks), (min(how.clip_crops, n), of_people)):
            starts = np.unique(np.linspace(0, n - size, min(how.most_crops, n - size + 1)).round().astype(int))
            chosen = starts[:, None] + np.arange(size)
            kept.append(blocks(track.stripes[chosen], track.energy[chosen], track.quality[chosen]))
    parts, length = of_tracks[0].shape[1:]
    start = np.repeat(np.eye(length, dtype=np.float32)[None], parts, axis=0)
    offset, basis = fit_statistics(of_tracks, of_people, start, how)
    basis = basis[:, : how.dimensions].transpose(0, 2, 1)
    return lambda vectors: normalise_rows(np.matmul((vectors - offset).transpose(1, 0, 2), basis).transpose(1, 0, 2))


# --- the experiment --------------------------------------------------------------------------------------------------

Adapt = Callable[[Sequence[StayCrops], bool], Callable[[ClipSet], FloatArray]]
"""From the stays to adapt to, or to leave untouched by, to what makes vectors (B, D) of clips."""


def rows_of(
    encoder: EncoderDescription, stored: AlignedParameters | None, generated: bool
) -> Iterator[tuple[str, Adapt]]:
    for name, blocks in fusions(encoder).items():
        yield name, partial(_of_blocks, blocks)
    yield "aligned, mean", partial(_of_aligned, encoder, None, True, False)
    yield "aligned, STA", partial(_of_aligned, encoder, None, False, False)
    yield "aligned, STA, by quality", partial(_of_aligned, encoder, None, False, True)
    if stored is not None:
        star = " *" if generated else ""
        yield "aligned, STA, stored start" + star, partial(_of_aligned, encoder, stored, False, False)
        yield "the same, by quality" + star, partial(_of_aligned, encoder, stored, False, True)


def _of_blocks(blocks: Blocks, stays: Sequence[StayCrops], untouched: bool) -> Callable[[ClipSet], FloatArray]:
    after = (lambda vectors: vectors) if untouched else adapted_blocks(stays, blocks)

    def vectors(clips: ClipSet) -> FloatArray:
        of_clips = after(blocks(clips.stripes, clips.energy, clips.quality))
        return normalise_rows(of_clips.reshape(len(of_clips), -1))

    return vectors


def _of_aligned(
    encoder: EncoderDescription,
    stored: AlignedParameters | None,
    even: bool,
    weigh: bool,
    stays: Sequence[StayCrops],
    untouched: bool,
) -> Callable[[ClipSet], FloatArray]:
    """Prototypes are the stored ones or of these stays, no names needed."""
    start = stored or fit_prototypes(np.concatenate([s.track.stripes for s in stays]), encoder, origin="benchmark")
    parameters = replace(start, even=even)
    if not untouched:
        material = Material(tuple(stay.track for stay in stays), np.arange(len(stays)), frozenset())
        parameters = fit_closed_form(material, encoder, parameters)
    head = AlignedHead(encoder, parameters)
    return lambda clips: (
        head.fuse_batch(clips.stripes, clips.energy, np.maximum(clips.quality, 1e-3) if weigh else None).embedding
    )


@dataclass(frozen=True, eq=False)
class Scores:
    """(Q,) average precision of each valid query, and whose."""

    precision: FloatArray
    people: IntArray

    @property
    def mean(self) -> float:
        return float(self.precision.mean())

    def gain_over(self, other: "Scores") -> tuple[float, float, float]:
        """Mean difference and its 95 % interval, people drawn with replacement."""
        names, owner = np.unique(self.people, return_inverse=True)
        difference = np.bincount(owner, self.precision - other.precision)
        count = np.bincount(owner)
        drawn = np.random.default_rng(0).integers(len(names), size=(DRAWS, len(names)))
        means = difference[drawn].sum(axis=1) / count[drawn].sum(axis=1)
        low, high = np.quantile(means, (0.025, 0.975))
        return float(difference.sum() / count.sum()), float(low), float(high)


def folds_of(people: IntArray) -> list[IntArray]:
    names = np.random.default_rng(1).permutation(np.unique(people))
    return np.array_split(names, len(names) if len(names) <= FOLDS else FOLDS)


def score(stays: Sequence[StayCrops], clips: ClipSet, adapt: Adapt, untouched: bool) -> Scores:
    """Every query with a head that was not adapted to its person (its prototypes neither)."""
    precision = np.full(len(clips.people), np.nan)
    for fold in folds_of(clips.people):
        others = [stay for stay in stays if stay.person not in fold]
        vectors = adapt(others, untouched)(clips)
        key = (clips.people, clips.views)
        ranked = rank_queries(cosine_distance(vectors, vectors), key, key)
        mine = np.isin(clips.people, fold) & ranked.valid
        precision[mine] = ranked.rectangle[mine]
    valid = ~np.isnan(precision)
    return Scores(precision[valid], clips.people[valid])


def run(
    name: str, stays: Sequence[StayCrops], encoder: EncoderDescription, stored: AlignedParameters | None
) -> dict[str, Any]:
    clips = clips_of(stays)
    rows: dict[str, Any] = {}
    reference: dict[bool, Scores] = {}
    print(f"\n{name}: {len(clips.people)} clips of {len(set(clips.people.tolist()))} people")
    print(f"{'fusion':30}{'untouched':>10}{'adapted':>9}   over the mean adapted        over the mean untouched")
    for row, adapt in rows_of(encoder, stored, name.startswith("hard")):
        both = {untouched: score(stays, clips, adapt, untouched) for untouched in (True, False)}
        if row == "mean of maps":
            reference = both
        entry: dict[str, Any] = {"untouched": both[True].mean, "adapted": both[False].mean}
        told = ""
        if reference:
            entry["over_mean_adapted"] = both[False].gain_over(reference[False])
            entry["over_mean_untouched"] = both[False].gain_over(reference[True])
            told = "".join(
                "   {:+.3f} [{:+.3f}, {:+.3f}]".format(*entry[k]) for k in ("over_mean_adapted", "over_mean_untouched")
            )
        print(f"{row:30}{both[True].mean:10.3f}{both[False].mean:9.3f}{told}", flush=True)
        rows[row] = entry
    return {"queries": len(next(iter(reference.values())).precision), "rows": rows}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--footage", nargs="+", default=["lab4cam", "pets_s2l1_view1", "one_by_one", "hard-11", "hard-12"]
    )
    parser.add_argument("--json", type=Path, metavar="FILE")
    arguments = parser.parse_args()
    weights = find_weights("osnet_x0_25_msmt17", os.environ, download=False)
    config = ReidConfig(backbone="osnet_x0_25", stripes=ROWS)
    encoder = load_encoder(config, weights)
    described = encoder.describe()
    stored = start_parameters(config, described)
    results = {}
    for name in arguments.footage:
        if name.startswith("hard-"):
            stays = generated_stays(encoder, int(name.partition("-")[2]))
        else:
            stays = real_stays(encoder, Path(os.environ["MEDIA_DIR"]) / name)
        results[name] = run(name, stays, described, stored)
    if any(name.startswith("hard") for name in arguments.footage):
        print("\n* the stored head was made of generated people (of other scenes): read it on real clips")
    if arguments.json:
        arguments.json.write_text(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()

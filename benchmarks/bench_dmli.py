"""Does DMLI help with bodies that are cut off? Cross-camera mAP before and after re-ranking the nearest clips by it.

    MODELS_DIR=... MEDIA_DIR=... python benchmarks/bench_dmli.py [--footage lab4cam ...] [--cut 0.4] [--top-k 50]

Clips and footage of `bench_adaptation.py`; OSNet x0.25, nothing trained, nothing adapted. Every clip asks, first as it
is, then with the lowest `--cut` of its boxes taken off (as by a counter or a car), of a gallery of whole ones.

The first order is by the mean of the maps, projected; in the last rows by the pipeline's default, the aligned head. The
nearest `--top-k` of each query then get new places: `--share` of their new distance is

- `rows`: the 8 stripes compared row with row (what PCB's stripes do), the mean of their distances tanh(x / 2), or
- `DMLI`: the shortest path through all of them, by the step,

over the stripes of the map, L2-normalised, as AlignedReID's public program tests with, and over projected ones.
Intervals: bootstrap over people. The last line of a footage is the time of re-ranking a query.
"""

import argparse
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parent))

from bench_adaptation import ROWS, ClipSet, Scores, StayCrops, clips_of, generated_stays, real_stays

from pipeline.config import ReidConfig
from pipeline.ports import CropEncoder, EncoderDescription
from pipeline.retrieval import cosine_distance, normalise_rows, rank_queries
from pipeline.types import CropFeature, FloatArray, Frame
from reid.aligned import AlignedHead, AlignedParameters
from reid.attention import even_attention, weigh_stripes
from reid.distances.dmli import DmliReranker, DmliSettings
from reid.heads import BatchHead, MeanHead, gather_stripes, project
from reid.load import load_encoder, start_parameters
from reid.weights import find_weights

STRIPES = 8  # as AlignedReID's
FOOTAGE = ["lab4cam", "pets_s2l1_view1", "one_by_one", "hard-11", "hard-12"]


class CutBoxes:
    """An encoder that sees only the upper part of every box."""

    def __init__(self, encoder: CropEncoder, cut: float) -> None:
        self._encoder, self._cut = encoder, cut

    def describe(self) -> EncoderDescription:
        return self._encoder.describe()

    def encode(self, frames: Sequence[Frame], boxes: Sequence[FloatArray]) -> list[list[CropFeature]]:
        left = []
        for of_frame in boxes:
            upper = of_frame.copy()
            upper[:, 3] -= self._cut * (of_frame[:, 3] - of_frame[:, 1])
            left.append(upper)
        return self._encoder.encode(frames, left)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--footage", nargs="+", default=FOOTAGE)
    parser.add_argument("--cut", type=float, default=0.4, metavar="X")
    parser.add_argument("--top-k", type=int, default=50, metavar="K")
    parser.add_argument("--share", type=float, default=0.5, metavar="X")
    arguments = parser.parse_args()
    config = ReidConfig(backbone="osnet_x0_25", stripes=ROWS)
    encoder = load_encoder(config, find_weights("osnet_x0_25_msmt17", os.environ, download=False))
    stored = start_parameters(config, encoder.describe())
    settings = DmliSettings(arguments.top_k, arguments.share)
    for name in arguments.footage:
        gallery = clips_of(_stays(encoder, name))
        print(f"\n{name}: {len(gallery.people)} clips of {len(set(gallery.people.tolist()))} people", flush=True)
        for cut in (0.0, arguments.cut):
            query = gallery if cut == 0 else clips_of(_stays(CutBoxes(encoder, cut), name))
            print(f" queries with {100 * cut:.0f} % cut off below; {settings.describe()}")
            _run(query, gallery, encoder.describe(), stored, settings)


def _stays(encoder: CropEncoder, name: str) -> list[StayCrops]:
    if name.startswith("hard-"):
        return generated_stays(encoder, int(name.partition("-")[2]))
    return real_stays(encoder, Path(os.environ["MEDIA_DIR"]) / name)


def _run(
    query: ClipSet,
    gallery: ClipSet,
    encoder: EncoderDescription,
    stored: AlignedParameters | None,
    settings: DmliSettings,
) -> None:
    heads: dict[str, BatchHead] = {"mean of maps": MeanHead(encoder)}
    if stored is not None:
        heads["aligned"] = AlignedHead(encoder, stored)
    local = {"map": _stripes(query, gallery, None), "projected": _stripes(query, gallery, encoder)}
    each_ms = 0.0
    for label, head in heads.items():
        asked, held = (head.fuse_batch(clips.stripes, clips.energy).embedding for clips in (query, gallery))
        plain = _score(cosine_distance(asked, held), query, gallery)
        print(f"  {label:32} {plain.mean:.3f}")
        for kind, (own, others) in local.items():
            rows = _row_by_row((asked, own), (held, others), settings)
            began = time.perf_counter()
            path = DmliReranker((asked, own), (held, others), settings).distances()
            each_ms = 1e3 * (time.perf_counter() - began) / max(1, len(asked))
            for what, distance in (("rows", rows), ("DMLI", path)):
                scores = _score(distance, query, gallery)
                gain = "{:+.3f} [{:+.3f}, {:+.3f}]".format(*scores.gain_over(plain))
                print(f"    + {what}, {kind} stripes".ljust(34), f"{scores.mean:.3f}   {gain}", flush=True)
    print(f"  {each_ms:.1f} ms a query")


def _stripes(query: ClipSet, gallery: ClipSet, encoder: EncoderDescription | None) -> tuple[FloatArray, FloatArray]:
    """(Q, H, L) and (G, H, L): the mean over frames of each stripe, projected if an encoder is given, norm 1."""
    made = []
    for clips in (query, gallery):
        few, energy = gather_stripes(clips.stripes, clips.energy, STRIPES)
        pooled = weigh_stripes(even_attention(energy), few)
        made.append(normalise_rows(pooled if encoder is None else project(encoder.projection, pooled)))
    return made[0], made[1]


def _row_by_row(
    query: tuple[FloatArray, FloatArray], gallery: tuple[FloatArray, FloatArray], settings: DmliSettings
) -> FloatArray:
    """The same re-ranking with stripe k compared with stripe k only."""
    old = cosine_distance(query[0], gallery[0])
    likeness = np.einsum("ahl,bhl->abh", query[1], gallery[1])
    rows = np.tanh(0.5 * np.sqrt(np.maximum(2 - 2 * likeness, 0))).mean(axis=2)
    top = np.argsort(old, axis=1, kind="stable")[:, : settings.top_k]
    result = old + np.float32(3)  # behind all others, in their old order
    mixed = (1 - settings.share) * old + settings.share * rows
    np.put_along_axis(result, top, np.take_along_axis(mixed, top, axis=1).astype(np.float32), axis=1)
    return result


def _score(distance: FloatArray, query: ClipSet, gallery: ClipSet) -> Scores:
    ranked = rank_queries(distance, (query.people, query.views), (gallery.people, gallery.views))
    return Scores(ranked.rectangle[ranked.valid], query.people[ranked.valid])


if __name__ == "__main__":
    main()

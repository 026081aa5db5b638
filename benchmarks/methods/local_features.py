"""What stripes and poses are good and bad for: whole bodies and cut ones, one network, several ways to compare."""

import tempfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from methods.trials import TestPart, score_distances, sides, train_once, vectors_of
from pipeline.ports import Projection
from pipeline.retrieval import cosine_distance, normalise_rows
from pipeline.types import FloatArray
from reid.crop_stack import CropStack
from reid.distances.dmli import DmliReranker, DmliSettings
from reid.heads import MeanHead, StaHead, project
from reid.training.live import MODEL_FILE, load_trained_encoder, load_trained_head
from reid.training.recipe import Recipe

PARTS = 4  # of a body whose pose is known
TOP_K = 50

Figures = dict[str, dict[str, float]]  # way to compare -> "whole rank1", "whole mAP", "cut rank1", …


def trained_head(part: TestPart, recipe: Recipe, seed: int) -> dict[str, float]:
    """A head that is compared by its own vector."""
    with tempfile.TemporaryDirectory() as folder:
        train_once(part.whole, recipe, seed, Path(folder))
        encoder = load_trained_encoder(Path(folder) / MODEL_FILE)
        head = load_trained_head(Path(folder) / MODEL_FILE, encoder.describe())
        found = {name: vectors_of(head, stack) for name, stack in sides(part, encoder).items()}
    return _both(part, {name: cosine_distance(found[name], found["gallery"]) for name in ("whole", "cut")})


def plain_ways(part: TestPart, recipe: Recipe, seed: int) -> Figures:
    """One plain network, and the ways to compare what it leaves."""
    with tempfile.TemporaryDirectory() as folder:
        train_once(part.whole, recipe, seed, Path(folder))
        encoder = load_trained_encoder(Path(folder) / MODEL_FILE)
    stacks, description = sides(part, encoder), encoder.describe()
    mean, stripes = MeanHead(description), StaHead(description, "stripes", stripes=PARTS)
    whole = {name: vectors_of(mean, stack) for name, stack in stacks.items()}
    apart = {name: vectors_of(stripes, stack) for name, stack in stacks.items()}
    rows = {name: normalise_rows(_clip_rows(stack)) for name, stack in stacks.items()}
    posed = {
        name: _posed_parts(stack, part.share if name == "cut" else 1.0, description.projection)
        for name, stack in stacks.items()
    }

    def ways(distances: Mapping[str, FloatArray]) -> dict[str, float]:
        return _both(part, distances)

    asked = ("whole", "cut")
    settings = DmliSettings(top_k=TOP_K)
    return {
        "whole body": ways({n: cosine_distance(whole[n], whole["gallery"]) for n in asked}),
        "stripes kept apart": ways({n: cosine_distance(apart[n], apart["gallery"]) for n in asked}),
        f"whole body, DMLI over the nearest {TOP_K}": ways(
            {
                n: DmliReranker((whole[n], rows[n]), (whole["gallery"], rows["gallery"]), settings).distances()
                for n in asked
            }
        ),
        "parts by a known pose": ways({n: _posed_distance(posed[n], posed["gallery"]) for n in asked}),
    }


def _both(part: TestPart, distances: Mapping[str, FloatArray]) -> dict[str, float]:
    found = {}
    for name, data_set in (("whole", part.whole), ("cut", part.cut)):
        for figure, value in score_distances(distances[name], data_set).items():
            found[f"{name} {figure}"] = value
    return found


def _clip_rows(stack: CropStack) -> FloatArray:
    """(T, R, C) the mean over frames of every row of the map."""
    weights = stack.frame_weights / stack.frame_weights.sum(axis=1, keepdims=True)
    return np.einsum("tn,tnrc->trc", weights, stack.stripes).astype(np.float32)


def _posed_parts(stack: CropStack, share: float, projection: Projection | None) -> tuple[FloatArray, FloatArray]:
    """Parts (T, K, D) of norm 1 and what is seen of each (K,), for crops that show the upper `share` of a body.

    As if joints had been found without an error: each row of the map is known to be of one part.
    """
    rows = _clip_rows(stack)
    height = rows.shape[1]
    part_of = np.minimum((share * (np.arange(height) + 0.5) / height * PARTS).astype(int), PARTS - 1)
    parts = np.zeros((len(rows), PARTS, rows.shape[2]), np.float32)
    seen = np.zeros(PARTS, np.float32)
    for k in range(PARTS):
        own = part_of == k
        if own.any():
            parts[:, k] = rows[:, own].mean(axis=1)
            seen[k] = min(1.0, own.sum() * share * PARTS / height)
    return normalise_rows(project(projection, parts)), seen


def _posed_distance(query: tuple[FloatArray, FloatArray], gallery: tuple[FloatArray, FloatArray]) -> FloatArray:
    """(Q, G): 1 - the mean cosine of parts, weighed by what is seen in both."""
    weight = np.minimum(query[1], gallery[1])
    likeness = np.einsum("qkd,gkd,k->qg", query[0], gallery[0], weight) / weight.sum()
    return (1 - likeness).astype(np.float32)

"""Crops per second of each way to compare: what the network, the head, the comparison and a pose network cost."""

import tempfile
from collections.abc import Callable
from pathlib import Path
from statistics import median
from time import perf_counter

import numpy as np
import torch

from pipeline.retrieval import cosine_distance, normalise_rows
from pipeline.types import FloatArray
from reid.clip_heads.live import LiveClipHead
from reid.clip_heads.make import store_clip_head
from reid.distances.dmli import DmliReranker, DmliSettings
from reid.heads import BatchHead, MeanHead, StaHead
from reid.part_heads.make import store_part_head
from reid.training.heads import ClipTrainingHead, PartTrainingHead
from reid.training.live import MODEL_FILE, TrainedCropEncoder, load_trained_encoder, save_trained
from reid.training.model import ReidModel
from reid.training.recipe import Recipe
from reid.training.state import Progress

FRAMES, CLIPS, CROPS = 4, 64, 64
GALLERY = 2000  # identities' vectors that a clip is compared with
REPEATS = 5


def encoder_of(recipe: Recipe) -> TrainedCropEncoder:
    """The recipe's encoder with the weights it starts from."""
    with tempfile.TemporaryDirectory() as folder:
        save_trained(Path(folder), ReidModel(recipe, 2), Progress(0, 0, "", {}), 2, "none")
        return load_trained_encoder(Path(folder) / MODEL_FILE)


def crop_s(encoder: TrainedCropEncoder) -> float:
    """Seconds a crop: pictures in, stripe means out."""
    size = encoder.crop_input.height_px, encoder.crop_input.width_px
    pixels = np.random.default_rng(0).standard_normal((CROPS, 3, *size), dtype=np.float32)
    return _seconds(lambda: encoder._pool(pixels)) / CROPS


def head_s(head: BatchHead, stripes: int, channels: int) -> float:
    """Seconds a clip."""
    rng = np.random.default_rng(0)
    crops = rng.random((CLIPS, FRAMES, stripes, channels), np.float32)
    energy = np.square(crops).sum(-1)
    return _seconds(lambda: head.fuse_batch(crops, energy)) / CLIPS


def compare_s(length: int, dmli_top_k: int | None = None, rows: tuple[int, int] = (8, 128)) -> float:
    """Seconds a clip against `GALLERY` vectors; with the nearest ones re-ranked by DMLI over rows (R, C)."""
    rng = np.random.default_rng(0)

    def vectors(count: int, *shape: int) -> FloatArray:
        return normalise_rows(rng.standard_normal((count, *shape), dtype=np.float32))

    query, gallery = vectors(CLIPS, length), vectors(GALLERY, length)
    if dmli_top_k is None:
        return _seconds(lambda: cosine_distance(query, gallery)) / CLIPS
    reranker = DmliReranker(
        (query, vectors(CLIPS, *rows)), (gallery, vectors(GALLERY, *rows)), DmliSettings(top_k=dmli_top_k)
    )
    return _seconds(reranker.distances) / CLIPS


def pose_s(weights: Path, height_px: int, width_px: int) -> float | None:
    """Seconds a crop of a pose network, taken to be those of a YOLO11n detector: a YOLO11n-pose adds a small branch."""
    try:
        from ultralytics import YOLO
    except ImportError:
        return None
    network = YOLO(str(weights)).model.float().eval()
    crop = torch.randn(1, 3, height_px, width_px)
    with torch.inference_mode():
        return _seconds(lambda: network(crop))


def live_head(recipe: Recipe, encoder: TrainedCropEncoder) -> BatchHead:
    """The recipe's head, untrained, as it runs live."""
    model, description = ReidModel(recipe, 48).eval(), encoder.describe()
    name = description.model_id
    if isinstance(model.head, ClipTrainingHead):
        return LiveClipHead(description, store_clip_head(model.head.head, encoder=name, origin=""))
    if isinstance(model.head, PartTrainingHead):
        stored = store_part_head(model.head.head, model.backbone.channels, encoder=name, origin="")
        return LiveClipHead(description, stored)
    return MeanHead(description)


def stripes_head(encoder: TrainedCropEncoder) -> BatchHead:
    """Stripes kept apart, untrained."""
    return StaHead(encoder.describe(), "stripes", stripes=4)


def _seconds(work: Callable[[], object]) -> float:
    """Median seconds of a call."""
    work()
    times = []
    for _ in range(REPEATS):
        began = perf_counter()
        work()
        times.append(perf_counter() - began)
    return median(times)

"""One training of one recipe with one seed, and what it reaches."""

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
import torch

from pipeline.ports import ClipHead
from pipeline.retrieval import QueryScores, cosine_distance, rank_queries
from pipeline.types import FloatArray
from reid.crop_stack import CropStack
from reid.datasets.tracklets import DataSet, ImageTracklet
from reid.heads import BatchHead
from reid.tracklet_vectors import read_picture
from reid.training.batches import FrozenCrops
from reid.training.heads import ClipTrainingHead
from reid.training.live import MODEL_FILE, TrainedCropEncoder, load_trained_encoder, load_trained_head, save_trained
from reid.training.loop import Training, TrainingRun
from reid.training.model import ReidModel
from reid.training.recipe import Recipe

FRAMES = 4  # pictures of a tracklet that speak, evenly spread
CPU = torch.device("cpu")


@dataclass(frozen=True, slots=True)
class TestPart:
    """Queries and gallery.

    Attributes:
        cut: the queries with their lower part cut off, as at the edge of a picture.
        share: what is left of them.
    """

    whole: DataSet
    cut: DataSet
    share: float

    @property
    def gallery(self) -> tuple[ImageTracklet, ...]:
        return self.whole.gallery


def cut_queries(data_set: DataSet, folder: Path, share: float) -> TestPart:
    """Write the upper `share` of every query's pictures that are going to speak."""
    queries = []
    for number, tracklet in enumerate(data_set.query):
        paths = []
        for frame in chosen(len(tracklet.images)):
            picture = read_picture(tracklet.images[frame])
            if picture is None:
                raise ValueError(f"{tracklet.images[frame]} cannot be read")
            path = folder / f"{number:05}" / f"{frame:05}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(path), picture[: round(share * len(picture))])
            paths.append(path)
        queries.append(replace(tracklet, images=tuple(paths)))
    return TestPart(data_set, replace(data_set, query=tuple(queries)), share)


def chosen(length: int) -> list[int]:
    """The pictures of a tracklet that speak, as `Sampling` of kind `even` chooses them."""
    if length <= FRAMES:
        return list(range(length))
    return [int((i + 0.5) * length / FRAMES) for i in range(FRAMES)]


def train_once(
    data_set: DataSet, recipe: Recipe, seed: int, out: Path, frozen: FrozenCrops | None = None
) -> tuple[ReidModel, FrozenCrops | None]:
    """The trained model, its files in `out`; and the crop features of a frozen backbone, for the next one."""
    training = Training(data_set, recipe, TrainingRun(out, seed, CPU, frozen=frozen))
    model, progress = training.run()
    save_trained(out, model, progress, len({t.person_id for t in data_set.train}), data_set.name)
    return model, training.frozen


def stack_tracklets(tracklets: tuple[ImageTracklet, ...], encoder: TrainedCropEncoder) -> CropStack:
    """Crop features of every tracklet's chosen pictures, as arrays; each passes the encoder once."""
    size = encoder.crop_input.width_px, encoder.crop_input.height_px
    stripes, energy, weights = [], [], []
    for tracklet in tracklets:
        pictures = [read_picture(tracklet.images[i]) for i in chosen(len(tracklet.images))]
        crops = np.stack([cv2.resize(p, size, interpolation=cv2.INTER_LINEAR) for p in pictures if p is not None])
        means, sums = encoder._pool(encoder.crop_input.normalise(crops))
        room = FRAMES - len(crops)
        stripes.append(np.pad(means, ((0, room), (0, 0), (0, 0))))
        energy.append(np.pad(sums, ((0, room), (0, 0))))
        weights.append(np.pad(np.ones(len(crops), np.float32), (0, room)))
    return CropStack(np.stack(stripes), np.stack(energy), np.stack(weights))


def vectors_of(head: ClipHead, stack: CropStack) -> FloatArray:
    """(T, D) of the tracklets of a stack."""
    if not isinstance(head, BatchHead):
        raise ValueError("expected a head that fuses batches")
    return head.fuse_batch(stack.stripes, stack.energy, stack.frame_weights).embedding


def torch_vectors(model: ReidModel, stack: CropStack) -> FloatArray:
    """(T, D) of a clip head in PyTorch, equal to its live ones (tests/reid/training/test_trained_models.py)."""
    if not isinstance(model.head, ClipTrainingHead):
        raise ValueError("expected a clip head")
    with torch.no_grad():
        return model.head.head(*(torch.from_numpy(values) for values in stack)).embedding.numpy()


def score(query: FloatArray, gallery: FloatArray, part: DataSet) -> dict[str, float]:
    """rank1 and mAP of vectors by cosine distance."""
    return score_distances(cosine_distance(query, gallery), part)


def score_distances(distance: FloatArray, part: DataSet) -> dict[str, float]:
    """rank1 and mAP of distances (Q, G)."""
    labels = [
        (np.array([t.person_id for t in side]), np.array([t.camera_id for t in side]))
        for side in (part.query, part.gallery)
    ]
    found: QueryScores = rank_queries(distance, *labels)
    return {"rank1": float(found.cmc(1)[0]), "mAP": found.mean_average_precision("rectangle")}


def tune_and_score(part: TestPart, recipe: Recipe, seed: int) -> dict[str, float]:
    """A run end to end, and its whole queries."""
    with tempfile.TemporaryDirectory() as folder:
        train_once(part.whole, recipe, seed, Path(folder))
        encoder = load_trained_encoder(Path(folder) / MODEL_FILE)
        head = load_trained_head(Path(folder) / MODEL_FILE, encoder.describe())
        gallery = vectors_of(head, stack_tracklets(part.gallery, encoder))
        query = vectors_of(head, stack_tracklets(part.whole.query, encoder))
    return score(query, gallery, part.whole)


def sides(part: TestPart, encoder: TrainedCropEncoder) -> Mapping[str, CropStack]:
    """Crop features of the gallery and of whole and cut queries."""
    return {
        "gallery": stack_tracklets(part.gallery, encoder),
        "whole": stack_tracklets(part.whole.query, encoder),
        "cut": stack_tracklets(part.cut.query, encoder),
    }

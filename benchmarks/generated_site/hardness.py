"""How hard it is to tell a site's people apart: distances of the recorded clips of one person and of two."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from pipeline.config import Config
from pipeline.replay.from_features import open_features
from pipeline.retrieval import cosine_distance
from pipeline.scoring.clips import LabelledClip, evenly_spread, label_clips
from pipeline.scoring.ground_truth import GroundTruth
from pipeline.types import ClipFeature, ClipMessage, Tracklet

MOST_CLIPS = 3000  # that enter pairs
KINDS = ("same person, same stay", "same person, same camera", "same person, other camera", "look-alikes", "others")
QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)


@dataclass(frozen=True, eq=False, slots=True)
class Published:
    """What the cameras of a recording published."""

    clips: tuple[ClipFeature, ...]
    tracklets: tuple[Tracklet, ...]


def read_published(folder: Path, config: Config) -> Published:
    """All clips and tracklets of a recording.

    Raises:
        ConfigError: no recording there. DecodeError: a file that cannot be read.
    """
    messages: list[ClipMessage] = []
    for camera in open_features(folder, config).cameras:
        messages += [message for _, group in camera.groups() for message in group]
        messages += camera.closing
    clips = tuple(message for message in messages if isinstance(message, ClipFeature))
    return Published(clips, tuple(message for message in messages if isinstance(message, Tracklet)))


def read_lookalikes(folder: Path) -> frozenset[frozenset[int]]:
    """Pairs of people of a generated site that were made to look alike; empty where nothing is said."""
    path = folder / "site.json"
    if not path.is_file():
        return frozenset()
    facts = json.loads(path.read_text(encoding="utf-8"))
    return frozenset(frozenset((pair["person_id"], pair["looks_like"])) for pair in facts["lookalikes"])


def distances_by_kind(
    labelled: Sequence[LabelledClip], alike: frozenset[frozenset[int]]
) -> dict[str, npt.NDArray[np.float32]]:
    """Kind (of `KINDS`) → cosine distances of all its pairs of clips; at most `MOST_CLIPS` clips, evenly spread."""
    clips = [labelled[i] for i in evenly_spread(range(len(labelled)), MOST_CLIPS)]
    if len(clips) < 2:
        return {kind: np.zeros(0, np.float32) for kind in KINDS}
    vectors = np.stack([clip.embedding for clip in clips])
    distance = cosine_distance(vectors, vectors)
    people = np.array([clip.person_id for clip in clips])
    cameras = _numbers(clip.camera_id for clip in clips)
    stays = _numbers((clip.person_id, clip.view) for clip in clips)
    upper = np.triu(np.ones(distance.shape, bool), 1)
    same = upper & (people[:, None] == people)
    one_camera, one_stay = cameras[:, None] == cameras, stays[:, None] == stays
    like = upper & _alike(people, alike)
    masks = (same & one_stay, same & one_camera & ~one_stay, same & ~one_camera, like, upper & ~same & ~like)
    return {kind: distance[mask] for kind, mask in zip(KINDS, masks, strict=True)}


def overlap_of(same: npt.NDArray[np.float32], different: npt.NDArray[np.float32]) -> float:
    """Share of pairs (one of each) in which the two people are nearer than the one; NaN without pairs."""
    if not (len(same) and len(different)):
        return float("nan")
    order = np.sort(different)
    return float(np.searchsorted(order, same).mean() / len(order))


def labelled_clips(published: Published, truth: GroundTruth, absence_s: float) -> tuple[list[LabelledClip], int]:
    """The clips that show one person, and how many do not."""
    return label_clips(published.clips, published.tracklets, truth, absence_s=absence_s)


def _numbers(names: Iterable[object]) -> npt.NDArray[np.int64]:
    known: dict[object, int] = {}
    return np.array([known.setdefault(name, len(known)) for name in names], np.int64)


def _alike(people: npt.NDArray[np.int64], alike: frozenset[frozenset[int]]) -> npt.NDArray[np.bool_]:
    """(N, N) whether two clips show two people who were made to look alike."""
    mask = np.zeros((len(people), len(people)), bool)
    for pair in alike:
        first, second = sorted(pair)
        mask |= (people[:, None] == first) & (people == second)
        mask |= (people[:, None] == second) & (people == first)
    return mask


def quantile_rows(distances: Mapping[str, npt.NDArray[np.float32]]) -> list[list[str]]:
    """A row of text for each kind: name, pairs, and the quantiles."""
    rows = []
    for kind, values in distances.items():
        cells = [f"{v:.3f}" for v in np.quantile(values, QUANTILES)] if len(values) else ["-"] * len(QUANTILES)
        rows.append([kind, str(len(values)), *cells])
    return rows

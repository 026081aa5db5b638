"""Mean IoU of masks with the exact ones, by how much of a person shows."""

import time
from collections import defaultdict
from collections.abc import Callable, Iterable

import numpy as np

from background.footage import Shot
from pipeline.background.background_model import BackgroundModel
from pipeline.background.grabcut import GrabCutSegmenter
from pipeline.background.removal.remover import BackgroundRemover
from pipeline.boxes import covered_share, touches_edge
from pipeline.scenes.scene import GroundTruth

Scores = dict[str, list[float]]
BoolMask = np.ndarray

KINDS = ("free", "overlapped", "in front", "hidden", "at the edge", "other")


def kinds_of(truth: GroundTruth) -> list[str]:
    """For each person of a frame: free (no box touches theirs), overlapped by 20 to 50 %, in front of somebody, …"""
    height_px, width_px = truth.labels.shape
    edge = touches_edge(truth.xyxy, width_px, height_px)
    covered = covered_share(truth.xyxy)
    kinds = []
    for visible, cut, box_share in zip(truth.visibility, edge, covered, strict=True):
        if cut:
            kinds.append("at the edge")
        elif visible > 0.97:
            kinds.append("free" if box_share == 0 else "in front")
        elif 0.5 <= visible <= 0.8:
            kinds.append("overlapped")
        else:
            kinds.append("hidden" if visible < 0.5 else "other")
    return kinds


def mask_iou(a: BoolMask, b: BoolMask) -> float:
    union = np.count_nonzero(a | b)
    return float(np.count_nonzero(a & b) / union) if union else 1.0


def score_masks(cut: Callable[[Shot], dict[int, BoolMask]], shots: Iterable[Shot]) -> tuple[Scores, float, int]:
    """IoUs by kind, CPU seconds inside `cut`, and how many frames."""
    scores: Scores = defaultdict(list)
    seconds, frames = 0.0, 0
    for shot in shots:
        started = time.process_time()
        masks = cut(shot)
        seconds += time.process_time() - started
        frames += 1
        kinds = kinds_of(shot.truth)
        for track_id, row in shot.rows.items():
            if track_id in masks:
                truth = shot.truth.mask(int(shot.truth.person_ids[row]))
                scores[kinds[row]].append(mask_iou(masks[track_id], truth))
    return scores, seconds, frames


def with_remover() -> Callable[[Shot], dict[int, BoolMask]]:
    """Masks as the remover carries them from frame to frame."""
    remover = BackgroundRemover()

    def cut(shot: Shot) -> dict[int, BoolMask]:
        answer = remover.add(shot.frame, shot.seen)
        return {track_id: answer.mask({track_id}) for track_id in answer.cutouts}

    return cut


def with_segmenter(every: int) -> Callable[[Shot], dict[int, BoolMask]]:
    """Masks as references have them without weights, of every `every`th frame; the plate learns from more."""
    model = BackgroundModel()
    segmenter = GrabCutSegmenter(lambda _: model.plate())

    def cut(shot: Shot) -> dict[int, BoolMask]:
        boxes = np.array([one.xyxy for one in shot.seen], np.float32).reshape(-1, 4)
        if shot.frame.index % 5 == 0:
            model.update(shot.frame, boxes)
        if shot.frame.index % every:
            return {}
        masks = segmenter.segment(shot.frame, boxes)
        return {one.track_id: mask for one, mask in zip(shot.seen, masks, strict=True)}

    return cut

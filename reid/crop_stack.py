"""Crop features of many clips as arrays: what the heads and the training compute on."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from pipeline.ports import EncoderDescription
from pipeline.types import CropFeature, FloatArray


class CropStack(NamedTuple):
    """Crop features of B clips as arrays: stripes (B, N, K, C), energy (B, N, K), frame_weights (B, N), all float32.

    Clips of fewer than N crops end in frames of zeros with weight 0.
    """

    stripes: FloatArray
    energy: FloatArray
    frame_weights: FloatArray


def stack_clips(
    clips: Sequence[Sequence[CropFeature]], encoder: EncoderDescription, *, quality_weights: bool = False
) -> CropStack:
    """Clips of N_b >= 1 crops, all from `encoder`, as arrays.

    Args:
        quality_weights: a frame's weight is `CropQuality.score`, not 1. In a clip none of whose crops has any quality
            (encoders fill in zeros, callers replace them) all frames count 1.

    Raises:
        ValueError: a clip without crops, crops of another model or of another shape.
    """
    lengths = np.array([len(clip) for clip in clips], np.int64)
    if (lengths == 0).any():
        raise ValueError("crops: expected at least one, got none")
    crops = [crop for clip in clips for crop in clip]
    _check_origin(crops, encoder)
    there = np.arange(lengths.max(initial=1)) < lengths[:, None]  # (B, N)
    stack = CropStack(
        np.zeros((*there.shape, encoder.stripes, encoder.channels), np.float32),
        np.zeros((*there.shape, encoder.stripes), np.float32),
        there.astype(np.float32),
    )
    if crops:
        stack.stripes[there] = np.stack([crop.stripes for crop in crops])
        stack.energy[there] = np.stack([crop.energy for crop in crops])
    if quality_weights and crops:
        stack.frame_weights[there] = [crop.quality.score for crop in crops]
        unknown = ~stack.frame_weights.any(axis=1)
        stack.frame_weights[unknown] = there[unknown]
    return stack


def check_stack(stack: CropStack, encoder: EncoderDescription) -> None:
    """Raises ValueError for shapes that do not fit, a negative weight, or a clip all of whose weights are 0."""
    clips_and_frames = stack.stripes.shape[:2]
    wanted: tuple[tuple[int, ...], ...] = (
        (*clips_and_frames, encoder.stripes, encoder.channels),
        (*clips_and_frames, encoder.stripes),
        clips_and_frames,
    )
    for name, values, shape in zip(CropStack._fields, stack, wanted, strict=True):
        if values.shape != shape or len(clips_and_frames) != 2 or clips_and_frames[1] == 0:
            raise ValueError(f"{name}: expected shape {_say(shape)} with N >= 1, got {values.shape}")
    _check_weights(stack.frame_weights)


def _check_origin(crops: Sequence[CropFeature], encoder: EncoderDescription) -> None:
    strangers = {crop.model_id for crop in crops} - {encoder.model_id}
    if strangers:
        raise ValueError(f"crops: expected features of {encoder.model_id}, got {', '.join(sorted(strangers))}")
    wanted = (encoder.stripes, encoder.channels)
    wrong = next((crop.stripes.shape for crop in crops if crop.stripes.shape != wanted), None)
    if wrong:
        raise ValueError(f"crops: expected stripes of shape {wanted}, got {wrong}")


def _check_weights(frame_weights: npt.NDArray[np.floating]) -> None:
    if not ((frame_weights >= 0) & np.isfinite(frame_weights)).all():
        raise ValueError(f"frame_weights: expected finite values from 0 up, got {frame_weights.min()}")
    if not frame_weights.any(axis=1).all():
        raise ValueError("frame_weights: expected a frame that counts in every clip, got a clip of zeros")


def _say(shape: tuple[int, ...]) -> str:
    return f"({', '.join(['B', 'N', *map(str, shape[2:])])})"

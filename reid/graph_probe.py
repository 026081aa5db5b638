"""Runs the parts of a network that was cut, whatever runs them: which batches it takes, and its projection."""

import logging
from collections.abc import Callable

import numpy as np

from pipeline.errors import WeightsError
from pipeline.ports import Projection
from pipeline.types import FloatArray
from reid.graph_cut import Cut

PROBE_BATCH = 256  # vectors a pass: bounds memory at 2048 channels (2 MB)
PROBE_GAIN = 64.0  # of the unit vectors: the bias costs the weights no digits, and half precision does not overflow
PROBE_TOLERANCE = 4e-3  # of the largest value: half precision rounds at 5e-4, a layer that is not linear errs by more

SAME_CROP = 2e-3  # of a map's largest value: what a crop's map may differ alone and in a batch; half precision does

# Two tensors that a network makes of normalised crops (B, 3, H, W), for a batch of any size (None) or the one built in.
Body = Callable[[int | None, FloatArray], tuple[FloatArray, FloatArray]]
# Pooled vectors (N, C), N at most PROBE_BATCH -> the tensors `Cut.linear` and `Cut.feature`, (N, D) each.
Tail = Callable[[FloatArray], tuple[FloatArray, FloatArray]]

log = logging.getLogger(__name__)


def measure_body(
    body: Body,
    crop_shape: tuple[int, int, int],
    stated_batch: int | None,
    errors: tuple[type[Exception], ...],
    place: str,
) -> tuple[int | None, FloatArray]:
    """The batch that a network takes (None: any) and its last maps of noise.

    Args:
        body: gives last maps (B, C, H, W) and pooled ones.
        crop_shape: (3, H, W).
        errors: what the runtime raises when it cannot run a network.

    Raises:
        WeightsError: it does not run, its crops change each other, or its pooling is not the mean over the map.
    """
    tried: tuple[type[Exception], ...] = (WeightsError, *errors)
    noise = _noise(crop_shape, 2)
    try:
        maps = _checked(body(None, noise), place)
        alone = np.concatenate([_checked(body(None, crop[None]), place) for crop in noise])
        if np.abs(maps - alone).max() <= SAME_CROP * np.abs(alone).max():
            return None, maps
        reason = "crops of one batch change each other"
    except tried as error:
        if isinstance(error, WeightsError) and stated_batch is None:
            raise
        reason = first_line(error)
    if stated_batch != 1:
        raise WeightsError(f"{place}: does not run with batches of any size ({reason}); export it with such a batch")
    try:
        maps = _checked(body(1, noise[:1]), place)
    except errors as error:
        raise WeightsError(f"{place}: cannot be run ({first_line(error)})") from None
    log.warning("%s takes one crop a pass only, which is slow (%s); export it with a dynamic batch", place, reason)
    return 1, maps


def _checked(results: tuple[FloatArray, FloatArray], place: str) -> FloatArray:
    """The maps, once the pooled ones have proved to be their means."""
    maps, pooled = results
    if maps.ndim != 4 or pooled.size != maps.shape[0] * maps.shape[1]:
        raise WeightsError(f"{place}: pools a map {maps.shape} into {pooled.shape}, not into one value a channel")
    away = np.abs(maps.mean(axis=(2, 3)) - pooled.reshape(maps.shape[:2])).max()
    if not away <= SAME_CROP * max(float(np.abs(maps).max()), 1e-6):
        raise WeightsError(f"{place}: its pooling is not the mean of the last map (batch, channels, rows, columns)")
    return maps


def check_projection(
    whole: Body,
    crop_shape: tuple[int, int, int],
    batch: int | None,
    projection: Projection | None,
    cut: Cut,
    place: str,
) -> None:
    """Raise unless the network's own feature of a crop is that of its pooled map under the projection.

    Args:
        whole: gives pooled maps and features.

    Raises:
        WeightsError: it is not.
    """
    pooled, feature = (part.reshape(1, -1) for part in whole(batch, _noise(crop_shape, 1)))
    expected = pooled
    if projection is not None:
        expected = pooled @ projection.weight.T + projection.bias
        expected = np.maximum(expected, 0) if projection.relu else expected
    if cut.normalised:
        expected = expected / np.maximum(np.linalg.norm(expected, axis=1, keepdims=True), 1e-12)
    if not _agree(expected, feature):
        raise WeightsError(f"{place}: the layers behind its pooling do not make its feature {cut.feature!r}")


def _noise(crop_shape: tuple[int, int, int], count: int) -> FloatArray:
    noise: FloatArray = np.random.default_rng(0).standard_normal((count, *crop_shape)).astype(np.float32)
    return noise


def first_line(error: Exception) -> str:
    """What a runtime says, without the places in its sources that OpenVINO begins with."""
    lines = [line for line in str(error).strip().splitlines() if line and not line.startswith("Exception from")]
    return (lines[0] if lines else type(error).__name__)[:200]


def fit_projection(tail: Tail, channels: int, cut: Cut, place: str) -> Projection | None:
    """The layers behind the pooling as one affine map, read off by sending unit vectors through them.

    Args:
        tail: runs the layers.

    Returns:
        None when the pooled vector itself is the feature.

    Raises:
        WeightsError: the layers turn out not to be affine, or what follows is not the ReLU or norm it looked like.
    """
    _check_end(tail, channels, cut, place)
    if cut.linear == cut.pooled and not cut.relu:
        return None
    bias = tail(np.zeros((1, channels), np.float32))[0][0]
    columns = []
    for start in range(0, channels, PROBE_BATCH):
        probes = np.zeros((min(PROBE_BATCH, channels - start), channels), np.float32)
        np.fill_diagonal(probes[:, start:], PROBE_GAIN)
        columns.append((tail(probes)[0].astype(np.float64) - bias) / PROBE_GAIN)
    weight = np.concatenate(columns).T.astype(np.float32)  # (D, C)
    probes = _probes(channels)
    if not _agree(probes @ weight.T + bias, tail(probes)[0]):
        raise WeightsError(f"{place}: the layers between {cut.pooled!r} and {cut.linear!r} are not linear")
    return Projection(np.ascontiguousarray(weight), bias.astype(np.float32), cut.relu)


def one_by_one(tail: Tail) -> Tail:
    """The same layers for a network that takes one vector at a time."""

    def run(pooled: FloatArray) -> tuple[FloatArray, FloatArray]:
        pairs = [tail(vector[None]) for vector in pooled]
        return np.concatenate([linear for linear, _ in pairs]), np.concatenate([feature for _, feature in pairs])

    return run


def _check_end(tail: Tail, channels: int, cut: Cut, place: str) -> None:
    """Raise unless the feature is the linear layers' output under the ReLU and norm that were found."""
    expected, feature = tail(_probes(channels))
    if cut.relu:
        expected = np.maximum(expected, 0)
    if cut.normalised:
        expected = expected / np.maximum(np.linalg.norm(expected, axis=1, keepdims=True), 1e-12)
    if not _agree(expected, feature):
        raise WeightsError(f"{place}: what follows {cut.linear!r} is not a ReLU or an L2 normalisation of it")


def _probes(channels: int) -> FloatArray:
    """(4, C) pooled vectors as behind a ReLU, different in scale, so that batches cannot be mixed up unseen."""
    rng = np.random.default_rng(0)
    return (rng.random((4, channels)) * np.array([[0.5], [1], [2], [4]])).astype(np.float32)


def _agree(expected: FloatArray, got: FloatArray) -> bool:
    if expected.shape != got.shape:
        return False
    scale = max(float(np.abs(got).max(initial=0)), 1e-6)
    return bool(np.abs(expected - got).max(initial=0) <= PROBE_TOLERANCE * scale)

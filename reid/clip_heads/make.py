"""Trainable clip heads by name, and to and from files."""

from collections.abc import Mapping
from inspect import Parameter, signature
from pathlib import Path
from typing import Any

import torch

from pipeline.errors import WeightsError
from pipeline.ports import Projection
from reid.clip_heads.base import TrainableHead
from reid.clip_heads.recurrent import FrameRnn, StripeLstm
from reid.clip_heads.stgcn import Stgcn
from reid.clip_heads.stored import StoredClipHead
from reid.clip_heads.weighing import QualityWeights, TemporalAttention, TrainedMean, TrainedSta

_HEADS: dict[str, type[TrainableHead]] = {
    head.name: head
    for head in (TrainedMean, TrainedSta, TemporalAttention, FrameRnn, StripeLstm, QualityWeights, Stgcn)
}
CLIP_HEADS = tuple(_HEADS)


def make_clip_head(
    name: str, *, stripes: int, channels: int, projection: Projection | None = None, **options: Any
) -> TrainableHead:
    """The head of that name for crop features of K = `stripes` and C = `channels`.

    Options are the keyword arguments of the head's class.

    Args:
        projection: the backbone's last layer, to start from; None: vectors are those of the map.

    Raises:
        ValueError: no such head, an option that it does not have, or a value that it refuses.
    """
    if name not in _HEADS:
        raise ValueError(f"clip head: expected one of {', '.join(CLIP_HEADS)}; got {name!r}")
    keywords = [p.name for p in signature(_HEADS[name]).parameters.values() if p.kind is Parameter.KEYWORD_ONLY]
    allowed = [keyword for keyword in keywords if keyword != "projection"]
    unknown = sorted(set(options) - set(allowed))
    if unknown:
        raise ValueError(f"clip head {name}: unknown option {unknown[0]!r}; it has {', '.join(allowed)}")
    head = _HEADS[name](stripes, channels, projection=projection, **options)  # type: ignore[call-arg]
    head.made_of = dict(options)
    return head


def store_clip_head(
    head: TrainableHead, *, encoder: str, origin: str, recipe: Mapping[str, Any] | None = None
) -> StoredClipHead:
    """What a live head needs of a trained one.

    Args:
        encoder: `model_id` of the encoder whose crop features it was trained on; a name without a hash fits every copy.
        origin: one line: what it was trained on. recipe: plain values, kept with it.
    """
    state = head.state_dict()
    return StoredClipHead(
        name=head.name,
        stripes=head.stripes,
        channels=head.channels,
        dimensions=head.dimensions,
        options={**head.options, "made_of": head.made_of},
        encoder=encoder,
        origin=origin,
        recipe=dict(recipe or {}),
        arrays={
            name: value.detach().cpu().float().numpy()
            for name, value in state.items()
            if not name.endswith("num_batches_tracked")
        },
    )


def load_clip_head(path: Path) -> TrainableHead:
    """The trainable head of a file, to train it further.

    Raises:
        WeightsError: not a file of this kind, or of a head that is made differently today.
    """
    stored = StoredClipHead.load(path)
    weight, bias = (stored.arrays.get(f"projection.{name}") for name in ("weight", "bias"))
    projection = None
    if weight is not None and bias is not None:
        projection = Projection(weight, bias, bool(stored.options.get("relu")))
    try:
        head = make_clip_head(
            stored.name,
            stripes=stored.stripes,
            channels=stored.channels,
            projection=projection,
            **stored.options.get("made_of", {}),
        )
        state = {name: torch.from_numpy(value.copy()) for name, value in stored.arrays.items()}
        counted = {n: v for n, v in head.state_dict().items() if n.endswith("num_batches_tracked")}
        head.load_state_dict({**counted, **state})
    except (ValueError, RuntimeError) as error:
        raise WeightsError(f"{path}: cannot be trained further ({str(error).splitlines()[0]})") from None
    return head

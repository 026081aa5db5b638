"""Part heads by name, and as files that live cameras use."""

from collections.abc import Mapping
from inspect import Parameter, signature
from typing import Any

from reid.clip_heads.stored import StoredClipHead
from reid.part_heads.base import PartHead
from reid.part_heads.pcb import Icnn, Pcb
from reid.part_heads.whole_body import AlignedReid, ScpNet

_HEADS: dict[str, type[PartHead]] = {head.name: head for head in (Pcb, AlignedReid, Icnn, ScpNet)}
PART_HEADS = tuple(_HEADS)


def make_part_head(name: str, *, channels: int, people: int, **options: Any) -> PartHead:
    """The head of that name for maps of `channels` values and `people` people in the training set.

    Options are the keyword arguments of the head's class.

    Raises:
        ValueError: no such head, an option that it does not have, or a value that it refuses.
    """
    if name not in _HEADS:
        raise ValueError(f"part head: expected one of {', '.join(PART_HEADS)}; got {name!r}")
    allowed = [p.name for p in signature(_HEADS[name]).parameters.values() if p.kind is Parameter.KEYWORD_ONLY]
    unknown = sorted(set(options) - set(allowed))
    if unknown:
        raise ValueError(f"part head {name}: unknown option {unknown[0]!r}; it has {', '.join(allowed)}")
    head = _HEADS[name](channels, people, **options)  # type: ignore[call-arg]
    head.made_of = dict(options)
    return head


def store_part_head(
    head: PartHead, channels: int, *, encoder: str, origin: str, recipe: Mapping[str, Any] | None = None
) -> StoredClipHead:
    """A trained part head as a clip head for live cameras: the mean over a clip's frames, then the head's vector.

    Arguments as in `reid.clip_heads.make.store_clip_head`.

    Raises:
        WeightsError: its vector cannot be computed from stripe means.
    """
    stripes, options, arrays = head.live_arrays()
    return StoredClipHead(
        name=head.name,
        stripes=stripes,
        channels=channels,
        dimensions=head.dimensions,
        options={**options, "relu": False, "made_of": head.made_of},
        encoder=encoder,
        origin=origin,
        recipe=dict(recipe or {}),
        arrays={
            name: value.detach().cpu().float().numpy()
            for name, value in arrays.items()
            if not name.endswith("num_batches_tracked")
        },
    )

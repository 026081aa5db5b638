"""Losses by name, for recipes.

Which features a loss wants: `identity` and `attributes` those behind the neck, `inter_frame` the maps of whole clips,
all others those before the neck.
"""

from collections.abc import Callable
from inspect import Parameter, signature
from typing import Any

from reid.losses.base import Loss
from reid.losses.identity import AttributeLoss, IdentityLoss
from reid.losses.inter_frame import InterFrameLoss
from reid.losses.pairwise import ContrastiveLoss, VerificationLoss
from reid.losses.triplets import ImprovedTripletLoss, MsmlLoss, QuadrupletLoss, TriHardLoss, TripletLoss

_MAKERS: dict[str, Callable[..., Loss]] = {
    "identity": IdentityLoss,
    "verification": VerificationLoss,
    "contrastive": ContrastiveLoss,
    "triplet": TripletLoss,
    "improved_triplet": ImprovedTripletLoss,
    "quadruplet": QuadrupletLoss,
    "trihard": TriHardLoss,
    "msml": MsmlLoss,
    "attributes": AttributeLoss,
    "inter_frame": InterFrameLoss,
}

LOSSES = tuple(_MAKERS)
BEHIND_THE_NECK = ("identity", "attributes")
ON_MAPS = ("inter_frame",)


def make_loss(name: str, *, people: int, channels: int, **options: Any) -> Loss:
    """The loss of that name, for features of `channels` values and `people` people in the training set.

    Options are the keyword arguments of the loss's class.

    Raises:
        ValueError: no such loss, an option that it does not have or that is missing, or a value that it refuses.
    """
    if name not in _MAKERS:
        raise ValueError(f"loss: expected one of {', '.join(LOSSES)}; got {name!r}")
    maker, given = _MAKERS[name], {"people": people, "channels": channels}
    parameters = signature(maker).parameters
    allowed = [key for key in parameters if key not in given]
    unknown = sorted(set(options) - set(allowed))
    if unknown:
        raise ValueError(f"loss {name}: unknown option {unknown[0]!r}; it has {', '.join(allowed) or 'none'}")
    missing = [key for key in allowed if parameters[key].default is Parameter.empty and key not in options]
    if missing:
        raise ValueError(f"loss {name}: the option {missing[0]!r} is missing")
    return maker(**{key: value for key, value in given.items() if key in parameters}, **options)

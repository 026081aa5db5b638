"""The rate of learning as a function of the step alone, so that nothing of it has to be kept."""

from collections.abc import Iterable

import torch
from torch import nn

from reid.training.recipe import ScheduleRecipe

_WARM_UP_FROM = 0.01  # of the rate (Luo et al., CVPRW 2019, section 3.1, start at a tenth or below)
_MOMENTUM = 0.9  # of SGD (PCB, Sun et al., ECCV 2018)


def rate_at(step: int, steps_per_epoch: int, recipe: ScheduleRecipe) -> float:
    """The rate of the step of that number, from 0.

    Over the first `warm_up_epochs` it rises linearly from a hundredth; from each milestone on it is multiplied by
    `factor`.
    """
    epoch = step // steps_per_epoch
    rate = recipe.rate * recipe.factor ** sum(epoch >= milestone for milestone in recipe.milestones)
    warm_up = recipe.warm_up_epochs * steps_per_epoch
    if step >= warm_up:
        return rate
    return rate * (_WARM_UP_FROM + (1 - _WARM_UP_FROM) * step / warm_up)


def make_optimiser(parameters: Iterable[nn.Parameter], recipe: ScheduleRecipe) -> torch.optim.Optimizer:
    """For all parameters: those without a gradient in a stage stay as they are. The rate is set before every step."""
    learned = list(parameters)
    if recipe.optimiser == "sgd":
        return torch.optim.SGD(
            learned, lr=recipe.rate, momentum=_MOMENTUM, nesterov=True, weight_decay=recipe.weight_decay
        )
    return torch.optim.Adam(learned, lr=recipe.rate, weight_decay=recipe.weight_decay)

"""Refines a head by gradients, on what is certain: clips of one person draw near, people seen together apart.

On real footage this makes the people of the footage easier to tell apart and does little for others, so whoever calls
it judges the result on people who were held back (`reid.adaptation.judge`).
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from pipeline.ports import EncoderDescription
from reid.adaptation.certain_batches import ClipBatch, ClipSampler, certain_pairs_loss, hardest_triplet_loss
from reid.adaptation.material import Material
from reid.adaptation.torch_head import TorchAlignedHead
from reid.aligned import AlignedParameters

_CLIPPED = 1.0  # norm of the gradient, at most: a first batch of look-alikes must not undo the closed form


@dataclass(frozen=True, slots=True)
class Refinement:
    """How a head is refined.

    Attributes:
        steps: each draws `people` numbers and `clips` clips of `crops` crops of each.
        rate: Adam's; 3e-4 to 1e-3 and 30 to 100 steps differ by less than .01 mAP on unseen people.
        temperature: of the loss. triplet: weight of the triplet loss beside it; 0: none.
        pull: weight of the squared distance from the start, in units of the start's own square.
    """

    steps: int = 40
    people: int = 12
    clips: int = 4
    crops: int = 3
    rate: float = 5e-4
    temperature: float = 0.15
    triplet: float = 0.0
    pull: float = 30.0


def refine_head(
    material: Material,
    encoder: EncoderDescription,
    start: AlignedParameters,
    *,
    rng: np.random.Generator,
    options: Refinement | None = None,
    should_stop: Callable[[], bool] = lambda: False,
) -> AlignedParameters:
    """The head after `options.steps` steps, or as many as were made before `should_stop`; `start` where no pair is.

    Deterministic for a state of `rng` and a number of threads on a CPU; runs on CUDA where there is a GPU.

    Raises:
        WeightsError: `start` belongs to another encoder.
    """
    options = options or Refinement()
    head = TorchAlignedHead(encoder, start)
    sampler = ClipSampler(material, people=options.people, clips=options.clips, crops=options.crops)
    if len(sampler) < 2:
        return start
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    head.to(device)
    anchor = [value.detach().clone() for value in _learned(head)]
    optimiser = torch.optim.Adam(_learned(head), lr=options.rate)
    for _ in range(options.steps):
        if should_stop():
            break
        batch = sampler.draw(rng)
        vectors = head(*(values.to(device) for values in _features(material, batch)))
        loss = batch_loss(vectors, batch, options.temperature, options.triplet)
        loss = loss + options.pull * _drift(_learned(head), anchor)
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(_learned(head), _CLIPPED)
        optimiser.step()
    return head.to_parameters(f"{start.origin}, refined")


def batch_loss(vectors: Tensor, batch: ClipBatch, temperature: float, triplet: float) -> Tensor:
    """The certain pairs' loss of a batch of vectors (b, D), with `triplet` times the triplet loss."""
    same, different = batch.same.to(vectors.device), batch.different.to(vectors.device)
    loss = certain_pairs_loss(vectors, same, different, temperature)
    return loss + triplet * hardest_triplet_loss(vectors, same, different) if triplet else loss


def _features(material: Material, batch: ClipBatch) -> tuple[Tensor, Tensor]:
    drawn = list(zip(batch.track.tolist(), batch.crops, strict=True))
    stripes = np.stack([material.tracks[track].stripes[crops] for track, crops in drawn])
    energy = np.stack([material.tracks[track].energy[crops] for track, crops in drawn])
    return torch.from_numpy(stripes), torch.from_numpy(energy)


def _learned(head: TorchAlignedHead) -> list[torch.nn.Parameter]:
    return [value for value in head.parameters() if value.requires_grad]


def _drift(values: list[torch.nn.Parameter], anchor: list[Tensor]) -> Tensor:
    """Sum over the parameters of the squared change by the start's mean square."""
    changes = [
        (value - start).square().mean() / start.square().mean().clamp_min(1e-6)
        for value, start in zip(values, anchor, strict=True)
        if value.numel()
    ]
    return torch.stack(changes).sum()

"""What a training is made of: every setting once, with its default. `configs/train.yaml` shows the same ones (tested).

Defaults are the schedule of AP3D (Gu et al., ECCV 2020), as its program has it: Adam, 3e-4, a tenth after 60, 120 and
180 of 240 epochs, batches of 8 people x 4 tracklets x 4 pictures at stride 8, flip and erasing.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

FrameSampling = Literal["restricted", "dense", "even"]
Precision = Literal["auto", "float32", "bfloat16", "float16"]


@dataclass(frozen=True, slots=True)
class PicturesRecipe:
    """What the network is shown.

    Attributes:
        height_px, width_px: of a crop; multiples of 32 and of 16, as the networks reduce by 16 and pool 2 x 2.
        cache_mb: decoded pictures kept in memory.
        readers: threads that read and change pictures ahead of the network; 0: none, when they are needed.
    """

    height_px: int = 256
    width_px: int = 128
    cache_mb: int = 2048
    readers: int = 2


@dataclass(frozen=True, slots=True)
class BatchRecipe:
    """P people x K tracklets x N pictures.

    Attributes:
        unlabelled: tracklets of nobody in particular (id -1) besides, with label -1.
        sampling: which pictures of a tracklet, see `reid.training.samplers.choose_frames`.
        stride: of `dense` sampling.
        accumulate: batches whose gradients are summed before a step.
    """

    people: int = 8
    tracklets: int = 4
    frames: int = 4
    unlabelled: int = 0
    sampling: FrameSampling = "dense"
    stride: int = 8
    accumulate: int = 1


@dataclass(frozen=True, slots=True)
class AugmentRecipe:
    """How pictures are changed; each of the first four is a share of the clips or pictures, 0 switches it off.

    Attributes:
        flip: of the clips, mirrored.
        crop: of the clips, enlarged by `crop_px` on each side (black) and cut out anywhere.
        erase: of the pictures, with a rectangle of `erase_area` of the picture in random colours (Zhong et al., AAAI
            2020).
        camera_style: of the clips, in the colours of another camera (`reid.training.camera_style`).
        jitter: largest change of brightness, contrast, saturation, as a share; 0.2 is usual, 0 is off.
    """

    flip: float = 0.5
    crop: float = 0.0
    crop_px: int = 10
    erase: float = 0.5
    erase_area: tuple[float, float] = (0.02, 0.4)
    camera_style: float = 0.0
    jitter: float = 0.0


@dataclass(frozen=True, slots=True)
class HeadRecipe:
    """What makes one vector of a clip's maps.

    Attributes:
        name: `plain` (the mean, through the backbone's own layer), or of a clip head or a part head.
        stripes: K.
        options: of that head, by its own names.
    """

    name: str = "plain"
    stripes: int = 4
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ModelRecipe:
    """The network.

    Attributes:
        weights: to start from, a file or a name; null: random ones.
        keep_norms: the backbone's batch norms keep their statistics; for weights out of an export, whose norms are
            folded into the convolutions, and for few people.
        freeze: train what stands behind the backbone only; crop features are then made once.
        neck: batch norm between the feature and the classifier (BNNeck, Luo et al., CVPRW 2019).
    """

    backbone: Literal["osnet_x0_25", "osnet_x0_5", "osnet_x0_75", "osnet_x1_0", "resnet50"] = "resnet50"
    weights: str | None = "resnet50_imagenet"
    keep_norms: bool = False
    freeze: bool = False
    neck: bool = True
    head: HeadRecipe = field(default_factory=HeadRecipe)


@dataclass(frozen=True, slots=True)
class LossRecipe:
    """One term of the sum.

    Attributes:
        weight: its factor.
        options: of the loss, by its own names.
    """

    name: str
    weight: float = 1.0
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ScheduleRecipe:
    """How the weights move.

    Attributes:
        epochs: in each, every person is drawn once.
        milestones: epochs after which the rate is multiplied by `factor`.
        stages: epochs after which the next stage of the head's method begins (PCB's refined parts have three).
        warm_up_epochs: over which the rate rises from a hundredth.
        clip_norm: largest norm of the gradient; null: none.
    """

    optimiser: Literal["adam", "sgd"] = "adam"
    rate: float = 3e-4
    weight_decay: float = 5e-4
    epochs: int = 240
    milestones: tuple[int, ...] = (60, 120, 180)
    factor: float = 0.1
    stages: tuple[int, ...] = ()
    warm_up_epochs: int = 0
    clip_norm: float | None = None


@dataclass(frozen=True, slots=True)
class RunRecipe:
    """How a run is kept and watched.

    Attributes:
        precision: of the forward pass; auto: float16 on CUDA, float32 on a CPU.
        save_every_steps: between two saved states to resume from.
        evaluate_every_epochs: on queries and gallery; 0: at the end only.
        tensorboard: write event files, if the package is installed.
    """

    precision: Precision = "auto"
    save_every_steps: int = 200
    evaluate_every_epochs: int = 0
    tensorboard: bool = True


@dataclass(frozen=True, slots=True)
class Recipe:
    """A whole training; the data set, the seed and the device come from the command line."""

    pictures: PicturesRecipe = field(default_factory=PicturesRecipe)
    batch: BatchRecipe = field(default_factory=BatchRecipe)
    augment: AugmentRecipe = field(default_factory=AugmentRecipe)
    model: ModelRecipe = field(default_factory=ModelRecipe)
    losses: tuple[LossRecipe, ...] = (
        LossRecipe("identity", options={"smoothing": 0.1}),
        LossRecipe("trihard", options={"margin": 0.3, "normalise": True}),
    )
    schedule: ScheduleRecipe = field(default_factory=ScheduleRecipe)
    run: RunRecipe = field(default_factory=RunRecipe)

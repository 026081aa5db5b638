"""OSNet (Zhou et al., ICCV 2019) in PyTorch, with the parameter names of torchreid's checkpoints.

Each block sees its input at four scales: streams of one to four light 3x3 convolutions (receptive fields 3, 5, 7, 9)
are summed under a gate that is shared by the streams (section 3.2, the "unified aggregation gate").
"""

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from pipeline.ports import Projection

FEATURE_LENGTH = 512  # of the last, fully connected layer, at every width
STREAMS = 4  # scales of a block
GATE_REDUCTION = 16  # of the channels in the gate's bottleneck

# Channels after the stem and after each of the three stages, per width multiplier (paper, table 1, scaled).
WIDTHS: dict[str, tuple[int, int, int, int]] = {
    "osnet_x0_25": (16, 64, 96, 128),
    "osnet_x0_5": (32, 128, 192, 256),
    "osnet_x0_75": (48, 192, 288, 384),
    "osnet_x1_0": (64, 256, 384, 512),
}


class ConvNormRelu(nn.Module):
    """Convolution, batch norm and, unless `linear`, ReLU."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int = 1, linear: bool = False) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride=stride, padding=kernel // 2, bias=False)
        self.bn = nn.BatchNorm2d(outputs)
        self.relu = nn.Identity() if linear else nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.relu(self.bn(self.conv(x)))


class LightConv(nn.Module):
    """A 1x1 convolution, then a depthwise 3x3 one, batch norm and ReLU (paper, figure 3b)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 1, bias=False)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, groups=channels, bias=False)
        self.bn = nn.BatchNorm2d(channels)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.relu(self.bn(self.conv2(self.conv1(x))))


class ChannelGate(nn.Module):
    """Weighs each channel of a stream, 0 to 1, from the stream's mean (paper, equation 4)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.fc1 = nn.Conv2d(channels, channels // GATE_REDUCTION, 1)
        self.fc2 = nn.Conv2d(channels // GATE_REDUCTION, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        weight = self.fc2(torch.relu(self.fc1(x.mean((2, 3), keepdim=True))))  # (B, C, 1, 1)
        return x * torch.sigmoid(weight)


class OmniScaleBlock(nn.Module):
    """A residual block over four scales."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        middle = outputs // 4
        self.conv1 = ConvNormRelu(inputs, middle, 1)
        self.conv2a = LightConv(middle)
        self.conv2b = nn.Sequential(*(LightConv(middle) for _ in range(2)))
        self.conv2c = nn.Sequential(*(LightConv(middle) for _ in range(3)))
        self.conv2d = nn.Sequential(*(LightConv(middle) for _ in range(STREAMS)))
        self.gate = ChannelGate(middle)
        self.conv3 = ConvNormRelu(middle, outputs, 1, linear=True)
        self.downsample = ConvNormRelu(inputs, outputs, 1, linear=True) if inputs != outputs else None

    def forward(self, x: Tensor) -> Tensor:
        shared = self.conv1(x)
        scales = [stream(shared) for stream in (self.conv2a, self.conv2b, self.conv2c, self.conv2d)]
        mixed = sum((self.gate(scale) for scale in scales), start=torch.zeros_like(shared))
        wide = self.conv3(mixed)  # before the shortcut: an export lists its convolutions in torchreid's order
        shortcut = x if self.downsample is None else self.downsample(x)
        return torch.relu(wide + shortcut)


def _stage(inputs: int, outputs: int, reduce: bool) -> nn.Sequential:
    blocks: list[nn.Module] = [OmniScaleBlock(inputs, outputs), OmniScaleBlock(outputs, outputs)]
    if reduce:
        blocks.append(nn.Sequential(ConvNormRelu(outputs, outputs, 1), nn.AvgPool2d(2)))
    return nn.Sequential(*blocks)


class OSNet(nn.Module):
    """The network up to its last map: (B, 3, 256, 128) RGB in ImageNet normalisation -> (B, C, 16, 8).

    `fc` is not run here: clip heads apply it after fusion (see `projection`).
    """

    def __init__(self, name: str = "osnet_x0_25") -> None:
        super().__init__()
        if name not in WIDTHS:
            raise ValueError(f"name: expected one of {', '.join(WIDTHS)}; got {name!r}")
        stem, first, second, third = WIDTHS[name]
        self.channels = third
        self.conv1 = ConvNormRelu(3, stem, 7, stride=2)
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)
        self.conv2 = _stage(stem, first, reduce=True)
        self.conv3 = _stage(first, second, reduce=True)
        self.conv4 = _stage(second, third, reduce=False)
        self.conv5 = ConvNormRelu(third, third, 1)
        self.fc = nn.Sequential(nn.Linear(third, FEATURE_LENGTH), nn.BatchNorm1d(FEATURE_LENGTH), nn.ReLU(inplace=True))

    def forward(self, x: Tensor) -> Tensor:
        x = self.maxpool(self.conv1(x))  # (B, stem, 64, 32)
        x = self.conv4(self.conv3(self.conv2(x)))  # (B, C, 16, 8)
        return self.conv5(x)

    def projection(self) -> Projection:
        """`fc` with its batch norm folded in: what turns a pooled map into the feature."""
        return fold_projection(self.fc[0], self.fc[1], relu=True)

    def convolutions(self) -> Iterator[tuple[nn.Conv2d, nn.BatchNorm2d | None]]:
        """Every convolution with the batch norm that follows it, in the order in which they first run."""
        yield self.conv1.conv, self.conv1.bn
        for stage in (self.conv2, self.conv3, self.conv4):
            for part in stage:
                if isinstance(part, OmniScaleBlock):
                    yield from _block_convolutions(part)
                else:
                    yield part[0].conv, part[0].bn
        yield self.conv5.conv, self.conv5.bn


def _block_convolutions(block: OmniScaleBlock) -> Iterator[tuple[nn.Conv2d, nn.BatchNorm2d | None]]:
    yield block.conv1.conv, block.conv1.bn
    for light in (block.conv2a, *block.conv2b, *block.conv2c, *block.conv2d):
        yield light.conv1, None
        yield light.conv2, light.bn
    yield block.gate.fc1, None
    yield block.gate.fc2, None
    yield block.conv3.conv, block.conv3.bn
    if block.downsample is not None:
        yield block.downsample.conv, block.downsample.bn


def fold_projection(linear: nn.Linear, norm: nn.BatchNorm1d | None, relu: bool) -> Projection:
    """A linear layer and the batch norm behind it (in inference mode) as one affine map."""
    weight, bias = linear.weight.detach().double(), _bias(linear)
    if norm is not None:
        if norm.running_mean is None or norm.running_var is None:
            raise ValueError("norm: expected a batch norm with running statistics")
        scale = (norm.weight.double() / torch.sqrt(norm.running_var.double() + norm.eps)).detach()
        bias = (bias - norm.running_mean.double()) * scale + norm.bias.detach().double()
        weight = weight * scale[:, None]
    return Projection(weight.float().numpy(), bias.float().numpy(), relu)


def _bias(linear: nn.Linear) -> Tensor:
    if linear.bias is None:
        return torch.zeros(linear.out_features, dtype=torch.float64)
    return linear.bias.detach().double()

"""ResNet-50 without its head and with last stride 1: the backbone of STA, STGCN and the bag of tricks."""

from pathlib import Path

import torch
from torch import Tensor, nn
from torchvision.models import resnet50

from pipeline.ports import Projection
from reid.checkpoints import load_state, read_state
from reid.osnet import fold_projection

CHANNELS = 2048
BNNECK_EPSILON = 1e-5  # PyTorch's default, which the bag of tricks keeps


class ResNet50(nn.Module):
    """(B, 3, 256, 128) RGB in ImageNet normalisation -> (B, 2048, 16, 8).

    Parameters are named as in torchvision, torchreid and, after their prefix, the bag of tricks. Last stride 1 costs
    half as many operations again and is worth about a point of mAP (FACTS, table of item 7).
    """

    channels = CHANNELS

    def __init__(self) -> None:
        super().__init__()
        network = resnet50(weights=None)
        first = network.layer4[0]
        first.conv2.stride = (1, 1)
        first.downsample[0].stride = (1, 1)
        for name in ("conv1", "bn1", "relu", "maxpool", "layer1", "layer2", "layer3", "layer4"):
            self.add_module(name, getattr(network, name))

    def forward(self, x: Tensor) -> Tensor:
        for stage in self.children():  # in the order of their names above
            x = stage(x)
        return x


def load_resnet50(path: Path) -> tuple[ResNet50, Projection | None]:
    """The backbone with a file's weights, and the layer behind the pooling where the file has one.

    Knows torchreid's `resnet50` (no layer: the pooled map is the feature) and `resnet50_fc512` (linear, batch norm,
    ReLU), the bag of tricks (BNNeck, at test time a scale and a shift per channel) and torchvision's ImageNet weights.

    Raises:
        WeightsError: the file does not hold this network.
    """
    state = read_state(path)
    backbone = ResNet50()
    load_state(backbone, state, path)
    return backbone, read_projection(state)


def read_projection(state: dict[str, Tensor]) -> Projection | None:
    """The trained layer between the pooled map and the feature, from a state dict."""
    if {"fc.0.weight", "fc.1.running_var"} <= state.keys():
        outputs, inputs = state["fc.0.weight"].shape
        layers = nn.Sequential(nn.Linear(inputs, outputs), nn.BatchNorm1d(outputs))
        layers.load_state_dict({n.removeprefix("fc."): v for n, v in state.items() if n.startswith(("fc.0.", "fc.1."))})
        return fold_projection(layers[0], layers[1], relu=True)
    if "bottleneck.running_var" in state:
        scale = state["bottleneck.weight"] / torch.sqrt(state["bottleneck.running_var"] + BNNECK_EPSILON)
        shift = state.get("bottleneck.bias", torch.zeros_like(scale)) - state["bottleneck.running_mean"] * scale
        return Projection(torch.diag(scale).numpy(), shift.numpy(), relu=False)
    return None

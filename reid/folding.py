"""Folds batch norms into the convolutions before them: the same network in inference, with fewer passes over memory."""

from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

# Names of a convolution and the batch norm behind it, in OSNet's parts and in ResNet's.
PAIRS = (("conv", "bn"), ("conv2", "bn"), ("conv1", "bn1"), ("conv2", "bn2"), ("conv3", "bn3"), ("0", "1"))


def fold_batch_norms(network: nn.Module) -> nn.Module:
    """Change `network` in place, and return it in inference mode. Training it afterwards makes no sense."""
    network.eval()
    for module in list(network.modules()):
        for conv_name, norm_name in PAIRS:
            conv, norm = getattr(module, conv_name, None), getattr(module, norm_name, None)
            if isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
                setattr(module, conv_name, fuse_conv_bn_eval(conv, norm))
                setattr(module, norm_name, nn.Identity())
    return network

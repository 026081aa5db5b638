"""ResNet-50 as a re-ID backbone, with random weights."""

import numpy as np
import pytest
import torch
from reid_examples import noise_frame
from torchvision.models import resnet50

from pipeline.errors import WeightsError
from reid.encoder import TorchCropEncoder
from reid.resnet import ResNet50, load_resnet50


@pytest.fixture(scope="module")
def network() -> torch.nn.Module:
    torch.manual_seed(0)
    return resnet50(weights=None).eval()


def test_the_last_stride_of_one_keeps_sixteen_rows(network):
    backbone = ResNet50().eval()
    backbone.load_state_dict({n: v for n, v in network.state_dict().items() if not n.startswith("fc.")})
    with torch.inference_mode():
        assert backbone(torch.zeros(1, 3, 256, 128)).shape == (1, 2048, 16, 8)


def test_only_the_last_stage_differs_from_torchvision(network):
    backbone = ResNet50().eval()
    backbone.load_state_dict({n: v for n, v in network.state_dict().items() if not n.startswith("fc.")})
    pictures = torch.randn(1, 3, 64, 32, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        ours = network.maxpool(network.relu(network.bn1(network.conv1(pictures))))
        theirs = ours.clone()
        for name in ("layer1", "layer2", "layer3"):
            ours, theirs = getattr(backbone, name)(ours), getattr(network, name)(theirs)
        assert torch.equal(ours, theirs)
        assert backbone.layer4(ours).shape[2] == 2 * network.layer4(theirs).shape[2]


def test_plain_weights_have_no_layer_behind_the_pooling(network, tmp_path):
    torch.save(network.state_dict(), tmp_path / "resnet50.pth")  # torchvision's, with its classifier `fc`
    backbone, projection = load_resnet50(tmp_path / "resnet50.pth")
    assert projection is None
    assert torch.equal(backbone.layer4[2].conv3.weight, network.layer4[2].conv3.weight)


def test_the_bag_of_tricks_neck_becomes_a_scale_and_a_shift(network, tmp_path):
    neck = torch.nn.BatchNorm1d(2048).eval()
    neck.running_mean.normal_(generator=torch.Generator().manual_seed(2))
    neck.running_var.uniform_(0.5, 2, generator=torch.Generator().manual_seed(3))
    state = {f"base.{n}": v for n, v in network.state_dict().items() if not n.startswith("fc.")}
    state |= {f"bottleneck.{n}": v for n, v in neck.state_dict().items()}
    torch.save(state, tmp_path / "bag.pth")
    _, projection = load_resnet50(tmp_path / "bag.pth")
    pooled = torch.randn(3, 2048, generator=torch.Generator().manual_seed(4))
    with torch.inference_mode():
        expected = neck(pooled).numpy()
    assert projection is not None and not projection.relu
    np.testing.assert_allclose(pooled.numpy() @ projection.weight.T + projection.bias, expected, atol=1e-5)


def test_the_512_variant_of_torchreid_brings_its_layer(network, tmp_path):
    layers = torch.nn.Sequential(torch.nn.Linear(2048, 512), torch.nn.BatchNorm1d(512)).eval()
    state = {n: v for n, v in network.state_dict().items() if not n.startswith("fc.")}
    state |= {f"fc.{n}": v for n, v in layers.state_dict().items() if not n.endswith("num_batches_tracked")}
    torch.save(state, tmp_path / "fc512.pth")
    _, projection = load_resnet50(tmp_path / "fc512.pth")
    pooled = torch.randn(3, 2048, generator=torch.Generator().manual_seed(4))
    with torch.inference_mode():
        expected = layers(pooled).relu().numpy()
    assert projection is not None and projection.relu
    got = np.maximum(pooled.numpy() @ projection.weight.T + projection.bias, 0)
    np.testing.assert_allclose(got, expected, atol=1e-5)


def test_weights_of_another_network_are_refused(tmp_path):
    torch.save({"conv1.conv.weight": torch.zeros(16, 3, 7, 7)}, tmp_path / "osnet.pth")
    with pytest.raises(WeightsError, match="not weights of ResNet50"):
        load_resnet50(tmp_path / "osnet.pth")


def test_it_encodes_stripes_of_2048_channels():
    encoder = TorchCropEncoder(ResNet50(), None, "resnet@1", stripes=2, device="cpu")
    features = encoder.encode([noise_frame()], [np.array([[10, 10, 90, 200]], np.float32)])
    assert features[0][0].stripes.shape == (2, 2048)
    assert (features[0][0].energy > 0).all()


def test_half_precision_keeps_the_map_close():
    torch.manual_seed(0)
    pictures = torch.randn(1, 3, 64, 32)
    backbone = ResNet50().eval()
    with torch.inference_mode():
        whole = backbone(pictures)
        half = backbone.half().to(memory_format=torch.channels_last)(pictures.half())
    assert half.dtype == torch.float16
    assert torch.nn.functional.cosine_similarity(whole.flatten(), half.float().flatten(), dim=0) > 0.999

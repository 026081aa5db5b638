"""One contract for every crop encoder, and parity between the two runtimes."""

import subprocess
import sys

import numpy as np
import pytest
import torch
from reid_examples import frame_of, noise_frame

from pipeline.config import ReidConfig
from pipeline.errors import ConfigError, WeightsError
from pipeline.types import CropFeature, Frame
from reid.checkpoints import load_osnet
from reid.crop_input import CropInput
from reid.crops import cut_crops
from reid.encoder import TorchCropEncoder, choose_device
from reid.exported import ExportNotes
from reid.handcrafted import HandcraftedEncoder
from reid.load import load_encoder, load_head
from reid.onnx_encoder import OnnxCropEncoder
from reid.osnet import OSNet

BOXES = np.array([[20, 10, 100, 220], [150, 30, 210, 200], [90.4, 0.2, 140.7, 120.9]], np.float32)


def random_osnet(stripes: int = 4) -> TorchCropEncoder:
    torch.manual_seed(1)
    model = OSNet()
    return TorchCropEncoder(model, model.projection(), "random@1", stripes, "cpu")


@pytest.fixture(scope="module")
def exported_osnet(tmp_path_factory):
    """The random OSNet in ONNX, so that the runtimes are tested without downloaded weights as well."""
    onnx = pytest.importorskip("onnx")
    from reid.onnx_writer import write_onnx

    torch.manual_seed(1)
    model = OSNet()
    path = tmp_path_factory.mktemp("export") / "osnet.onnx"
    onnx.save(write_onnx(model, model.projection(), ExportNotes("random@1", CropInput())), path)
    return path


@pytest.fixture(scope="module", params=["handcrafted", "torch", "onnxruntime", "openvino"])
def encoder(request):
    if request.param == "handcrafted":
        return HandcraftedEncoder()
    if request.param == "torch":
        return random_osnet()
    pytest.importorskip(request.param)
    config = ReidConfig(backbone="osnet_x0_25", device="cpu")
    return load_encoder(config, request.getfixturevalue("exported_osnet"), runtime=request.param)


def assert_close(a: CropFeature, b: CropFeature, tolerance: float = 1e-4) -> None:
    np.testing.assert_allclose(a.stripes, b.stripes, atol=tolerance * max(1.0, float(np.abs(b.stripes).max())))
    np.testing.assert_allclose(a.energy, b.energy, rtol=tolerance)


def test_features_nest_like_the_boxes_and_match_the_description(encoder):
    frames = [noise_frame(seed=1), noise_frame(seed=2), noise_frame(seed=3)]
    features = encoder.encode(frames, [BOXES[:2], BOXES[:0], BOXES[2:]])
    assert [len(f) for f in features] == [2, 0, 1]
    described = encoder.describe()
    for feature in (f for of_frame in features for f in of_frame):
        assert feature.stripes.shape == (described.stripes, described.channels)
        assert feature.energy.shape == (described.stripes,)
        assert feature.model_id == described.model_id
        assert (feature.energy > 0).all() and np.isfinite(feature.stripes).all()


def test_nothing_to_encode_gives_nothing(encoder):
    assert encoder.encode([], []) == []
    assert encoder.encode([noise_frame()], [np.zeros((0, 4), np.float32)]) == [[]]


def test_a_batch_equals_its_crops_one_by_one(encoder):
    frame = noise_frame()
    together = encoder.encode([frame], [BOXES])[0]
    for box, feature in zip(BOXES, together, strict=True):
        assert_close(encoder.encode([frame], [box[None]])[0][0], feature)


def test_more_crops_than_one_pass_takes_keep_their_order(encoder, monkeypatch):
    frame = noise_frame()
    first, last = encoder.encode([frame], [BOXES[:2]])[0]
    monkeypatch.setattr("reid.encoder.MAX_BATCH", 2)
    monkeypatch.setattr(encoder, "max_batch", 2, raising=False)
    features = encoder.encode([frame], [BOXES[[0, 0, 0, 0, 1]]])[0]
    assert len(features) == 5
    for feature in features[:4]:
        assert_close(feature, first)
    assert_close(features[4], last)


def test_two_runs_agree_to_the_bit(encoder):
    frame = noise_frame()
    one, two = encoder.encode([frame], [BOXES])[0], encoder.encode([frame], [BOXES])[0]
    assert all(np.array_equal(a.stripes, b.stripes) for a, b in zip(one, two, strict=True))


def test_a_box_over_the_edge_counts_only_inside(encoder):
    frame = noise_frame(240, 320)
    over, inside = np.array([[-40, -30, 60, 150], [0, 0, 60, 150]], np.float32)
    a, b = encoder.encode([frame], [np.stack([over, inside])])[0]
    assert_close(a, b)


def test_a_box_without_a_pixel_in_the_picture_gets_zeros(encoder):
    frame = noise_frame(240, 320)
    boxes = np.array([[400, 0, 500, 200], [-90, 10, -10, 90], [50, 50, 50, 120], [80, 90, 60, 100]], np.float32)
    features = encoder.encode([frame], [np.concatenate([boxes, BOXES])])[0]
    for feature in features[: len(boxes)]:
        assert not feature.stripes.any() and not feature.energy.any()
    assert all(feature.energy.all() for feature in features[len(boxes) :])


def test_features_carry_the_time_of_their_frame(encoder):
    frames = [frame_of(noise_frame().image, at_s) for at_s in (5.0, 7.5)]
    features = encoder.encode(frames, [BOXES[:1], BOXES[:1]])
    assert [of_frame[0].captured_at_s for of_frame in features] == [5.0, 7.5]


def test_frames_of_different_size_go_into_one_call(encoder):
    frames = [noise_frame(240, 320), noise_frame(480, 640)]
    together = encoder.encode(frames, [BOXES[:1], BOXES[:1]])
    for frame, of_frame in zip(frames, together, strict=True):
        assert_close(encoder.encode([frame], [BOXES[:1]])[0][0], of_frame[0])


def test_a_missing_array_of_boxes_is_refused(encoder):
    with pytest.raises(ValueError, match=r"one array per frame \(2\), got 1"):
        encoder.encode([noise_frame(), noise_frame()], [BOXES])


def test_stripes_must_divide_the_map():
    with pytest.raises(ConfigError, match="16 rows; use 1, 2, 4, 8, 16, not 3"):
        random_osnet(stripes=3)
    with pytest.raises(ConfigError, match="8 rows"):
        HandcraftedEncoder(stripes=16)


def test_one_stripe_is_the_mean_of_several():
    frame = noise_frame()
    whole = random_osnet(stripes=1).encode([frame], [BOXES])[0]
    parts = random_osnet(stripes=8).encode([frame], [BOXES])[0]
    for a, b in zip(whole, parts, strict=True):
        np.testing.assert_allclose(a.stripes[0], b.stripes.mean(axis=0), atol=1e-5)
        np.testing.assert_allclose(a.energy[0], b.energy.sum(), rtol=1e-5)


def test_crops_are_cut_where_the_box_is():
    image = np.zeros((100, 100, 3), np.uint8)
    image[20:80, 30:60] = (10, 20, 30)
    crops, seen = cut_crops([Frame("c", "1", 0, 0.0, image)], [np.array([[30, 20, 60, 80]], np.float32)])
    assert seen.tolist() == [True]
    assert crops.shape == (1, 256, 128, 3)
    assert (crops[0] == (10, 20, 30)).all()


@pytest.mark.parametrize("name", ["cuda:99", "tpu", "nonsense", "meta"])
def test_a_device_that_is_not_there_is_a_config_error(name):
    with pytest.raises(ConfigError, match=r"reid\.device"):
        choose_device(name)


def test_the_two_runtimes_agree(osnet_onnx):
    pytest.importorskip("onnxruntime")
    config = ReidConfig(backbone="osnet_x0_25", device="cpu")
    fast = load_encoder(config, osnet_onnx)
    plain = load_encoder(config, osnet_onnx, runtime="torch")
    assert isinstance(fast, OnnxCropEncoder) and isinstance(plain, TorchCropEncoder)
    assert fast.describe().model_id == plain.describe().model_id
    np.testing.assert_allclose(fast.describe().projection.weight, plain.describe().projection.weight, rtol=1e-5)
    frame = noise_frame()
    for a, b in zip(fast.encode([frame], [BOXES])[0], plain.encode([frame], [BOXES])[0], strict=True):
        assert_close(a, b)
        both = [load_head(config, plain.describe()).fuse([feature]).embedding for feature in (a, b)]
        np.testing.assert_allclose(both[0], both[1], atol=1e-4)


def test_mean_fusion_of_one_crop_is_the_exported_networks_own_output(osnet_onnx):
    onnxruntime = pytest.importorskip("onnxruntime")
    frame = noise_frame()
    crops, _ = cut_crops([frame], [BOXES[:1]])
    session = onnxruntime.InferenceSession(str(osnet_onnx), providers=["CPUExecutionProvider"])
    expected = session.run(None, {session.get_inputs()[0].name: CropInput().normalise(crops)})[0][0]
    config = ReidConfig(backbone="osnet_x0_25", head="mean", device="cpu")
    encoder = load_encoder(config, osnet_onnx, runtime="torch")
    fused = load_head(config, encoder.describe()).fuse(encoder.encode([frame], [BOXES[:1]])[0])
    np.testing.assert_allclose(fused.embedding, expected / np.linalg.norm(expected), atol=1e-4)


def test_a_checkpoint_goes_through_pytorch(tmp_path):
    torch.save(OSNet("osnet_x0_25").state_dict(), tmp_path / "own.pth")
    config = ReidConfig(backbone="osnet_x0_25", device="cpu")
    encoder = load_encoder(config, tmp_path / "own.pth")
    assert isinstance(encoder, TorchCropEncoder)
    assert encoder.describe().model_id.startswith("custom-own@")
    with pytest.raises(ConfigError, match=r"onnxruntime cannot run own\.pth, torch can"):
        load_encoder(config, tmp_path / "own.pth", runtime="onnxruntime")


def test_a_checkpoint_loads_with_its_batch_norms_folded_and_computes_the_same(tmp_path):
    torch.manual_seed(2)
    model = OSNet("osnet_x0_5").eval()
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.2)
            module.running_var.uniform_(0.5, 2)
    torch.save(model.state_dict(), tmp_path / "own.pth")
    folded = load_encoder(ReidConfig(backbone="osnet_x0_5", device="cpu"), tmp_path / "own.pth")
    plain = TorchCropEncoder(model, model.projection(), "plain@1", device="cpu")
    for a, b in zip(folded.encode([noise_frame()], [BOXES])[0], plain.encode([noise_frame()], [BOXES])[0], strict=True):
        assert_close(a, b)


def test_choices_that_cannot_be_made_are_clear_errors():
    with pytest.raises(WeightsError, match="osnet_x0_25 needs weights"):
        load_encoder(ReidConfig(backbone="osnet_x0_25"))
    with pytest.raises(ConfigError, match="auto must be settled"):
        load_encoder(ReidConfig(backbone="auto"))


def test_an_onnx_file_of_another_kind_is_refused(tmp_path):
    onnx = pytest.importorskip("onnx")
    value = onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [1, 3])
    out = onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [1, 3])
    graph = onnx.helper.make_graph([onnx.helper.make_node("Relu", ["x"], ["y"])], "g", [value], [out])
    onnx.save(onnx.helper.make_model(graph), tmp_path / "relu.onnx")
    with pytest.raises(WeightsError, match=r"expected crops \(batch, 3, height, width\)"):
        OnnxCropEncoder(tmp_path / "relu.onnx", "relu@1")
    with pytest.raises(WeightsError, match=r"expected \d+ convolutions of OSNet, found 0"):
        load_osnet("osnet_x0_25", tmp_path / "relu.onnx")


def test_heads_weights_and_the_fallback_do_not_import_torch():
    code = (
        "import sys, reid.heads, reid.handcrafted, reid.weights, reid.catalogue, reid.load, reid.onnx_encoder\n"
        "from pipeline.config import ReidConfig\n"
        "reid.load.load_encoder(ReidConfig(backbone='handcrafted'))\n"
        "print([m for m in ('torch', 'torchvision', 'ultralytics') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert (done.stdout.strip(), done.stderr) == ("[]", "")

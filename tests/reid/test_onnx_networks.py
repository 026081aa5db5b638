"""Any re-ID network in ONNX whose last map feeds an average pooling is cut there, whatever wrote the file."""

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

from onnx_examples import (  # noqa: E402
    ANY,
    CHANNELS,
    FLATTENINGS,
    GEMM,
    HEIGHT_PX,
    LENGTH,
    POOLINGS,
    SMALL_BOXES,
    TAILS,
    WIDTH_PX,
    Network,
    int64,
    mean_features,
    own_features,
    save_network,
    small_frame,
    tiny_network,
    weights,
)

from pipeline.errors import ConfigError, WeightsError  # noqa: E402
from reid.crop_input import CropInput  # noqa: E402
from reid.crops import pool_stripes  # noqa: E402
from reid.load import load_encoder  # noqa: E402
from reid.onnx_encoder import OnnxCropEncoder  # noqa: E402

SMALL = CropInput(HEIGHT_PX, WIDTH_PX)


def assert_same_features(path, crop_input=SMALL, output=None, tolerance=2e-6):
    encoder = load_encoder(ANY, path)
    assert isinstance(encoder, OnnxCropEncoder)
    np.testing.assert_allclose(mean_features(encoder), own_features(path, crop_input, output), atol=tolerance)
    return encoder


@pytest.mark.parametrize("batch", [1, "batch"])
@pytest.mark.parametrize("pooling", POOLINGS)
def test_every_way_of_pooling_is_found(tmp_path, pooling, batch):
    encoder = assert_same_features(save_network(tiny_network(pooling), tmp_path / "net.onnx", batch))
    assert encoder.max_batch > 1


@pytest.mark.parametrize("tail", TAILS)
def test_every_linear_end_becomes_the_projection(tmp_path, tail):
    encoder = assert_same_features(save_network(tiny_network(tail=tail), tmp_path / "net.onnx"))
    projection = encoder.describe().projection
    assert (projection is None) == (tail == "nothing")
    assert projection is None or projection.relu == ("relu" in tail)


@pytest.mark.parametrize("flattening", [name for name in FLATTENINGS if name != "nothing"])
@pytest.mark.parametrize("pooling", ["global average pool", "reduce mean from the end, without axes kept"])
def test_every_way_of_flattening_takes_batches(tmp_path, flattening, pooling):
    network = tiny_network(pooling, flattening=flattening)
    encoder = assert_same_features(save_network(network, tmp_path / "net.onnx"))
    assert encoder.max_batch > 1


def test_reduce_mean_with_its_axes_as_an_input_is_found(tmp_path):
    network = Network()
    network.body()
    network.add("ReduceMean", [int64(2, 3)], {"keepdims": 0})
    network.add(*GEMM)
    assert_same_features(save_network(network, tmp_path / "net.onnx", opset=18))


def test_weights_may_lie_in_constant_nodes(tmp_path):
    assert_same_features(save_network(tiny_network(constants_as_nodes=True), tmp_path / "net.onnx"))


@pytest.mark.parametrize("of", ["images", "the map", "the pooled map"])
def test_a_shape_that_is_computed_when_it_runs_is_no_obstacle(tmp_path, of):
    network = Network()
    network.body()
    maps = network.last
    network.add("GlobalAveragePool")
    pooled = network.last
    asked = {"images": "images", "the map": maps, "the pooled map": pooled}[of]
    network.nodes.append(onnx.helper.make_node("Shape", [asked], ["shape"]))
    network.nodes.append(onnx.helper.make_node("Gather", ["shape", network.constant(int64(0))], ["batch"], axis=0))
    network.nodes.append(onnx.helper.make_node("Concat", ["batch", network.constant(int64(-1))], ["flat"], axis=0))
    network.nodes.append(onnx.helper.make_node("Reshape", [pooled, "flat"], ["vector"]))
    network.last = "vector"
    network.add(*GEMM)
    assert_same_features(save_network(network, tmp_path / "net.onnx", "batch"))


def test_an_old_file_that_lists_its_weights_as_inputs_is_read(tmp_path):
    model = tiny_network().model()
    for tensor in model.graph.initializer:
        model.graph.input.append(onnx.helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims))
    model.ir_version = 3
    onnx.save(model, tmp_path / "net.onnx")
    assert_same_features(tmp_path / "net.onnx")


def test_half_precision_networks_run(tmp_path):
    path = save_network(tiny_network(dtype=np.float16), tmp_path / "net.onnx", "batch")
    assert_same_features(path, tolerance=2e-3)


def test_a_reshape_with_a_built_in_batch_before_the_map_is_freed(tmp_path):
    network = Network()
    network.add("Conv", [weights(CHANNELS, 3, 4, 4)], {"strides": [4, 4]})
    network.add("Reshape", [int64(1, 2, CHANNELS // 2, -1)])
    network.add("Reshape", [int64(1, CHANNELS, 16, 8)])
    network.steps([("Relu", [], {}), ("GlobalAveragePool", [], {})])
    encoder = assert_same_features(save_network(network, tmp_path / "net.onnx"))
    assert encoder.max_batch > 1


def test_a_network_that_cannot_be_freed_of_its_batch_runs_crop_by_crop(tmp_path, caplog):
    network = Network()
    network.add("Conv", [weights(CHANNELS, 3, 4, 4)], {"strides": [4, 4]})
    network.add("Reshape", [int64(CHANNELS, 16, 8)])  # the batch is gone
    network.add("Reshape", [int64(1, CHANNELS, 16, 8)])
    network.steps([("Relu", [], {}), ("GlobalAveragePool", [], {}), ("Reshape", [int64(CHANNELS)], {})])
    network.add("Reshape", [int64(1, CHANNELS)])
    network.add(*GEMM)
    encoder = assert_same_features(save_network(network, tmp_path / "net.onnx"))
    assert encoder.max_batch == 1
    assert "one crop a pass" in caplog.text


def test_crops_that_change_each_other_in_a_batch_are_not_batched(tmp_path):
    network = Network()
    network.body()
    maps = network.last
    network.add("ReduceMean", [], {"axes": [0], "keepdims": 1})  # over the batch
    network.by_kind["maps"] = maps
    network.add("Add", ["<maps>"])
    network.steps([("GlobalAveragePool", [], {}), ("Flatten", [], {})])
    encoder = assert_same_features(save_network(network, tmp_path / "fixed.onnx"))
    assert encoder.max_batch == 1
    with pytest.raises(WeightsError, match="crops of one batch change each other"):
        load_encoder(ANY, save_network(network, tmp_path / "free.onnx", "batch"))


def test_a_batch_of_several_that_is_built_in_is_refused(tmp_path):
    network = Network()
    network.add("Conv", [weights(CHANNELS, 3, 4, 4)], {"strides": [4, 4]})
    network.steps([("Reshape", [int64(4 * CHANNELS, 16, 8)], {}), ("Reshape", [int64(4, CHANNELS, 16, 8)], {})])
    network.steps([("GlobalAveragePool", [], {}), ("Flatten", [], {})])
    with pytest.raises(WeightsError, match="batches of any size"):
        load_encoder(ANY, save_network(network, tmp_path / "net.onnx", 4))


def test_stripes_and_energies_are_those_of_the_map(tmp_path):
    network = tiny_network()
    path = save_network(network, tmp_path / "net.onnx", "batch", outputs=[network.by_kind["Relu"]])
    encoder = OnnxCropEncoder(save_network(tiny_network(), tmp_path / "cut.onnx"), "net@1", stripes=8)
    maps = own_maps(path)
    means, energy = pool_stripes(maps, 8)
    features = encoder.encode([small_frame()], [SMALL_BOXES])[0]
    np.testing.assert_allclose(np.stack([f.stripes for f in features]), means, atol=1e-5)
    np.testing.assert_allclose(np.stack([f.energy for f in features]), energy, rtol=1e-5)
    assert encoder.describe().projection.weight.shape == (LENGTH, CHANNELS)


def own_maps(path):
    import onnxruntime

    from reid.crops import cut_crops

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    crops, _ = cut_crops([small_frame()], [SMALL_BOXES], HEIGHT_PX, WIDTH_PX)
    return session.run(None, {"images": SMALL.normalise(crops)})[0]


@pytest.mark.parametrize("stripes", [0, 3, 32])
def test_stripes_that_do_not_divide_the_map_are_refused_with_those_that_do(tmp_path, stripes):
    path = save_network(tiny_network(), tmp_path / "net.onnx")
    with pytest.raises(ConfigError, match="16 rows; use 1, 2, 4, 8, 16, not"):
        OnnxCropEncoder(path, "net@1", stripes=stripes)


@pytest.mark.parametrize(
    ("kind", "pixel_range", "mean", "std"),
    [
        ("Rgb8", "Normalized_0_1", (0.0,) * 3, (1.0,) * 3),
        ("Bgr8", "NominalRange_0_255", (0.0,) * 3, (1 / 255,) * 3),
        ("Bgr8", "Normalized_1_1", (0.5,) * 3, (0.5,) * 3),
    ],
)
def test_what_the_file_says_of_its_pixels_is_done(tmp_path, kind, pixel_range, mean, std):
    metadata = {"Image.BitmapPixelFormat": kind, "Image.NominalPixelRange": pixel_range}
    path = save_network(tiny_network(), tmp_path / "net.onnx", **metadata)
    stated = CropInput(HEIGHT_PX, WIDTH_PX, mean, std, "bgr" if kind == "Bgr8" else "rgb")
    assert assert_same_features(path, stated, tolerance=2e-5).crop_input == stated


def test_without_a_word_of_it_pixels_are_rgb_in_imagenet_normalisation(tmp_path):
    assert assert_same_features(save_network(tiny_network(), tmp_path / "net.onnx")).crop_input == SMALL


def test_a_pixel_range_that_nobody_knows_is_refused(tmp_path):
    path = save_network(tiny_network(), tmp_path / "net.onnx", **{"Image.NominalPixelRange": "NominalRange_16_235"})
    with pytest.raises(WeightsError, match="NominalRange_16_235"):
        load_encoder(ANY, path)


def refusal(tmp_path, steps, **options):
    network = Network()
    network.body()
    network.steps(steps)
    with pytest.raises(WeightsError) as caught:
        load_encoder(ANY, save_network(network, tmp_path / "net.onnx", **options))
    assert "\n" not in str(caught.value) and "net.onnx" in str(caught.value)
    return str(caught.value)


FLAT_POOL = [("GlobalAveragePool", [], {}), ("Flatten", [], {})]


@pytest.mark.parametrize("kind", ["Sigmoid", "Tanh", "Elu"])
def test_what_is_not_linear_is_refused_by_its_name(tmp_path, kind):
    text = refusal(tmp_path, [*FLAT_POOL, (kind, [], {}), GEMM])
    assert f"cannot follow {kind} '{kind}_" in text and "before Gemm" in text


def test_a_slope_below_zero_is_refused_by_its_name(tmp_path):
    assert "cannot follow PRelu" in refusal(tmp_path, [*FLAT_POOL, GEMM, ("PRelu", [np.float32([0.2])], {})])


def test_a_relu_between_linear_layers_is_refused(tmp_path):
    text = refusal(tmp_path, [*FLAT_POOL, GEMM, ("Relu", [], {}), ("Mul", [weights(LENGTH)], {})])
    assert "cannot follow Relu" in text and "before Mul" in text


@pytest.mark.parametrize("steps", [[("GlobalMaxPool", [], {})], [("MaxPool", [], {"kernel_shape": [16, 8]})]])
def test_pooling_by_the_maximum_is_refused_with_the_reason(tmp_path, steps):
    assert "by its maximum" in refusal(tmp_path, [*steps, ("Flatten", [], {}), GEMM])


def test_average_and_maximum_together_are_refused(tmp_path):
    network = Network()
    network.body()
    network.by_kind["map"] = network.last
    network.by_kind["average"] = network.add("GlobalAveragePool")
    network.last = network.by_kind["map"]
    network.add("GlobalMaxPool")
    network.steps([("Add", ["<average>"], {}), ("Flatten", [], {})])
    with pytest.raises(WeightsError, match="cannot follow Add"):
        load_encoder(ANY, save_network(network, tmp_path / "net.onnx"))


def test_a_pooling_over_parts_of_the_map_is_refused(tmp_path):
    steps = [("AveragePool", [], {"kernel_shape": [4, 8], "strides": [4, 8]}), ("Flatten", [], {})]
    assert "not into one value a channel" in refusal(tmp_path, steps)


def test_a_pooling_over_rows_and_channels_is_refused(tmp_path):
    steps = [("Transpose", [], {"perm": [0, 2, 3, 1]}), ("ReduceMean", [], {"axes": [1, 2], "keepdims": 0})]
    assert "not into one value a channel" in refusal(tmp_path, steps)


def test_a_network_without_a_pooling_is_refused(tmp_path):
    text = refusal(tmp_path, [("Flatten", [], {}), ("Gemm", [weights(CHANNELS * 128, LENGTH)], {})])
    assert "global average pooling" in text


def test_the_feature_is_taken_and_the_classes_made_from_it_are_left(tmp_path):
    network = tiny_network()
    feature = network.last
    network.add("Relu")
    network.add("Gemm", [weights(LENGTH, 9)])
    path = save_network(network, tmp_path / "net.onnx", outputs=[network.last, feature])
    assert_same_features(path, output=feature)


def test_of_two_linear_outputs_the_one_that_the_other_is_made_from_is_the_feature(tmp_path):
    network = tiny_network()
    feature = network.last
    network.add("Gemm", [weights(LENGTH, 9)])
    for outputs in ([network.last, feature], [feature, network.last]):
        path = save_network(network, tmp_path / "net.onnx", outputs=outputs)
        assert assert_same_features(path, output=feature).describe().projection.weight.shape == (LENGTH, CHANNELS)


@pytest.mark.parametrize("bias", [False, True])
def test_a_classifier_under_a_softmax_is_left_out(tmp_path, bias):
    network = tiny_network()
    feature = network.last
    network.add("MatMul", [weights(LENGTH, 9)])
    if bias:
        network.add("Add", [weights(9)])
    network.add("Softmax")
    path = save_network(network, tmp_path / "net.onnx")
    with_feature = save_network(network, tmp_path / "both.onnx", outputs=[feature])
    expected = own_features(with_feature, SMALL)
    np.testing.assert_allclose(mean_features(load_encoder(ANY, path)), expected, atol=2e-6)


def test_a_layer_that_is_called_classifier_is_left_out(tmp_path):
    network = tiny_network()
    feature = network.last
    network.initializers.append(onnx.numpy_helper.from_array(weights(LENGTH, 9), "module.classifier.weight"))
    network.nodes.append(onnx.helper.make_node("MatMul", [feature, "module.classifier.weight"], ["classes"]))
    network.last = "classes"
    path = save_network(network, tmp_path / "net.onnx")
    with_feature = save_network(network, tmp_path / "both.onnx", outputs=[feature])
    np.testing.assert_allclose(mean_features(load_encoder(ANY, path)), own_features(with_feature, SMALL), atol=2e-6)


def test_two_pictures_as_input_are_refused(tmp_path):
    model = tiny_network().model()
    model.graph.input.append(onnx.helper.make_tensor_value_info("other", onnx.TensorProto.FLOAT, [1, 3, 64, 32]))
    onnx.save(model, tmp_path / "net.onnx")
    with pytest.raises(WeightsError, match="expected one input"):
        load_encoder(ANY, tmp_path / "net.onnx")


@pytest.mark.parametrize("shape", [[1, 64, 32, 3], [1, 3], [1, 1, 64, 32]])
def test_an_input_of_another_shape_is_refused(tmp_path, shape):
    model = tiny_network().model()
    del model.graph.input[:]
    model.graph.input.append(onnx.helper.make_tensor_value_info("images", onnx.TensorProto.FLOAT, shape))
    onnx.save(model, tmp_path / "net.onnx")
    with pytest.raises(WeightsError, match=r"expected crops \(batch, 3, height, width\)"):
        load_encoder(ANY, tmp_path / "net.onnx")


def test_weights_beside_the_file_are_read_from_the_usual_place_only(tmp_path):
    network = tiny_network()
    expected = mean_features(load_encoder(ANY, save_network(network, tmp_path / "whole.onnx")))
    options = {"save_as_external_data": True, "size_threshold": 0}
    onnx.save(network.model(), tmp_path / "net.onnx", location="net.onnx.data", **options)
    np.testing.assert_array_equal(mean_features(load_encoder(ANY, tmp_path / "net.onnx")), expected)
    onnx.save(network.model(), tmp_path / "odd.onnx", location="elsewhere.bin", **options)
    with pytest.raises(WeightsError, match=r"elsewhere\.bin; save it as one file"):
        load_encoder(ANY, tmp_path / "odd.onnx")
    (tmp_path / "net.onnx.data").unlink()
    with pytest.raises(WeightsError, match=r"net\.onnx"):
        load_encoder(ANY, tmp_path / "net.onnx")


def test_the_file_must_fit_the_backbone_that_was_named(tmp_path):
    from pipeline.config import ReidConfig

    path = save_network(tiny_network(), tmp_path / "net.onnx")
    with pytest.raises(WeightsError, match=r"6 channels, that of osnet_x0_25 128.*`onnx`"):
        load_encoder(ReidConfig(backbone="osnet_x0_25", device="cpu"), path)

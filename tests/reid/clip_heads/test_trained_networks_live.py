"""What `train` leaves, network and head, is what a configuration that names the two files runs live."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from pipeline.config import ReidConfig
from pipeline.errors import ConfigError, WeightsError
from pipeline.types import Frame
from reid.load import load_encoder, load_head, settle_head
from reid.training.live import HEAD_FILE, MODEL_FILE, load_trained_encoder, save_trained
from reid.training.model import ReidModel
from reid.training.reading import parse_recipe
from reid.training.state import Progress
from reid.weights import model_id

RECIPE = """
pictures: {{height_px: 64, width_px: 32}}
model: {{backbone: osnet_x0_25, weights: null, head: {{name: {name}, stripes: 4{more}}}}}
losses: [{{name: {loss}}}]
"""


def written(folder: Path, name: str, more: str = "", stage: int = 0) -> ReidConfig:
    """The files of a network with random weights in that stage, and the configuration that names them."""
    torch.manual_seed(0)
    loss = "own" if name in ("pcb", "scpnet") else "identity"
    model = ReidModel(parse_recipe(RECIPE.format(name=name, more=more, loss=loss)), people=3).eval()
    model.begin_stage(stage)
    save_trained(folder, model, Progress(0, 1, "", {}), 3, "a test")
    return ReidConfig(
        backbone="osnet_x0_25", weights=str(folder / MODEL_FILE), head=name, head_weights=str(folder / HEAD_FILE)
    )


def crop(seed: int = 0) -> tuple[Frame, np.ndarray]:
    image = np.random.default_rng(seed).integers(0, 256, (200, 120, 3), np.uint8)
    return Frame("door", "1", 0, 0.0, image), np.array([[10, 20, 70, 180]], np.float32)


@pytest.mark.parametrize("name", ["stgcn", "temporal", "pcb", "scpnet"])
def test_network_and_head_of_a_training_run_live_with_the_crops_of_its_recipe(name, tmp_path):
    config = written(tmp_path, name)
    weights = Path(config.weights)
    settled = settle_head(config, model_id(weights))
    encoder = load_encoder(settled, weights)
    features = [encoder.encode([frame], [box])[0][0] for frame, box in (crop(0), crop(1))]
    own = load_trained_encoder(weights, settled.stripes)
    for seed, feature in enumerate(features):
        frame, box = crop(seed)
        np.testing.assert_array_equal(own.encode([frame], [box])[0][0].stripes, feature.stripes)
    fused = load_head(settled, encoder.describe()).fuse(features)
    assert np.linalg.norm(fused.embedding) == pytest.approx(1, abs=1e-4)


def test_a_network_of_another_backbone_than_the_configuration_names_is_refused(tmp_path):
    config = written(tmp_path, "stgcn")
    with pytest.raises(WeightsError, match=r"trained for reid\.backbone osnet_x0_25, not resnet50"):
        load_encoder(replace(config, backbone="resnet50"), Path(config.weights))


def test_stripes_that_the_trained_map_does_not_have_are_refused(tmp_path):
    config = written(tmp_path, "temporal")
    with pytest.raises(ConfigError):
        load_encoder(replace(config, stripes=8), Path(config.weights))  # 64 px make 4 rows


def test_refined_parts_run_live_as_one_vector_a_crop(tmp_path):
    config = written(tmp_path, "pcb", ", rpp: true", stage=2)
    assert not (tmp_path / HEAD_FILE).exists()
    plain = replace(config, head="mean", head_weights=None, stripes=1)
    encoder = load_encoder(plain, Path(config.weights))
    frame, box = crop()
    assert load_head(plain, encoder.describe()).fuse(encoder.encode([frame], [box])[0]).embedding.shape == (4 * 128,)

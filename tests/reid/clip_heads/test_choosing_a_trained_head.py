"""One line of configuration makes a trained head the one that runs live."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from clip_head_examples import CHANNELS, STRIPES, clips, trained

from pipeline.config import ReidConfig
from pipeline.errors import ConfigError, WeightsError
from pipeline.ports import EncoderDescription
from pipeline.types import CropFeature
from reid.clip_heads.live import LiveClipHead
from reid.clip_heads.make import store_clip_head
from reid.crops import NO_QUALITY
from reid.heads import MeanHead
from reid.load import load_head, settle_head, start_parameters

ENCODER = EncoderDescription("example@1", 16, CHANNELS)


def written(variant: str, folder: Path) -> str:
    path = folder / "head.safetensors"
    store_clip_head(trained(variant), encoder="example@1", origin="a test").save(path)
    return str(path)


@pytest.mark.parametrize("variant", ["temporal", "rnn", "lstm", "quality", "stgcn", "mean", "sta"])
def test_a_configuration_names_the_head_and_its_file(variant, tmp_path):
    config = ReidConfig(head=variant, head_weights=written(variant, tmp_path))
    settled = settle_head(config, ENCODER.model_id)
    assert settled.stripes == STRIPES
    for each in (config, settled):
        assert isinstance(load_head(each, ENCODER), LiveClipHead)


def test_crops_of_a_live_track_become_one_vector(tmp_path):
    head = load_head(ReidConfig(head="stgcn", head_weights=written("stgcn", tmp_path)), ENCODER)
    stripes, energy = clips(1, 3)
    fine = np.repeat(stripes[0].numpy(), 4, axis=1), np.repeat(energy[0].numpy(), 4, axis=1) / 4
    crops = [CropFeature(float(n), s, e, NO_QUALITY, "example@1") for n, (s, e) in enumerate(zip(*fine, strict=True))]
    found = head.fuse(crops)
    wanted = trained("stgcn")(stripes, energy).embedding[0].detach()
    np.testing.assert_allclose(found.embedding, wanted, atol=1e-5)


def test_without_a_file_the_untrained_heads_stay_what_they_were():
    assert isinstance(load_head(ReidConfig(head="mean"), ENCODER), MeanHead)
    assert settle_head(ReidConfig(head="mean"), ENCODER.model_id) == ReidConfig(head="mean")


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"head": "stgcn"}, "needs reid.head_weights.*there is none"),
        ({"head": "stgcn", "head_weights": "osnet_x0_25_msmt17"}, "is none"),
        ({"head": "rnn", "head_weights": "FILE"}, "holds a trained head temporal, not rnn"),
        ({"head": "sta", "head_weights": "FILE"}, "holds a trained head temporal, not sta"),
        (
            {"head": "temporal", "head_weights": "FILE", "fusion": "global"},
            r"reid\.fusion: a trained head brings its own",
        ),
    ],
)
def test_a_head_and_a_file_that_do_not_go_together_are_refused(config, said, tmp_path):
    if config.get("head_weights") == "FILE":
        config = {**config, "head_weights": written("temporal", tmp_path)}
    for choose in (settle_head, load_head):
        with pytest.raises(ConfigError, match=said):
            choose(ReidConfig(**config), ENCODER.model_id if choose is settle_head else ENCODER)


def test_a_head_of_another_encoder_is_refused(tmp_path):
    config = ReidConfig(head="temporal", head_weights=written("temporal", tmp_path))
    with pytest.raises(WeightsError, match="trained on crop features of example@1"):
        load_head(config, replace(ENCODER, model_id="other@1"))


def test_a_trained_head_is_not_what_an_adaptation_starts_from(tmp_path):
    config = ReidConfig(head="sta", head_weights=written("sta", tmp_path))
    with pytest.raises(ConfigError, match="--no-adapt"):
        start_parameters(config, ENCODER)


def test_a_live_head_runs_without_pytorch(tmp_path):
    code = (
        "import sys; import numpy as np; from pipeline.config import ReidConfig;"
        "from pipeline.ports import EncoderDescription;"
        "from reid.load import load_head;"
        f"head = load_head(ReidConfig(head='stgcn', head_weights={written('stgcn', tmp_path)!r}),"
        f" EncoderDescription('example@1', {STRIPES}, {CHANNELS}));"
        f"head.fuse_batch(np.ones((1, 2, {STRIPES}, {CHANNELS}), 'f4'), np.ones((1, 2, {STRIPES}), 'f4'));"
        "print('torch' in sys.modules)"
    )
    root = Path(__file__).resolve().parents[3]
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=root, capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.strip() == "False"

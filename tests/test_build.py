from dataclasses import replace

import pytest

from pipeline.build import (
    build_crops,
    build_detector,
    build_encoder,
    build_head,
    build_matcher,
    build_recorded_source,
    build_references,
    is_live,
    matcher_threshold,
    settle,
)
from pipeline.config import (
    BackgroundConfig,
    CameraConfig,
    Config,
    DetectorConfig,
    MatcherConfig,
    ReidConfig,
    RetentionConfig,
    load_config,
)
from pipeline.errors import ConfigError, SourceUnavailable, WeightsError
from pipeline.ports import EncoderDescription
from pipeline.types import Tick
from reid.aligned import AlignedParameters
from reid.catalogue import find_threshold
from reid.load import load_head, settle_head
from reid.stored import FOLDER as stored_folder


@pytest.fixture
def nothing_at_hand(tmp_path, monkeypatch):
    """An environment without any weights."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    return {}


def test_auto_without_weights_becomes_what_needs_none_and_says_so(nothing_at_hand):
    settled = settle(Config(), nothing_at_hand)
    assert (settled.config.detector.kind, settled.config.reid.backbone) == ("hog", "handcrafted")
    assert len(settled.warnings) == 2 and all("run_pipeline.py weights" in w for w in settled.warnings)


@pytest.mark.parametrize(
    "config",
    [
        Config(detector=DetectorConfig(kind="yolo")),
        Config(reid=ReidConfig(backbone="osnet_x0_25")),
        Config(reid=ReidConfig(weights="my_own_weights")),
    ],
)
def test_what_is_asked_for_by_name_is_never_replaced(nothing_at_hand, config):
    with pytest.raises(WeightsError):
        settle(config, nothing_at_hand)


def test_weights_at_hand_are_taken_without_a_warning(nothing_at_hand, tmp_path):
    for name in ("yolo11n.pt", "osnet_x0_25_msmt17.onnx"):
        (tmp_path / "models").mkdir(exist_ok=True)
        (tmp_path / "models" / name).write_bytes(b"x")
    here = {"MODELS_DIR": str(tmp_path / "models")}
    settled = settle(Config(reid=ReidConfig(fusion="global")), here)
    assert (settled.config.detector.kind, settled.config.reid.backbone) == ("yolo", "osnet_x0_25")
    assert settled.config.reid.weights.endswith("osnet_x0_25_msmt17.onnx") and settled.warnings == ()
    (warning,) = settle(Config(), here).warnings  # weights of other content have no head stored
    assert "no aligned head is stored for custom-osnet_x0_25_msmt17" in warning and "fit-site" in warning


def test_settling_twice_changes_nothing(nothing_at_hand):
    once = settle(Config(), nothing_at_hand).config
    assert settle(once, nothing_at_hand).config == once


def test_recorded_detections_need_a_file_for_every_camera(nothing_at_hand):
    cameras = (CameraConfig("a", "x", detections="det.txt"), CameraConfig("b", "y"))
    config = Config(detector=DetectorConfig(kind="recorded"), cameras=cameras)
    with pytest.raises(ConfigError, match="missing for b"):
        settle(config, nothing_at_hand)


def test_auto_must_be_settled_before_it_is_built():
    with pytest.raises(ConfigError, match="settled"):
        build_detector(Config())


def test_the_parts_of_a_run_without_weights_fit_together(nothing_at_hand):
    config = settle(Config(cameras=(CameraConfig("a", "x"),)), nothing_at_hand).config
    assert build_detector(config).detect([]) == []
    head = build_head(config, build_encoder(config).describe())
    threshold = matcher_threshold(config, head.clip_model_id)
    assert 0 < threshold < 1
    matcher = build_matcher(config, threshold)
    matcher.receive("1", Tick("a", "1", 1, 1.0))
    assert matcher.advance().events == ()


def test_a_configured_threshold_is_taken_and_auto_needs_a_stored_one():
    assert matcher_threshold(Config(matcher=MatcherConfig(threshold=0.5)), "whatever@1/mean") == 0.5
    with pytest.raises(ConfigError, match="fit-site"):
        matcher_threshold(Config(), "whatever@1/mean")


def test_only_streams_and_webcams_are_live(tmp_path):
    live = {source: is_live(CameraConfig("a", source)) for source in ("rtsp://h/s", "0", "a.mp4", str(tmp_path))}
    assert list(live.values()) == [True, True, False, False]
    with pytest.raises(SourceUnavailable):
        is_live(CameraConfig("a", "http://h/s"))


def test_a_live_source_cannot_be_replayed():
    with pytest.raises(ConfigError, match="record it"):
        build_recorded_source(CameraConfig("a", "rtsp://u:geheim@h/s"), 0.0)


def test_references_and_crops_can_be_turned_off(tmp_path):
    config = Config(background=BackgroundConfig(references=False), retention=RetentionConfig(crops_per_identity=0))
    assert build_references(config, tmp_path, "host") is None and build_crops(config, tmp_path, "host") is None
    grabcut = replace(Config(), background=BackgroundConfig(segmenter="grabcut"))
    assert (
        build_references(grabcut, tmp_path, "host") is not None and build_crops(grabcut, tmp_path, "host") is not None
    )


def test_an_aligned_head_is_chosen_where_one_is_stored_and_brings_its_stripes(nothing_at_hand):
    plain = ReidConfig(backbone="handcrafted")
    assert settle_head(plain, "handcrafted@1").fusion == "global"
    chosen = settle_head(ReidConfig(), "osnet_x0_25_msmt17@bb2267b23a64")
    assert (chosen.fusion, chosen.stripes) == ("aligned", 16)
    assert chosen.head_weights is not None and chosen.head_weights.endswith("osnet_x0_25_msmt17.safetensors")
    assert settle_head(ReidConfig(fusion="paper"), "osnet_x0_25_msmt17@bb2267b23a64").stripes == 4


@pytest.mark.parametrize(
    ("reid", "says"),
    [
        (ReidConfig(fusion="aligned"), "no head is stored for custom-x@1"),
        (ReidConfig(head="mean", head_weights="osnet_x0_25_msmt17"), "only head sta with fusion aligned"),
        (ReidConfig(fusion="paper", head_weights="osnet_x0_25_msmt17"), "only head sta with fusion aligned"),
        (ReidConfig(head_weights="nobody"), "neither a file nor a stored head"),
    ],
)
def test_a_head_that_is_not_there_is_told_with_what_to_do(reid, says):
    with pytest.raises((ConfigError, WeightsError), match=says):
        settle_head(reid, "custom-x@1")


def test_the_stored_heads_have_the_threshold_of_their_content():
    for path in stored_folder.glob("*.safetensors"):
        digest = AlignedParameters.load(path).digest
        for quality in ("", "+quality"):
            assert find_threshold(f"{path.stem}@0/sta-aligned@{digest}{quality}").distance > 0


def test_the_file_of_a_head_is_looked_for_beside_the_configuration(tmp_path):
    (tmp_path / "site.yaml").write_text("cameras: [{id: a, source: a.mp4}]\nreid: {head_weights: head.safetensors}\n")
    assert load_config(tmp_path / "site.yaml").reid.head_weights == str(tmp_path / "head.safetensors")


def test_a_head_that_was_asked_for_is_never_replaced_by_another():
    encoder = EncoderDescription("osnet_x0_25_msmt17@0", 4, 128)
    assert load_head(ReidConfig(), encoder).clip_model_id.endswith("sta-global")
    with pytest.raises(WeightsError, match="head_weights"):
        load_head(ReidConfig(head_weights="osnet_x0_25_msmt17"), encoder)

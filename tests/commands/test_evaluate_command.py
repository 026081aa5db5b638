"""`evaluate` from the command line's arguments to its files, over generated people."""

import argparse
import json
import os
from pathlib import Path
from typing import get_args

import cv2
import numpy as np
import pytest
from evaluate_people import write_people

from pipeline.commands.evaluate import evaluate, head_config, options_from
from pipeline.commands.evaluate_arguments import DATA_SETS, SAMPLINGS, add_evaluate_arguments
from pipeline.config import ReidConfig
from pipeline.errors import ConfigError, DecodeError, OutputError, WeightsError
from reid.datasets import load
from reid.tracklet_vectors import SamplingKind

FIGURES = ["rank1", "rank5", "rank10", "rank20", "mAP", "mAP_trapezoid", "mINP"]


@pytest.fixture(scope="module")
def people(tmp_path_factory) -> Path:
    return write_people(tmp_path_factory.mktemp("people"))


@pytest.fixture
def said():
    return []


def parsed(*arguments):
    parser = argparse.ArgumentParser()
    add_evaluate_arguments(parser)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--overwrite", action="store_true")
    parser.add_argument("--quiet", action="store_true")
    return options_from(parser.parse_args([*map(str, arguments), "--quiet"]))


def of_plain(root, *arguments, backbone="handcrafted"):
    return parsed("--dataset", "plain", "--root", root, "--backbone", backbone, *arguments)


def test_generated_people_are_found_and_everything_is_written(people, tmp_path, said):
    out = tmp_path / "out"
    assert evaluate(of_plain(people, "--rerank", "--out", out), said.append) == 0
    found = json.loads((out / "evaluation.json").read_text())
    (row,) = found["heads"]
    assert list(row["figures"]) == list(row["reranked"]) == FIGURES
    assert row["figures"]["mAP"] > 0.8 and row["figures"]["rank1"] > 0.8  # chance: .2
    assert row["head"] == "sta-global" and row["model_id"] == "handcrafted@1/sta-global"
    assert found["encoder"] == "handcrafted@1" and found["sampling"]["kind"] == "even"
    assert found["counts"]["queries"] == 12 and found["counts"]["pictures"] == 48
    assert found["average_precision"] == {"mAP": "rectangle", "mAP_trapezoid": "trapezoid"}
    picture = cv2.imread(str(out / "ranked_lists.jpg"))
    assert picture is not None and picture.shape[0] > 9 * 200
    text = "\n".join(said)
    assert "12 queries (12 with a match) for 4 people" in text
    assert "4 pictures a tracklet" in text and "re-ranked" in text and "protocol: every tracklet asks" in text


def test_the_table_shows_the_figures_of_the_file(people, tmp_path, said):
    evaluate(of_plain(people, "--out", tmp_path / "out"), said.append)
    (row,) = json.loads((tmp_path / "out" / "evaluation.json").read_text())["heads"]
    (line,) = [line for line in said if line.startswith("sta-global")]
    cells = line.split()
    assert cells[1:8] == [f"{row['figures'][name]:.4f}" for name in FIGURES]
    assert cells[8] == "–".join(f"{end:.3f}" for end in row["mAP_interval"])


def test_heads_are_compared_over_the_same_crops_without_repeats(people, tmp_path, said):
    heads = "configured, mean,sta-global,sta-stripes,sta-paper+l2"
    evaluate(of_plain(people, "--heads", heads, "--out", tmp_path / "out"), said.append)
    found = json.loads((tmp_path / "out" / "evaluation.json").read_text())
    assert [row["head"] for row in found["heads"]] == ["sta-global", "mean", "sta-stripes", "sta-paper+l2"]
    assert found["counts"]["pictures"] == 48
    alone = tmp_path / "alone"
    evaluate(of_plain(people, "--head", "sta", "--fusion", "stripes", "--out", alone), said.append)
    (row,) = json.loads((alone / "evaluation.json").read_text())["heads"]
    assert row == found["heads"][2]


def test_two_evaluations_write_the_same_bytes(people, tmp_path, said):
    for name in "ab":
        evaluate(of_plain(people, "--rerank", "--out", tmp_path / name), said.append)
    for file in ("evaluation.json", "ranked_lists.jpg"):
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()


def test_sampling_and_re_ranking_are_as_asked_for(people, tmp_path, said):
    how = ("--sampling", "dense", "--frames", 2, "--most", 4, "--rerank", "--top-k", 5)
    evaluate(of_plain(people, *how, "--out", tmp_path / "out"), said.append)
    found = json.loads((tmp_path / "out" / "evaluation.json").read_text())
    assert (found["sampling"]["kind"], found["sampling"]["frames"], found["sampling"]["most"]) == ("dense", 2, 4)
    assert found["rerank"]["top_k"] == 5 and found["rerank"]["lambda"] == 0.3
    assert found["counts"]["pictures"] == 48


def test_the_clip_length_is_the_configurations_unless_said_otherwise(people, tmp_path):
    file = tmp_path / "site.yaml"
    file.write_text("reid: {backbone: handcrafted, clip_frames: 3, head: mean}\n")
    options = parsed("--dataset", "plain", "--root", people, "--config", file)
    assert options.sampling.frames == 3 and options.config.reid.head == "mean"
    assert parsed("--dataset", "plain", "--root", people, "--config", file, "--frames", 7).sampling.frames == 7


def test_arguments_replace_the_configurations_settings(tmp_path, people):
    file = tmp_path / "site.yaml"
    file.write_text("reid: {backbone: resnet50, weights: other.pth, head: mean}\n")
    options = parsed(
        "--dataset", "plain", "--root", people, "--config", file, "--backbone", "osnet_x0_25", "--head", "sta"
    )
    reid = options.config.reid
    assert (reid.backbone, reid.weights, reid.head) == ("osnet_x0_25", None, "sta")  # not another network's weights


def test_nothing_is_written_without_out(people, tmp_path, said, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert evaluate(of_plain(people), said.append) == 0
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_holds_something_is_not_written_into(people, tmp_path, said):
    (tmp_path / "mine.txt").write_text("keep")
    with pytest.raises(OutputError, match="not empty"):
        evaluate(of_plain(people, "--out", tmp_path), said.append)


def test_the_data_set_is_never_written_into(people, said):
    with pytest.raises(OutputError, match="choose another --out"):
        evaluate(of_plain(people, "--out", people, "--overwrite"), said.append)
    assert (people / "person1").is_dir()


def test_a_corrupt_picture_is_told_and_counted(tmp_path, said):
    root = write_people(tmp_path / "people", pictures=1)
    (root / "person2" / "cam1" / "t1" / "000.jpg").write_bytes(b"?")
    evaluate(of_plain(root, "--out", tmp_path / "out"), said.append)
    skipped = json.loads((tmp_path / "out" / "evaluation.json").read_text())["skipped"]
    assert skipped == {"picture that cannot be read": 1, "tracklet without a readable picture": 1}
    assert any(line.startswith("left out: 1 × picture that cannot be read; 1 × tracklet") for line in said)


def test_a_root_that_is_not_there_is_an_error_that_names_it(tmp_path, said):
    with pytest.raises(ConfigError, match="nowhere"):
        evaluate(of_plain(tmp_path / "nowhere"), said.append)


def test_a_broken_link_is_an_error_that_names_it(tmp_path, said):
    root = write_people(tmp_path / "people", pictures=1)
    gone = root / "person1" / "cam0" / "t1" / "000.jpg"
    gone.unlink()
    gone.symlink_to(tmp_path / "elsewhere.jpg")
    with pytest.raises(DecodeError, match=r"person1/cam0/t1/000\.jpg"):
        evaluate(of_plain(root), said.append)


def test_one_camera_alone_is_an_error_that_says_why(tmp_path, said):
    root = write_people(tmp_path / "people", cameras=1, pictures=1)
    with pytest.raises(ConfigError, match="second camera"):
        evaluate(of_plain(root), said.append)


def test_an_explicit_backbone_without_weights_is_an_error(people, said, monkeypatch, tmp_path):
    monkeypatch.setenv("MODELS_DIR", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with pytest.raises(WeightsError):
        evaluate(of_plain(people, backbone="resnet50"), said.append)


def test_auto_without_weights_says_that_the_descriptor_is_used(people, said, monkeypatch, tmp_path):
    monkeypatch.setenv("MODELS_DIR", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert evaluate(of_plain(people, backbone="auto"), said.append) == 0
    assert sum(line.startswith("warning: no re-ID weights") for line in said) == 1
    assert not any("YOLO" in line for line in said)  # no detector is needed


@pytest.mark.parametrize("wrong", ["median", "sta", "sta-global+sharp", ""])
def test_an_unknown_head_is_answered_with_the_known_ones(wrong, people, said):
    with pytest.raises(ConfigError, match=r"expected configured, mean, sta-paper.*quality"):
        evaluate(of_plain(people, "--heads", f"mean,{wrong}"), said.append)


def test_a_named_head_is_untrained_and_the_papers_unless_its_name_says_otherwise():
    trained = ReidConfig(head_weights="head.safetensors", energy="norm", quality_weights=True)
    named = head_config("sta-stripes", trained)
    assert (named.head, named.fusion, named.head_weights) == ("sta", "stripes", None)
    assert (named.energy, named.normalisation, named.quality_weights) == ("squares", "sum", False)
    varied = head_config("sta-paper+norm+l2+quality", trained)
    assert (varied.energy, varied.normalisation, varied.quality_weights) == ("norm", "l2", True)
    assert head_config("configured", trained) is trained


@pytest.mark.parametrize(
    "arguments", [("--top-k", "5"), ("--most", "5"), ("--sampling", "even", "--most", "5")], ids=" ".join
)
def test_arguments_that_do_not_go_together_are_refused(arguments, people):
    with pytest.raises(ConfigError, match="--"):
        of_plain(people, *arguments)


@pytest.mark.parametrize("arguments", [("--frames", "0"), ("--most", "few"), ("--top-k", "-1")], ids=" ".join)
def test_counts_that_are_none_are_refused(arguments, people, capsys):
    with pytest.raises(SystemExit):
        of_plain(people, *arguments)
    assert "expected a whole number from 1" in capsys.readouterr().err


def test_the_parser_knows_the_same_names_as_the_code():
    assert DATA_SETS == load.DATA_SETS
    assert get_args(SamplingKind) == SAMPLINGS


def test_osnet_finds_generated_people(people, tmp_path, said):
    folders = [Path(f) for f in os.environ.get("MODELS_DIR", "").split(os.pathsep) if f]
    if not any((folder / "osnet_x0_25_msmt17.onnx").exists() for folder in folders):
        pytest.skip("needs osnet_x0_25_msmt17.onnx in a folder of MODELS_DIR")
    how = ("--heads", "configured,mean,sta-global,sta-stripes", "--rerank", "--frames", "2", "--out", tmp_path / "out")
    evaluate(of_plain(people, *how, backbone="osnet_x0_25"), said.append)
    found = json.loads((tmp_path / "out" / "evaluation.json").read_text())
    assert found["encoder"].startswith("osnet_x0_25_msmt17@")
    assert [row["dimensions"] for row in found["heads"]] == [576, 512, 512, 2560]
    assert np.min([row["figures"]["mAP"] for row in found["heads"]]) > 0.6  # chance: .2

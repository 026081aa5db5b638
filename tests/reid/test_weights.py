"""Named weights: where they are looked for, how they are fetched, and what is said when they are not there."""

import hashlib
import io
import os
import urllib.error
from pathlib import Path

import pytest

from pipeline.config import ReidConfig
from pipeline.errors import ConfigError, OutputError, WeightsError
from reid import catalogue
from reid.catalogue import (
    CATALOGUE,
    MAP_CHANNELS,
    THRESHOLDS,
    USUAL_WEIGHTS,
    find_named,
    find_threshold,
    stem,
    usual_weights,
)
from reid.weights import fetch_weights, file_sha256, find_weights, list_weights, model_id

CONTENT = b"weights" * 1000
DIGEST = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def folders(tmp_path):
    """Two folders of MODELS_DIR and a cache, and the environment that names them."""
    first, second, cache = (tmp_path / name for name in ("first", "second", "cache"))
    for folder in (first, second, cache):
        folder.mkdir()
    return first, second, cache, {"MODELS_DIR": f"{first}{os.pathsep}{second}"}


def put(folder: Path, name: str, content: bytes = CONTENT) -> Path:
    (folder / name).write_bytes(content)
    return folder / name


def test_a_path_is_taken_as_it_stands_before_anything_else(folders, tmp_path):
    first, _, cache, environment = folders
    put(first, "own.pth")
    given = put(tmp_path, "own.pth")
    assert find_weights(str(given), environment, cache) == given


def test_folders_of_models_dir_come_in_order_and_before_the_cache(folders):
    first, second, cache, environment = folders
    in_cache = put(cache, "own.pth")
    assert find_weights("own.pth", environment, cache) == in_cache
    in_second = put(second, "own.pth")
    assert find_weights("own.pth", environment, cache) == in_second
    in_first = put(first, "own.pth")
    assert find_weights("own.pth", environment, cache) == in_first


@pytest.mark.parametrize("ending", [".safetensors", ".onnx", ".pth", ".pt", ".engine", "_openvino_model"])
def test_a_name_is_found_without_its_ending(folders, ending):
    first, _, cache, environment = folders
    put(first, f"own{ending}")
    assert find_weights("own", environment, cache) == first / f"own{ending}"


def test_a_catalogue_name_finds_the_long_file_name_of_its_authors(folders):
    first, _, cache, environment = folders
    long_name = next(file.name for file in find_named("osnet_x0_25_msmt17").files if "combineall" in file.name)
    path = put(first, long_name)
    assert find_weights("osnet_x0_25_msmt17", environment, cache) == path


def test_an_export_is_preferred_to_a_checkpoint_beside_it(folders):
    first, _, cache, environment = folders
    put(first, "osnet_x0_25_msmt17.pth")
    export = put(first, "osnet_x0_25_msmt17.onnx")
    assert find_weights("osnet_x0_25_msmt17", environment, cache) == export


def test_a_name_with_its_ending_means_that_file(folders):
    first, _, cache, environment = folders
    put(first, "osnet_x0_25_msmt17.onnx")
    checkpoint = put(first, "osnet_x0_25_msmt17.pth")
    assert find_weights("osnet_x0_25_msmt17.pth", environment, cache) == checkpoint


def test_a_folder_counts_as_weights(folders):
    first, _, cache, environment = folders
    (first / "yolo11n_int8_openvino_model").mkdir()
    found = find_weights("yolo11n_int8_openvino_model", environment, cache)
    assert found == first / "yolo11n_int8_openvino_model"


def test_missing_weights_say_what_to_put_where(folders):
    _, _, cache, environment = folders
    with pytest.raises(WeightsError) as caught:
        find_weights("osnet_x0_25_msmt17", environment, cache)
    text = str(caught.value)
    assert "run_pipeline.py weights osnet_x0_25_msmt17" in text
    assert "osnet_x0_25_msmt17.pth" in text and "MODELS_DIR" in text and str(cache) in text
    assert "\n" not in text


def test_an_unknown_name_lists_the_known_ones(folders):
    _, _, cache, environment = folders
    with pytest.raises(WeightsError, match="osnet_x1_0_msmt17"):
        find_weights("nobody_knows", environment, cache)


def test_weights_without_a_public_file_say_how_to_make_them(folders):
    _, _, cache, environment = folders
    for download in (False, True):
        with pytest.raises(WeightsError, match=r"yolo export model=yolo11n\.pt"):
            find_weights("yolo11n_int8_openvino_model", environment, cache, download=download)


def test_a_wanted_sha256_is_checked(folders):
    first, _, cache, environment = folders
    path = put(first, "own.pth")
    assert find_weights("own", environment, cache, sha256=DIGEST.upper()) == path
    with pytest.raises(WeightsError, match="the configuration wants 00ff"):
        find_weights("own", environment, cache, sha256="00ff")


def test_the_hash_of_a_folder_covers_names_and_contents(tmp_path):
    for name in ("a", "b", "c"):
        (tmp_path / name).mkdir()
    put(tmp_path / "a", "x.bin")
    put(tmp_path / "b", "y.bin")
    put(tmp_path / "c", "x.bin")
    digests = [file_sha256(tmp_path / name) for name in ("a", "b", "c")]
    assert digests[0] == digests[2] != digests[1]


@pytest.mark.parametrize(("name", "second"), [("net.xml", "net.bin"), ("net.onnx", "net.onnx.data")])
def test_weights_in_a_second_file_count_in_the_hash(tmp_path, name, second):
    path = put(tmp_path, name)
    alone = file_sha256(path)
    assert alone == DIGEST
    put(tmp_path, second, b"one")
    first = model_id(path)
    put(tmp_path, second, b"two")
    assert len({alone[:12], first.partition("@")[2], model_id(path).partition("@")[2]}) == 3


def server(content: bytes, asked: list[str] | None = None):
    def open_url(url: str) -> io.BytesIO:
        if asked is not None:
            asked.append(url)
        return io.BytesIO(content)

    return open_url


def known_as(monkeypatch, sha256: str | None) -> None:
    """A catalogue of one entry, so that nothing real is fetched."""
    file = catalogue.WeightsFile("tiny.pth", sha256, "https://example.org/tiny.pth")
    entry = catalogue.NamedWeights("tiny", "nothing", "MIT", "https://example.org", (file,))
    monkeypatch.setattr(catalogue, "CATALOGUE", (entry,))


def test_fetching_keeps_the_file_and_does_not_fetch_twice(tmp_path, monkeypatch):
    known_as(monkeypatch, DIGEST)
    asked: list[str] = []
    seen: list[int] = []
    path = fetch_weights("tiny", tmp_path / "cache", server(CONTENT, asked), lambda done, _: seen.append(done))
    assert path == tmp_path / "cache" / "tiny.pth" and path.read_bytes() == CONTENT
    assert fetch_weights("tiny", tmp_path / "cache", server(CONTENT, asked)) == path
    assert asked == ["https://example.org/tiny.pth"]
    assert seen[-1] == len(CONTENT)
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize(("sha256", "content"), [(DIGEST, b"<html>quota exceeded</html>"), (None, b"")])
def test_a_wrong_or_empty_download_is_not_kept(tmp_path, monkeypatch, sha256, content):
    known_as(monkeypatch, sha256)
    with pytest.raises(WeightsError, match=r"tiny\.pth"):
        fetch_weights("tiny", tmp_path, server(content))
    assert list(tmp_path.iterdir()) == []


class HalfAnswer(io.BytesIO):
    length = 10 * len(CONTENT)


def test_a_download_that_ends_early_is_not_kept(tmp_path, monkeypatch):
    known_as(monkeypatch, None)
    with pytest.raises(WeightsError, match="ended early"):
        fetch_weights("tiny", tmp_path, lambda url: HalfAnswer(CONTENT))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "error", [urllib.error.URLError("no route"), TimeoutError("slow"), ConnectionResetError("gone")]
)
def test_without_a_connection_it_says_what_to_put_where(tmp_path, monkeypatch, error):
    known_as(monkeypatch, None)

    def fail(url: str):
        raise error

    with pytest.raises(WeightsError, match=r"cannot fetch https://example.org/tiny.pth .*put tiny.pth into") as caught:
        fetch_weights("tiny", tmp_path, fail)
    assert "\n" not in str(caught.value)


def test_a_cache_that_cannot_be_written_is_an_output_error(tmp_path, monkeypatch):
    known_as(monkeypatch, None)
    in_the_way = put(tmp_path, "cache")
    with pytest.raises(OutputError, match="cannot be written"):
        fetch_weights("tiny", in_the_way / "weights", server(CONTENT))


def test_the_list_says_what_is_at_hand_and_whether_it_is_the_known_file(folders):
    first, _, cache, environment = folders
    put(first, "osnet_x0_25_msmt17.onnx")
    put(first, "yolo11n-seg.pt")
    statuses = {status.weights.name: status for status in list_weights(environment, cache)}
    assert len(statuses) == len(CATALOGUE)
    assert statuses["osnet_x0_25_msmt17"].verified is False
    assert statuses["yolo11n-seg"].path == first / "yolo11n-seg.pt" and statuses["yolo11n-seg"].verified is None
    assert statuses["resnet50_msmt17"].path is None and not statuses["resnet50_msmt17"].fetchable
    assert statuses["yolo11n"].fetchable


def test_every_entry_states_licence_and_home_and_names_are_unique():
    names = [file.name for entry in CATALOGUE for file in entry.files]
    assert len(set(names)) == len(names)
    for entry in CATALOGUE:
        assert entry.licence and entry.home.startswith("https://") and entry.what
        assert any(file.url for file in entry.files) or entry.makes
        for file in entry.files:
            assert file.sha256 is None or len(bytes.fromhex(file.sha256)) == 32
            assert file.url is None or file.url.startswith("https://")


def test_every_backbone_with_weights_has_usual_ones_in_the_catalogue():
    choices = set(ReidConfig.__dataclass_fields__["backbone"].type.__args__) - {"auto", "handcrafted"}
    assert choices - {"onnx"} == set(USUAL_WEIGHTS) == set(MAP_CHANNELS)
    assert all(usual_weights(name) == USUAL_WEIGHTS[name] for name in USUAL_WEIGHTS)
    assert all(find_named(name) is not None for name in USUAL_WEIGHTS.values())


def test_a_network_of_any_kind_has_no_usual_weights():
    with pytest.raises(ConfigError, match=r"reid\.weights: backbone onnx needs the file of a network"):
        usual_weights("onnx")


def test_dots_inside_a_name_belong_to_it():
    assert stem("osnet_lr0.0015.pth") == "osnet_lr0.0015"
    assert stem("osnet_lr0.0015") == "osnet_lr0.0015"


def test_the_model_id_tells_known_from_changed_weights(tmp_path):
    changed = model_id(put(tmp_path, "osnet_x0_25_msmt17.onnx"))
    assert changed == f"custom-osnet_x0_25_msmt17@{DIGEST[:12]}"
    assert model_id(put(tmp_path, "osnet_x1_0_msmt17.pth")) == f"osnet_x1_0_msmt17@{DIGEST[:12]}"
    assert model_id(put(tmp_path, "mine.pth")) == f"custom-mine@{DIGEST[:12]}"


def test_a_threshold_is_stored_for_every_head_of_the_usual_models():
    for model in ("osnet_x0_25_msmt17@bb2267b23a64", "handcrafted@1"):
        for head in ("mean", "sta-global", "sta-stripes", "sta-paper", "sta-discriminative"):
            assert 0 < find_threshold(f"{model}/{head}").distance < 1
    assert all(threshold.origin for threshold in THRESHOLDS.values())


@pytest.mark.parametrize("clip_model", ["custom-mine@0123/mean", "osnet_x0_25_msmt17@bb2267b23a64/other", ""])
def test_without_a_stored_threshold_the_error_names_fit_site(clip_model):
    with pytest.raises(ConfigError, match="fit-site"):
        find_threshold(clip_model)


def test_the_real_export_is_the_one_the_threshold_was_chosen_for(osnet_onnx):
    assert model_id(osnet_onnx).startswith("osnet_x0_25_msmt17@bb2267b23a64")

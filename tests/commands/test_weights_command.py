import io
from pathlib import Path

import pytest

from pipeline.commands.weights import at_hand, get_weights, show_weights
from pipeline.errors import WeightsError
from reid.catalogue import CATALOGUE


@pytest.fixture
def said():
    return []


def test_every_known_model_is_listed_with_its_licence(tmp_path, said):
    assert show_weights(said.append, environment={}, cache_dir=tmp_path) == 0
    text = "\n".join(said)
    for weights in CATALOGUE:
        assert f"{weights.name}: " in text and weights.licence in text


def test_a_missing_model_comes_with_the_way_to_get_it(tmp_path, said):
    show_weights(said.append, environment={}, cache_dir=tmp_path)
    text = "\n".join(said)
    assert "get it    run_pipeline.py weights yolo11n\n" in text
    assert "yolo export" in text  # nowhere to fetch the OpenVINO folder from


def test_a_model_at_hand_is_shown_with_its_place_and_whether_it_is_the_known_one(tmp_path, said):
    (tmp_path / "yolo11n.pt").write_bytes(b"something else")
    show_weights(said.append, environment={"MODELS_DIR": str(tmp_path)}, cache_dir=tmp_path / "cache")
    line = next(line for line in said if "yolo11n.pt" in line and "at hand" in line)
    assert str(tmp_path) in line and "NOT the known file" in line


def test_an_unknown_name_is_answered_with_the_known_ones(tmp_path, said):
    with pytest.raises(WeightsError, match="yolo11n-seg"):
        get_weights("yolo99", said.append, environment={}, cache_dir=tmp_path)


def test_a_fetched_model_ends_in_the_cache_with_progress_told(tmp_path, said):
    done = get_weights(
        "yolo11n-seg", said.append, environment={}, cache_dir=tmp_path, opener=lambda _: io.BytesIO(b"x" * (3 << 20))
    )
    assert done == 0
    assert (tmp_path / "yolo11n-seg.pt").stat().st_size == 3 << 20
    assert sum("MB" in line for line in said) == 3  # one per megabyte: the size was not told
    assert "AGPL" in said[-1]


def test_what_is_at_hand_is_not_fetched_again(tmp_path, said):
    (tmp_path / "yolo11n-seg.pt").write_bytes(b"here")

    def refuse(_url):
        raise AssertionError("must not be opened")

    assert get_weights("yolo11n-seg", said.append, environment={}, cache_dir=tmp_path, opener=refuse) == 0
    assert "at hand" in said[0]


def test_a_stranger_under_a_known_name_is_refused(tmp_path, said):
    (tmp_path / "yolo11n.pt").write_bytes(b"something else")
    with pytest.raises(WeightsError, match="SHA-256"):
        get_weights("yolo11n", said.append, environment={}, cache_dir=tmp_path)


def test_offline_the_error_says_what_to_put_where(tmp_path, said):
    def offline(_url):
        raise ConnectionError("no network")

    with pytest.raises(WeightsError) as caught:
        get_weights("yolo11n", said.append, environment={}, cache_dir=tmp_path, opener=offline)
    text = str(caught.value)
    assert "yolo11n.pt" in text and "MODELS_DIR" in text and str(tmp_path) in text and "\n" not in text


def test_what_cannot_be_fetched_says_how_to_make_it(tmp_path, said):
    with pytest.raises(WeightsError, match="yolo export"):
        get_weights("yolo11n_int8_openvino_model", said.append, environment={}, cache_dir=tmp_path)


def test_the_doctor_sees_what_is_at_hand(tmp_path):
    (tmp_path / "yolo11n-seg.pt").write_bytes(b"here")
    found = dict(at_hand({"MODELS_DIR": str(tmp_path)}))
    assert found["yolo11n-seg"].startswith(str(Path(tmp_path)))

import pytest
import torch

from pipeline.commands.export import ExportOptions, export
from pipeline.errors import OutputError, WeightsError
from reid.osnet import OSNet

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")


@pytest.fixture
def said():
    return []


@pytest.fixture
def environment(tmp_path):
    torch.manual_seed(0)
    (tmp_path / "models").mkdir()
    torch.save(OSNet().state_dict(), tmp_path / "models" / "own.pth")
    return {"MODELS_DIR": str(tmp_path / "models")}


def test_weights_are_found_by_name_and_the_agreement_is_printed(tmp_path, said, environment):
    target = tmp_path / "out" / "own.onnx"
    assert export("own", target, ExportOptions("onnx"), said.append, environment=environment) == 0
    assert target.exists()
    text = "\n".join(said)
    assert "stripe means differ by at most" in text and "cosine distance" in text
    assert "model_id custom-own@" in text


def test_what_lies_there_is_not_overwritten_unasked(tmp_path, said, environment):
    target = tmp_path / "own.onnx"
    target.write_text("precious")
    with pytest.raises(OutputError, match="--overwrite"):
        export("own", target, ExportOptions("onnx"), said.append, environment=environment)
    assert target.read_text() == "precious"


def test_unknown_weights_are_an_error_that_says_where_to_put_them(tmp_path, said):
    with pytest.raises(WeightsError, match="MODELS_DIR"):
        export("nobody_knows", tmp_path, ExportOptions("onnx"), said.append, environment={})

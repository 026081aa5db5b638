"""What our exporter notes in the files that it writes: which weights they came from. No PyTorch.

ONNX files carry it among their metadata, OpenVINO's in their .xml, TensorRT's in a header of ours.
"""

import json
import re
from dataclasses import asdict, dataclass
from html import unescape
from pathlib import Path

from pipeline.errors import WeightsError
from reid.crop_input import CropInput, read_crop_input

METADATA_KEY = "multicam_person_reid"
FORMAT = 1  # rises when the notes change so that older programs would misread them


@dataclass(frozen=True, slots=True)
class ExportNotes:
    """What a file of ours says of itself.

    Attributes:
        source: `model_id` of the weights that were exported.
        half: stored or computed in half precision.
    """

    source: str
    crop_input: CropInput
    half: bool = False

    def to_json(self) -> str:
        """One line; the readers of each format read it back."""
        return json.dumps({"format": FORMAT, **asdict(self)}, sort_keys=True)


def read_source(path: Path) -> str | None:
    """`model_id` of the weights that a file was exported from by us; None for other people's files.

    Raises:
        WeightsError: a note that cannot be read.
    """
    text = _read_note(path)
    return None if text is None else read_notes(text, path).source


def read_notes(text: str, path: Path) -> ExportNotes:
    """What `ExportNotes.to_json` wrote; `path` is for errors.

    Raises:
        WeightsError: not such a text, or a newer program's.
    """
    try:
        notes = json.loads(text)
        number = int(notes["format"])
        found = ExportNotes(str(notes["source"]), read_crop_input(notes["crop_input"]), bool(notes["half"]))
    except (ValueError, KeyError, TypeError):
        raise WeightsError(f"{path}: its note of where it comes from is damaged; export it again") from None
    if number > FORMAT:
        raise WeightsError(f"{path}: exported by a newer version of this program; export it again")
    return found


def _read_note(path: Path) -> str | None:
    if path.suffix == ".onnx":
        from reid.onnx_file import load_onnx_model

        try:
            entries = load_onnx_model(path).metadata_props
        except WeightsError:  # who loads the network says what is wrong with it
            return None
        return next((str(entry.value) for entry in entries if entry.key == METADATA_KEY), None)
    if path.suffix == ".engine":
        from reid.tensorrt_engine import read_engine

        return read_engine(path).notes
    files = sorted(path.glob("*.xml")) if path.is_dir() else [path] if path.suffix == ".xml" else []
    found = re.search(rf'<{METADATA_KEY} value="([^"]*)"', files[0].read_text(encoding="utf-8")) if files else None
    return unescape(found[1]) if found else None

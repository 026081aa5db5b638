"""The aligned heads that are stored with the program, one for each encoder that has one."""

from pathlib import Path

from pipeline.errors import WeightsError

FOLDER = Path(__file__).parent / "stored_heads"


def stored_head(model_id: str) -> Path | None:
    """The file of the head made for this encoder, by its name with or without the hash; None: there is none."""
    path = FOLDER / f"{model_id.partition('@')[0]}.safetensors"
    return path if path.is_file() else None


def find_head(name: str) -> Path:
    """The file that `reid.head_weights` means: a path, or the name of a stored head.

    Raises:
        WeightsError: there is none.
    """
    path = Path(name)
    if path.is_file():
        return path
    stored = stored_head(name)
    if stored is None:
        known = ", ".join(sorted(file.stem for file in FOLDER.glob("*.safetensors")))
        raise WeightsError(f"reid.head_weights: {name} is neither a file nor a stored head ({known})")
    return stored

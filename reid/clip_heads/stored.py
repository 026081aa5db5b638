"""A trained clip head as a file: weights and settings, without PyTorch."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np

from pipeline.errors import OutputError, WeightsError
from pipeline.ports import EncoderDescription
from pipeline.types import FloatArray

FORMAT = "clip head 1"
_KEY = "clip_head"  # one key: safetensors writes several in any order


@dataclass(frozen=True, eq=False, slots=True)
class StoredClipHead:
    """What `live.LiveClipHead` computes with.

    Attributes:
        name: of the head, see `make.CLIP_HEADS`.
        stripes: K. channels: C. dimensions: D of its vectors.
        options: plain values; `made_of` are those of the trainable head.
        encoder: `model_id` of the encoder, or its name without the hash where every copy of it will do.
        origin: one line: what it was trained on. recipe: plain values: how it was trained.
        arrays: its weights by PyTorch's names.
    """

    name: str
    stripes: int
    channels: int
    dimensions: int
    options: Mapping[str, Any]
    encoder: str
    origin: str
    recipe: Mapping[str, Any]
    arrays: Mapping[str, FloatArray]

    def __post_init__(self) -> None:
        broken = next((name for name, value in self.arrays.items() if not np.isfinite(value).all()), None)
        if broken is not None:
            raise ValueError(f"{broken}: expected finite values")

    @property
    def digest(self) -> str:
        """8 hexadecimal digits that change with every weight and setting, but not with where they come from."""
        settings = json.dumps([self.name, self.stripes, self.channels, dict(self.options)], sort_keys=True)
        sha = hashlib.sha256(f"{FORMAT} {settings}".encode())
        for name in sorted(self.arrays):
            sha.update(f"{name}{self.arrays[name].shape}".encode())
            sha.update(np.ascontiguousarray(self.arrays[name], np.float32).tobytes())
        return sha.hexdigest()[:8]

    def save(self, path: Path) -> None:
        """Write a safetensors file.

        Raises:
            OutputError: it cannot be written.
        """
        from safetensors.numpy import save

        plain = {name: getattr(self, name) for name in self.__slots__ if name != "arrays"}
        about = json.dumps({"format": FORMAT, **plain}, sort_keys=True)
        arrays = {name: np.ascontiguousarray(value, np.float32) for name, value in self.arrays.items()}
        try:
            path.write_bytes(save(arrays, {_KEY: about}))
        except OSError as error:
            raise OutputError(f"{path}: cannot be written ({error.strerror or error}); free space") from None

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read what `save` wrote.

        Raises:
            WeightsError: not such a file.
        """
        from safetensors import SafetensorError, safe_open

        try:
            with safe_open(path, framework="numpy") as file:
                about: dict[str, Any] = json.loads((file.metadata() or {}).get(_KEY, "{}"))
                if about.pop("format", None) != FORMAT:
                    raise WeightsError(f"{path}: not a trained clip head; `run_pipeline.py train` makes one")
                arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            return cls(**about, arrays=arrays)
        except (OSError, SafetensorError, ValueError, TypeError, KeyError) as error:
            raise WeightsError(f"{path}: cannot read this clip head ({error})") from None

    def check_encoder(self, encoder: EncoderDescription) -> None:
        """
        Raises:
            WeightsError: the head belongs to another encoder, or to a map of another shape.
        """
        name = encoder.model_id if "@" in self.encoder else encoder.model_id.partition("@")[0]
        if name != self.encoder:
            raise WeightsError(
                f"reid.head_weights: trained on crop features of {self.encoder}, not of {encoder.model_id}; "
                "`run_pipeline.py train` makes one for it"
            )
        if encoder.channels != self.channels:
            raise WeightsError(
                f"reid.head_weights: trained on maps of {self.channels} channels, not of {encoder.channels}"
            )


def is_clip_head(path: Path) -> bool:
    """Whether the file is a trained clip head, and not one of another kind.

    Raises:
        WeightsError: it cannot be read.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as file:
            return _KEY in (file.metadata() or {})
    except (OSError, SafetensorError) as error:
        raise WeightsError(f"{path}: cannot read this clip head ({error})") from None

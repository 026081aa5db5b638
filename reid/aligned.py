"""STA over aligned parts: attention over space and time that follows the body, not the rows of the picture.

STA compares stripe k of one crop with stripe k of another, which fails as soon as a body is cut off by the picture's
edge or by furniture: stripe 4 then shows the hip of one and the shoes of the other. Here a row counts for the part of
the body that it looks like: its content is compared with a prototype of each part, softly, and where it lies in the
crop is only a hint. A part that no row looks like weighs little. The idea of comparing what corresponds is DMLI's
(AlignedReID), which needs a shortest path per pair; here every clip still becomes one vector.
"""

import hashlib
import json
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Self

import numpy as np

from pipeline.errors import WeightsError
from pipeline.ports import EncoderDescription
from pipeline.retrieval import normalise_rows
from pipeline.types import FloatArray
from reid.attention import PAPER, AttentionOptions, even_attention, temporal_attention, weigh_stripes
from reid.heads import BatchHead, FusedClips, project, unit_rows

FORMAT = "aligned head 1"


@dataclass(frozen=True, eq=False, slots=True)
class AlignedParameters:
    """What an `AlignedHead` computes with, for maps of R rows and C channels, J parts and vectors of D values.

    Attributes:
        centre: (C,) mean direction of a row.
        prototypes: (J, C) norm 1: the direction, away from the centre, of rows that show the part. J may be 0: then
            the whole body alone is the vector.
        position: (R, J) how much more likely a row is to show the part, by its place alone; a logarithm.
        offset: (1 + J, D) mean vector of the whole body and of each part; it is taken off, because what all people
            have in common tells nobody apart.
        basis: (1 + J, d, D) what is left of each is taken to d values, the most telling ones first.
        dimensions: how many of them are used, 1 to d; the others are there for an adaptation to choose from.
        weight: (1 + J,) how much each counts, not negative.
        sharpness: of the assignment of rows to parts; 0: by place alone.
        even: frames count evenly (the plain mean), not by STA's attention.
        encoder: `model_id` of the encoder, or its name without the hash where every copy of it will do.
        origin: one line: what it was learned from.
    """

    centre: FloatArray
    prototypes: FloatArray
    position: FloatArray
    offset: FloatArray
    basis: FloatArray
    weight: FloatArray
    dimensions: int
    sharpness: float
    even: bool
    encoder: str
    origin: str

    def __post_init__(self) -> None:
        parts, channels = self.prototypes.shape
        if self.centre.shape != (channels,) or self.position.shape[1:] != (parts,):
            raise ValueError(f"prototypes {self.prototypes.shape} do not fit centre or position")
        wanted = (1 + parts, self.offset.shape[1])
        if self.offset.shape != wanted or (*self.basis.shape[::2],) != wanted or self.weight.shape != wanted[:1]:
            raise ValueError(f"offset, basis or weight do not fit {parts} parts")
        if not 1 <= self.dimensions <= self.basis.shape[1]:
            raise ValueError(f"dimensions: expected 1 to {self.basis.shape[1]}, got {self.dimensions}")
        if not all(np.isfinite(value).all() for value in self._arrays().values()):
            raise ValueError("expected finite values")

    @property
    def rows(self) -> int:
        return len(self.position)

    @property
    def digest(self) -> str:
        """8 hexadecimal digits that change with every value."""
        sha = hashlib.sha256(f"{FORMAT} {self.sharpness} {self.even} {self.dimensions}".encode())
        for name, value in self._arrays().items():
            sha.update(f"{name}{value.shape}".encode())
            sha.update(np.ascontiguousarray(value, np.float32).tobytes())
        return sha.hexdigest()[:8]

    def save(self, path: Path) -> None:
        """Write a safetensors file; basis and offset in half precision, which is what `digest` is taken of.

        Raises:
            OSError: it cannot be written.
        """
        from safetensors.numpy import save

        plain = {f.name: getattr(self, f.name) for f in fields(self) if f.name not in self._arrays()}
        arrays = {name: np.ascontiguousarray(_stored(name, value)) for name, value in self._arrays().items()}
        about = json.dumps({"format": FORMAT, **plain}, sort_keys=True)
        path.write_bytes(save(arrays, {"aligned_head": about}))  # one key: safetensors writes several in any order

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read what `save` wrote.

        Raises:
            WeightsError: not such a file.
        """
        from safetensors import SafetensorError, safe_open

        try:
            with safe_open(path, framework="numpy") as file:
                about: dict[str, Any] = json.loads((file.metadata() or {}).get("aligned_head", "{}"))
                if about.pop("format", None) != FORMAT:
                    raise WeightsError(f"{path}: not a clip head of this pipeline; `fit-site` makes one")
                arrays = {name: file.get_tensor(name).astype(np.float32) for name in file.keys()}  # noqa: SIM118
            return cls(**{**about, **arrays})
        except (OSError, SafetensorError, ValueError, TypeError, KeyError) as error:
            raise WeightsError(f"{path}: cannot read this clip head ({error})") from None

    def rounded(self) -> Self:
        """The same as it will be after `save` and `load`."""
        arrays = {name: _stored(name, value).astype(np.float32) for name, value in self._arrays().items()}
        plain = {f.name: getattr(self, f.name) for f in fields(self) if f.name not in arrays}
        values: dict[str, Any] = {**plain, **arrays}
        return type(self)(**values)

    def _arrays(self) -> dict[str, FloatArray]:
        return {f.name: getattr(self, f.name) for f in fields(self) if isinstance(getattr(self, f.name), np.ndarray)}


def _stored(name: str, value: FloatArray) -> np.ndarray[Any, Any]:
    return value.astype(np.float16 if name in ("basis", "offset") else np.float32)


class AlignedHead(BatchHead):
    """Fuses clips with `AlignedParameters`.

    Of the R rows of N crops, with S(n, r) STA's attention (Fu et al., AAAI 2019) per row and A(n, r, j) the assignment
    of rows to parts (each row shares 1 out among the parts):

    - part j is Σ_{n,r} S A f_{n,r} / Σ_{n,r} S A: STA's P2 where A is 1 for one stripe's rows and 0 for others;
    - the whole body is the mean over rows of Σ_n S f_{n,r}: `sta` with fusion `global`;
    - visibility of part j is its share of all attention, Σ S A / Σ S, in parts of an even share, at most 1;
    - each goes through the backbone's projection, is normalised, loses `offset`, is multiplied by `basis` and
      normalised; the vector is their concatenation, weighted by the root of weight times visibility.

    So the cosine of two clips is the mean of the cosines of their parts, weighted by where both can be seen.
    A clip in which nothing was seen gets a fixed direction, no parts and no visibility.
    """

    def __init__(
        self,
        encoder: EncoderDescription,
        parameters: AlignedParameters,
        options: AttentionOptions = PAPER,
        *,
        quality_weights: bool = False,
    ) -> None:
        """
        Raises:
            WeightsError: the parameters were made for another encoder.
        """
        check_encoder(encoder, parameters)
        super().__init__(encoder, f"sta-aligned{options.suffix}@{parameters.digest}", quality_weights)
        self._parameters = parameters
        self._options = options

    def _fuse_checked(self, stripes: FloatArray, energy: FloatArray, frame_weights: FloatArray) -> FusedClips:
        p = self._parameters
        if p.even:
            attention = even_attention(energy, frame_weights)
        else:
            attention = temporal_attention(energy, frame_weights, self._options)
        pooled, joint, visibility = pool_parts(p, stripes, attention)
        body = weigh_stripes(attention, stripes).mean(axis=1)[:, None]  # (B, 1, C)
        vectors = normalise_rows(project(self._encoder.projection, np.concatenate([body, pooled], axis=1)))
        centred = (vectors - p.offset).transpose(1, 0, 2)  # (1 + J, B, D)
        basis = p.basis[:, : p.dimensions].transpose(0, 2, 1)  # (1 + J, D, dimensions)
        parts = normalise_rows(np.matmul(centred, basis).transpose(1, 0, 2))  # (B, 1 + J, dimensions)
        seen = (energy.sum(axis=(1, 2)) > 0).astype(np.float32)  # (B,)
        visibility = visibility * seen[:, None]
        gate = np.concatenate([seen[:, None], visibility], axis=1) * p.weight
        weighed = parts * np.sqrt(gate)[..., None]
        vector = weighed.reshape(len(weighed), np.prod(weighed.shape[1:]))
        return FusedClips(unit_rows(vector), parts[:, 1:] * seen[:, None, None], visibility, joint)


def pool_parts(
    parameters: AlignedParameters, stripes: FloatArray, attention: FloatArray
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """The parts' map vectors (B, J, C), the attention that made them (B, N, J), and their visibility (B, J).

    Args:
        stripes: (B, N, R, C). attention: (B, N, R), over frames.
    """
    clips, frames, rows, channels = stripes.shape
    assignment = assign_rows(parameters, stripes)  # (B, N, R, J)
    joint = assignment * attention[..., None]
    mass = joint.sum(axis=(1, 2))  # (B, J), above 0: a softmax is
    flat = (joint / mass[:, None, None]).reshape(clips, frames * rows, mass.shape[1])
    pooled = np.matmul(flat.transpose(0, 2, 1), stripes.reshape(clips, frames * rows, channels))
    share = mass / np.maximum(attention.sum(axis=(1, 2)), np.finfo(np.float32).tiny)[:, None]
    visibility = np.clip(share * mass.shape[1], 0, 1).astype(np.float32)
    return pooled, joint.sum(axis=2) / mass[:, None], visibility


def assign_rows(parameters: AlignedParameters, stripes: FloatArray) -> FloatArray:
    """A(…, r, j): how much row r shows part j, from its content and its place; sums to 1 over the parts.

    Args:
        stripes: (..., R, C).

    Returns:
        (..., R, J) float32.
    """
    likeness = (normalise_rows(stripes) - parameters.centre) @ parameters.prototypes.T
    logit = parameters.sharpness * likeness + parameters.position
    grown = np.exp(logit - logit.max(axis=-1, keepdims=True, initial=-np.inf))
    return np.asarray(grown / np.maximum(grown.sum(axis=-1, keepdims=True), 1e-12), np.float32)


def check_encoder(encoder: EncoderDescription, parameters: AlignedParameters) -> None:
    """
    Raises:
        WeightsError: the parameters belong to another encoder, or to a map of another shape.
    """
    name = encoder.model_id if "@" in parameters.encoder else encoder.model_id.partition("@")[0]
    if name != parameters.encoder:
        raise WeightsError(
            f"reid.head_weights: made for {parameters.encoder}, not for {encoder.model_id}; `fit-site` makes one for it"
        )
    length = encoder.channels if encoder.projection is None else len(encoder.projection.bias)
    found = (encoder.stripes, encoder.channels, length)
    made_for = (parameters.rows, len(parameters.centre), parameters.offset.shape[1])
    if found != made_for:
        raise WeightsError(
            f"reid.head_weights: made for stripes, channels and vectors of {made_for}, not {found}; "
            f"set reid.stripes: {parameters.rows}"
        )

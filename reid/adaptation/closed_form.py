"""Adaptation without gradients: what people of this site have in common is taken off, what changes in one person too.

Three statistics of the site's own crops, none of which needs a name:

- the mean of the whole body and of every part (`offset`): the light, the camera, and what all people look like;
- the scatter of clips of one track, with which the directions that the start knows are shrunk (within-class covariance
  normalisation; Hatch, Kajarekar, Stolcke, *Within-class covariance normalization for SVM-based speaker recognition*,
  Interspeech 2006): what changes while one person walks by (side, step, light, what hides it) says little about who
  it is;
- the directions in which the site's people then differ most (principal components): the leading ones are kept.

The scatter is mixed with an even one, because a site has few people; departures from the paper are that mixing and that
the cosine, not an SVM, compares.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from pipeline.errors import PipelineError
from pipeline.ports import EncoderDescription
from pipeline.retrieval import normalise_rows
from pipeline.types import FloatArray
from reid.adaptation.material import Material, TrackCrops
from reid.aligned import AlignedParameters, check_encoder, pool_parts
from reid.attention import even_attention, temporal_attention, weigh_stripes
from reid.heads import project

DIMENSIONS = 64  # of each part in the vector; 128 is no better on people who were not adapted to (docs/sta.md)
MOST_DIMENSIONS = 128  # kept for an adaptation of the adapted; with 64 the start has thrown away what a site needs
SHRINKAGE = 3.0  # even scatter mixed in, in units of the measured one; 1 to 10 differ by less than .01 mAP
MOST_CROPS = 32  # of a track that count, evenly spread: who stands about for an hour is one person as well
CLIP_CROPS = 2  # neighbouring crops whose scatter is taken: one crop alone scatters more than the clips of a run
SHARPNESS = 7.0  # of the assignment of rows to parts; 5 to 20 differ by less than .01 mAP
PLACE_WEIGHT = 8.0  # of a row's place: the log-likelihood falls by half of this times its squared distance, in bodies
PARTS = 8  # J of a new head


class TooLittleFootage(PipelineError):
    """There is nothing to adapt to; the message says what is missing."""


@dataclass(frozen=True, slots=True)
class ClosedForm:
    """How the closed form is computed; see the module's constants."""

    dimensions: int = DIMENSIONS
    most_dimensions: int = MOST_DIMENSIONS
    shrinkage: float = SHRINKAGE
    most_crops: int = MOST_CROPS
    clip_crops: int = CLIP_CROPS


def fit_closed_form(
    material: Material,
    encoder: EncoderDescription,
    start: AlignedParameters,
    options: ClosedForm | None = None,
) -> AlignedParameters:
    """Parameters with the site's own offset and basis; prototypes, weights and sharpness are those of `start`.

    Every track counts as one, whatever its length. Deterministic.

    Raises:
        TooLittleFootage: fewer than two tracks.
        WeightsError: `start` belongs to another encoder.
    """
    options = options or ClosedForm()
    check_encoder(encoder, start)
    if len(material.tracks) < 2:
        raise TooLittleFootage(f"adapting needs at least two tracks, found {len(material.tracks)}")
    single = [_vectors(_clips(track, 1, options.most_crops), encoder, start) for track in material.tracks]
    offset, basis = fit_statistics(single, _of_people(material, encoder, start, options), start.basis, options)
    return replace(
        start,
        offset=offset,
        basis=basis,
        dimensions=min(options.dimensions, basis.shape[1]),
        encoder=encoder.model_id,
        origin=f"{len(material.tracks)} tracks of {', '.join(material.cameras)}",
    ).rounded()


def fit_statistics(
    of_tracks: Sequence[FloatArray], of_people: Sequence[FloatArray], start: FloatArray, options: ClosedForm
) -> tuple[FloatArray, FloatArray]:
    """The three statistics of any vectors in P parts (the whole body, or each part of it).

    Args:
        of_tracks: of each track the vectors of single crops, (n, P, D) norm 1; at least one track.
        of_people: of each person number the vectors of clips, (n, P, D).
        start: (P, d, D) directions to choose from.

    Returns:
        Offset (P, D) and basis (P, d', D), its most telling directions first.
    """
    offset = np.stack([vectors.mean(axis=0) for vectors in of_tracks]).mean(axis=0, dtype=np.float64)
    basis = start.astype(np.float64)
    if basis.shape[1] > options.most_dimensions:
        basis = _turned(basis, of_tracks, offset, options.most_dimensions)
    basis = _whitened(basis, of_people, options.shrinkage)
    basis = _turned(basis, of_tracks, offset, options.most_dimensions)
    return offset.astype(np.float32), basis.astype(np.float32)


def _of_people(
    material: Material, encoder: EncoderDescription, start: AlignedParameters, options: ClosedForm
) -> list[FloatArray]:
    """Vectors of the clips of each person number, (B, 1 + J, D) each."""
    clips = [_clips(track, options.clip_crops, options.most_crops) for track in material.tracks]
    vectors = [_vectors(of_track, encoder, start) for of_track in clips]
    owned = [np.flatnonzero(material.person_of == person) for person in material.people]
    return [np.concatenate([vectors[i] for i in own]) for own in owned]


def _turned(
    basis: npt.NDArray[np.float64], vectors: Sequence[FloatArray], offset: npt.NDArray[np.float64], most: int
) -> npt.NDArray[np.float64]:
    """The basis turned to its principal axes over all vectors, the leading `most` of them."""
    scatter = _mean_scatter(vectors, lambda values: _taken(values - offset, basis))
    return np.stack([_principal(s, most) @ b for s, b in zip(scatter, basis, strict=True)])


def _whitened(
    basis: npt.NDArray[np.float64], of_people: Sequence[FloatArray], shrinkage: float
) -> npt.NDArray[np.float64]:
    """The basis with the directions shrunk in which the vectors of one person scatter; unchanged without any."""
    several = [vectors for vectors in of_people if len(vectors) > 1]
    if not several:
        return basis
    scatter = _mean_scatter(several, lambda values: _taken(values - values.mean(axis=0), basis))
    return np.stack([_whitening(s, shrinkage) @ b for s, b in zip(scatter, basis, strict=True)])


def _taken(vectors: npt.NDArray[np.floating], basis: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """(n, P, D) through a basis (P, d, D): (n, P, d)."""
    return np.matmul(vectors.transpose(1, 0, 2), basis.transpose(0, 2, 1)).transpose(1, 0, 2)


def fit_prototypes(
    stripes: FloatArray, encoder: EncoderDescription, parts: int = PARTS, *, origin: str
) -> AlignedParameters:
    """A head for an encoder that has none yet, from rows of many people, most of them whole.

    The prototype of part j is the mean direction of the rows of the j-th of J equal spans of the body, away from the
    mean of all rows. With 0 parts the whole body alone counts, and evenly: the mean of the maps.

    Args:
        stripes: (n, R, C), n >= 1 crops; R is a multiple of `parts`.

    Raises:
        ValueError: shapes that do not fit.
    """
    if len(stripes) == 0 or (parts and stripes.shape[1] % parts):
        raise ValueError(f"stripes: expected crops with a multiple of {parts} rows, got {stripes.shape}")
    rows, channels = stripes.shape[1:]
    direction = normalise_rows(stripes)  # (n, R, C)
    centre = direction.mean(axis=(0, 1), dtype=np.float64)
    spans = np.split(direction, parts, axis=1) if parts else []
    means = np.array([span.mean(axis=(0, 1), dtype=np.float64) for span in spans]).reshape(parts, channels)
    length = channels if encoder.projection is None else len(encoder.projection.bias)
    place = (np.arange(rows) + 0.5) / rows
    middle = (np.arange(parts) + 0.5) / max(parts, 1)
    return AlignedParameters(
        centre=centre.astype(np.float32),
        prototypes=normalise_rows((means - centre).astype(np.float32)),
        position=(-0.5 * PLACE_WEIGHT * np.square(place[:, None] - middle)).astype(np.float32),
        offset=np.zeros((1 + parts, length), np.float32),
        basis=np.repeat(np.eye(length, dtype=np.float32)[None], 1 + parts, axis=0),
        weight=np.ones(1 + parts, np.float32),
        dimensions=length,
        sharpness=SHARPNESS,
        even=parts == 0,
        encoder=encoder.model_id,
        origin=origin,
    ).rounded()


def _clips(track: TrackCrops, size: int, most: int) -> tuple[FloatArray, FloatArray]:
    """Up to `most` clips of `size` neighbouring crops, evenly spread: stripes (B, N, R, C) and energy (B, N, R)."""
    size = min(size, len(track))
    starts = np.unique(np.linspace(0, len(track) - size, min(most, len(track) - size + 1)).round().astype(np.int64))
    chosen = starts[:, None] + np.arange(size)
    return track.stripes[chosen], track.energy[chosen]


def _vectors(
    clips: tuple[FloatArray, FloatArray], encoder: EncoderDescription, parameters: AlignedParameters
) -> FloatArray:
    """(B, 1 + J, D) unit vectors of the whole body and of each part, before offset and basis."""
    stripes, energy = clips
    attention = even_attention(energy) if parameters.even else temporal_attention(energy)
    pooled, _, _ = pool_parts(parameters, stripes, attention)
    body = weigh_stripes(attention, stripes).mean(axis=1)[:, None]
    return normalise_rows(project(encoder.projection, np.concatenate([body, pooled], axis=1)))


def _mean_scatter(
    groups: Sequence[FloatArray], centred: Callable[[FloatArray], npt.NDArray[np.floating]]
) -> npt.NDArray[np.float64]:
    """(P, D, D) scatter of the vectors (n, P, D) of each group, each group counting the same; (0,) without groups."""
    total: npt.NDArray[np.float64] | None = None
    for group in groups:  # one at a time: a thousand tracks at once would not fit into memory
        vectors = centred(group).astype(np.float64).transpose(1, 0, 2)
        scatter = np.matmul(vectors.transpose(0, 2, 1), vectors) / len(group)
        total = scatter if total is None else total + scatter
    return np.zeros(0) if total is None else total / len(groups)


def _principal(scatter: npt.NDArray[np.float64], dimensions: int) -> npt.NDArray[np.float64]:
    """(d, D) directions of the largest scatter, largest first; each with its largest entry positive."""
    _, vectors = np.linalg.eigh(scatter)
    chosen = vectors[:, ::-1][:, :dimensions].T
    sign = np.sign(np.take_along_axis(chosen, np.abs(chosen).argmax(axis=1)[:, None], axis=1))
    return np.asarray(chosen * np.where(sign == 0, 1, sign))


def _whitening(scatter: npt.NDArray[np.float64], shrinkage: float) -> npt.NDArray[np.float64]:
    """(d, d) the inverse root of the scatter, in units of its mean, plus `shrinkage` times an even one."""
    size = len(scatter)
    mean = np.trace(scatter) / size
    even = scatter / mean + shrinkage * np.eye(size) if mean > 0 else np.eye(size)
    values, vectors = np.linalg.eigh(even)
    return np.asarray((vectors / np.sqrt(values)) @ vectors.T)

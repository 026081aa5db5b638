"""The second half of `run_pipeline.py fit-site`: a clip head that learns from the site's own people, without labels."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pipeline.build import build_encoder, build_head
from pipeline.commands.interrupting import stop_on_interrupt
from pipeline.config import Config, ReidConfig
from pipeline.errors import ConfigError, OutputError
from pipeline.fitting.crops import CropStore, CutPicture, KeptCrop, fused_again
from pipeline.fitting.facts import Piece, SiteFacts
from pipeline.fitting.footage import Footage
from pipeline.fitting.held_back import clips_of_numbers
from pipeline.fitting.site_changes import Change
from pipeline.ports import ClipHead, CropEncoder, EncoderDescription
from pipeline.scoring.clips import evenly_spread
from pipeline.types import ClipFeature, CropFeature, Frame, IntArray

if TYPE_CHECKING:
    from reid.adaptation.backbone import BackboneToTrain
    from reid.adaptation.material import Material, TrackCrops
    from reid.aligned import AlignedParameters

HEAD_FILE, BACKBONE_FILE = "head.safetensors", "backbone.safetensors"
_ROWS = (16, 8)  # of the map, finest first: OSNet's and ResNet-50's maps have 16, the hand-crafted one 8
_MOST_START_CROPS = 4096  # that a first head is made of; more change nothing and cost memory (OSNet: 0.13 GB)

Progress = Callable[[str, int, int], None]  # stage, steps done, steps in all


@dataclass(frozen=True, eq=False, slots=True)
class CameraModels:
    """What the cameras run with.

    Attributes:
        config: with `reid.stripes` as the encoder was made.
        head: the site's own, over the encoder's rows.
    """

    config: Config
    encoder: CropEncoder
    head: ClipHead

    @property
    def description(self) -> EncoderDescription:
        return self.encoder.describe()


@dataclass(frozen=True, eq=False, slots=True)
class SiteAdaptation:
    """What came of adapting.

    Attributes:
        parameters: None when nothing is to be written; `reason` says why, or by how much it is better.
        plain: everything for fit.json.
        backbone: the file of the tuned backbone; None: it is as it was.
        facts: what was learned from; None where nothing was even tried.
        held_back: numbers of the facts, each group with the head that was fitted without it.
        seconds: how long it took; not in `plain`, which is the same every time.
    """

    parameters: "AlignedParameters | None"
    reason: str
    plain: Mapping[str, Any]
    backbone: Path | None = None
    interrupted: bool = False
    seconds: float = 0.0
    facts: SiteFacts | None = None
    held_back: "tuple[tuple[IntArray, AlignedParameters], ...]" = ()

    def dropped(self, reason: str) -> "SiteAdaptation":
        """The same, but nothing of it is kept; a tuned backbone's file goes.

        Raises:
            OutputError: the disk.
        """
        if self.backbone is not None:
            try:
                self.backbone.unlink(missing_ok=True)
            except OSError as error:
                raise OutputError(f"{self.backbone} cannot be removed ({error.strerror or error})") from None
        plain = {**self.plain, "kept": False, "backbone": None, "reason": reason}
        return replace(self, parameters=None, backbone=None, reason=reason, plain=plain, held_back=())


def models_to_watch(config: Config, adapt: bool) -> CameraModels:
    """Encoder and head of a settled configuration; to adapt, the encoder leaves the rows that the new head needs.

    Raises:
        WeightsError, ConfigError: as `build_encoder` and `build_head`.
    """
    if not adapt:
        encoder = build_encoder(config)
        return CameraModels(config, encoder, build_head(config, encoder.describe()))
    encoder = _fine_encoder(config)
    start = _stored_start(config, encoder.describe())
    if start is not None and start.rows != encoder.describe().stripes:
        encoder = build_encoder(_with_stripes(config, start.rows))
    if encoder.describe().stripes % config.reid.stripes:
        encoder = build_encoder(config)  # its stripes cannot be gathered from these rows
    head = build_head(config, encoder.describe())  # gathers them where it wants fewer
    return CameraModels(_with_stripes(config, encoder.describe().stripes), encoder, head)


def _fine_encoder(config: Config) -> CropEncoder:
    for rows in _ROWS:
        try:
            return build_encoder(_with_stripes(config, rows))
        except ConfigError:
            continue  # a map of another height; what else is wrong is told below
    return build_encoder(config)


def _with_stripes(config: Config, stripes: int) -> Config:
    return replace(config, reid=replace(config.reid, stripes=stripes))


def _stored_start(config: Config, encoder: EncoderDescription) -> "AlignedParameters | None":
    from reid.load import start_parameters

    return start_parameters(config.reid, encoder)


def picture_cutter(config: Config, backbone: bool) -> CutPicture | None:
    """Cuts what the encoder sees of a crop; None where the backbone is not to be trained, or has no weights."""
    if not backbone or config.reid.weights is None:
        return None
    from reid.crops import cut_crops

    return lambda request: cut_crops([request.crop_frame], [request.xyxy[None]])[0][0]


def adapt_to_site(
    facts: SiteFacts,
    store: CropStore,
    models: CameraModels,
    backbone_out: Path | None,
    on_progress: Progress,
) -> SiteAdaptation:
    """Learn a head from what is certain about the crops; safe to interrupt: what was accepted so far counts.

    Args:
        models: what the crops were made with.
        backbone_out: where a tuned backbone is written, if that pays; None: only the head learns.

    Raises:
        OutputError: the disk.
    """
    from reid.adaptation.adapt import adapt
    from reid.adaptation.closed_form import TooLittleFootage

    if len(facts.pieces) < 2:
        return nothing_learned(_too_little(facts), facts)
    start = _stored_start(models.config, models.description) or _first_head(store, models)
    with stop_on_interrupt() as should_stop:
        try:
            result = adapt(
                material_of(facts),
                models.description,
                start,
                rng=np.random.default_rng(models.config.runtime.seed),
                backbone=_backbone_to_train(models.config, backbone_out),
                on_progress=on_progress,
                should_stop=should_stop,
            )
        except TooLittleFootage as error:
            return nothing_learned(str(error), facts)
    plain = {name: value for name, value in result.to_plain().items() if name != "seconds"}
    plain |= {
        "kept": result.parameters is not None,
        "reason": result.reason,
        "backbone": result.backbone.name if result.backbone else None,
        "start": {"head": start.digest, "origin": start.origin},
        "facts": dict(facts.counts),
    }
    return SiteAdaptation(
        result.parameters,
        result.reason,
        plain,
        result.backbone,
        result.stopped,
        result.seconds,
        facts,
        result.held_back,
    )


def _backbone_to_train(config: Config, out: Path | None) -> "BackboneToTrain | None":
    if out is None or config.reid.weights is None:
        return None
    from reid.adaptation.backbone import BackboneToTrain

    return BackboneToTrain(config.reid.backbone, Path(config.reid.weights), out)


def nothing_learned(reason: str, facts: SiteFacts | None = None) -> SiteAdaptation:
    """What came of it where nothing was even tried."""
    counts = {"facts": dict(facts.counts)} if facts else {}
    return SiteAdaptation(None, reason, {"kept": False, "reason": reason, **counts})


def why_not_adapted(reid: ReidConfig) -> str | None:
    """Why a head is not to be learned for this configuration, as it was written; None: it may be."""
    if reid.head == "sta" and reid.fusion in ("auto", "aligned"):
        return None
    asked = f"reid.head: {reid.head}" if reid.head != "sta" else f"reid.fusion: {reid.fusion}"
    return f"the configuration asks for {asked}, which learns nothing; head: sta with fusion: auto does"


def _too_little(facts: SiteFacts) -> str:
    if not facts.counts.get("tracks"):
        return "nobody was found in this footage"
    return (
        f"{len(facts.pieces)} pieces of tracks with enough good crops, of {facts.counts['tracks']} tracks; learning "
        "takes people who are seen together"
    )


def _first_head(store: CropStore, models: CameraModels) -> "AlignedParameters":
    """A head for an encoder that has none stored, from the footage itself."""
    from reid.adaptation.closed_form import PARTS, fit_prototypes

    crops, encoder = store.all_crops(), models.description
    chosen = [crops[i] for i in evenly_spread(range(len(crops)), _MOST_START_CROPS)]
    stripes = np.stack([crop.stripes.astype(np.float32) for crop in chosen])
    parts = max(n for n in range(1, PARTS + 1) if encoder.stripes % n == 0)
    return fit_prototypes(stripes, encoder, parts, origin=f"{len(chosen)} crops of {models.config.site}")


def material_of(facts: SiteFacts) -> "Material":
    """The facts as the adaptation takes them."""
    from reid.adaptation.material import Material

    tracks = tuple(_track_crops(piece) for piece in facts.pieces)
    return Material(tracks, np.array(facts.person_of, np.int64), facts.apart)


def _track_crops(piece: Piece) -> "TrackCrops":
    from reid.adaptation.material import TrackCrops

    crops = piece.crops
    pictures = [crop.picture for crop in crops if crop.picture is not None]
    return TrackCrops(
        piece.key,
        np.array([crop.captured_at_s for crop in crops]),
        np.stack([crop.stripes.astype(np.float32) for crop in crops]),
        np.stack([crop.energy for crop in crops]),
        np.array([crop.quality.score for crop in crops], np.float32),
        np.stack(pictures) if len(pictures) == len(crops) else None,
    )


def adapted_models(adaptation: SiteAdaptation, models: CameraModels) -> CameraModels:
    """Encoder and head as a run will build them from the files; `adaptation` has kept something.

    Raises:
        ValueError: it has not.
    """
    if adaptation.parameters is None:
        raise ValueError("expected an adaptation that was kept")
    config, encoder = models.config, models.encoder
    if adaptation.backbone is not None:
        config = replace(config, reid=replace(config.reid, weights=str(adaptation.backbone), weights_sha256=None))
        encoder = build_encoder(config)
    return CameraModels(config, encoder, _aligned_head(config.reid, encoder.describe(), adaptation.parameters))


def _aligned_head(reid: ReidConfig, encoder: EncoderDescription, parameters: "AlignedParameters") -> ClipHead:
    from reid.aligned import AlignedHead
    from reid.attention import AttentionOptions

    options = AttentionOptions(reid.energy, reid.normalisation)
    return AlignedHead(encoder, parameters.rounded(), options, quality_weights=reid.quality_weights is not False)


def held_back_clips(
    adaptation: SiteAdaptation, footage: Footage, store: CropStore, models: CameraModels
) -> tuple[list[list[ClipFeature]], list[list[ClipFeature]]]:
    """For each group of people who were held back, their clips: of the footage, and fused by the head without them.

    Args:
        footage, store, models: as the cameras were watched with.
    """
    if adaptation.facts is None:
        return [], []
    encoder = models.description
    groups = clips_of_numbers(footage, adaptation.facts, [numbers.tolist() for numbers, _ in adaptation.held_back])
    fused = []
    for clips, (_, parameters) in zip(groups, adaptation.held_back, strict=True):
        head = _aligned_head(models.config.reid, encoder, parameters)
        fused.append(fused_again(replace(footage, messages=tuple(clips)), store, head, encoder.model_id).clips)
    return groups, fused


def encoded_again(store: CropStore, encoder: CropEncoder) -> CropStore:
    """The crops whose pictures were kept, as another encoder sees them."""

    def encode(crops: Sequence[KeptCrop]) -> list[CropFeature]:
        frames = [Frame("", "", 0, crop.captured_at_s, crop.picture) for crop in crops if crop.picture is not None]
        whole = [np.array([[0, 0, frame.image.shape[1], frame.image.shape[0]]], np.float32) for frame in frames]
        return [of_frame[0] for of_frame in encoder.encode(frames, whole)]

    return store.with_features(encode)


def write_head(parameters: "AlignedParameters", out_dir: Path) -> None:
    """
    Raises:
        OutputError: the disk.
    """
    try:
        parameters.save(out_dir / HEAD_FILE)
    except OSError as error:
        raise OutputError(f"{out_dir / HEAD_FILE} cannot be written ({error.strerror or error})") from None


def changes_of_head(adaptation: SiteAdaptation, models: CameraModels) -> dict[str, Change]:
    """What a configuration must say to use what was learned; empty when nothing was kept."""
    if adaptation.parameters is None:
        return {}
    origin, rows = adaptation.parameters.origin, adaptation.parameters.rows
    told = (f"fit-site: learned from {origin}. {adaptation.reason}", "matcher.threshold belongs to this head")
    changes = {}
    if adaptation.backbone is not None:
        changes["backbone"] = Change(models.config.reid.backbone, ("fit-site: its last stages were trained here",))
        changes["weights"] = Change(f'"{adaptation.backbone.name}"', ())
    return changes | {
        "head": Change("sta", ()),
        "fusion": Change("aligned", told),
        "head_weights": Change(f'"{HEAD_FILE}"', ()),
        "stripes": Change(str(rows), ()),
    }

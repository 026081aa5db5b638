"""The only place that chooses implementations: a plain `match` on the configuration's values."""

import logging
import os
import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Final

import cv2

from pipeline.background.background_model import PlateFolder
from pipeline.background.crops import CropStore
from pipeline.background.references import ReferenceKeeper
from pipeline.bus.lines import reference_to_json
from pipeline.capture.probe import source_kind
from pipeline.capture.watchdog import CameraCondition
from pipeline.config import CameraConfig, Config, MatcherConfig
from pipeline.errors import ConfigError, WeightsError
from pipeline.ports import ClipHead, CropEncoder, Detector, EncoderDescription, Segmenter, Source
from pipeline.types import Detections

if TYPE_CHECKING:
    from pipeline.identity.matcher import Matcher

_log = logging.getLogger(__name__)

_OPENVINO_YOLO = "yolo11n_int8_openvino_model"  # half the time of the .pt on a CPU
_AUTO_BACKBONE: Final = "osnet_x0_25"


@dataclass(frozen=True, slots=True)
class Settled:
    """A configuration without `auto` for detector and backbone, and what the user must be told about it."""

    config: Config
    warnings: tuple[str, ...]


def settle(config: Config, environment: Mapping[str, str] | None = None) -> Settled:
    """Replace `auto` in `detector.kind`, `reid.backbone` and `reid.fusion` by what is at hand.

    Raises:
        WeightsError: explicitly named weights that are missing. ConfigError: an impossible combination.
    """
    environment = os.environ if environment is None else environment
    warnings: list[str] = []
    config = _settle_detector(config, environment, warnings)
    config = _settle_reid(config, environment, warnings)
    config = _settle_head(config, warnings)
    return Settled(config, tuple(warnings))


def _settle_detector(config: Config, environment: Mapping[str, str], warnings: list[str]) -> Config:
    detector = config.detector
    if detector.kind == "recorded":
        missing = [camera.id for camera in config.cameras if camera.detections is None]
        if missing:
            raise ConfigError(f"detector.kind recorded: cameras[].detections is missing for {', '.join(missing)}")
        return config
    if detector.kind == "hog":
        return config
    names = [detector.weights]
    if detector.kind == "auto" and find_spec("openvino") and detector.device in ("auto", "cpu") and not _has_gpu():
        names.insert(0, _OPENVINO_YOLO)
    try:
        weights = _first_found(names, environment, detector.weights_sha256)
    except WeightsError as error:
        if detector.kind == "yolo":
            raise
        _log.debug("no YOLO: %s", error)
        warnings.append(
            f"no YOLO weights ({', '.join(names)}) at hand: people are found by OpenCV's HOG detector, which misses "
            "people who are small, seated or partly hidden. `run_pipeline.py weights` says how to get YOLO."
        )
        return replace(config, detector=replace(detector, kind="hog"))
    return replace(config, detector=replace(detector, kind="yolo", weights=str(weights)))


def _settle_reid(config: Config, environment: Mapping[str, str], warnings: list[str]) -> Config:
    from reid.catalogue import usual_weights

    reid = config.reid
    if reid.backbone == "handcrafted":
        return config
    backbone = _AUTO_BACKBONE if reid.backbone == "auto" else reid.backbone
    name = reid.weights or usual_weights(backbone)
    try:
        weights = _first_found([name], environment, reid.weights_sha256)
    except WeightsError as error:
        if reid.backbone != "auto" or reid.weights is not None:
            raise
        _log.debug("no OSNet: %s", error)
        warnings.append(
            f"no re-ID weights ({name}) at hand: people are told apart by a colour-and-gradient descriptor, which "
            "serves for the generated scene and not for real cameras. `run_pipeline.py weights` says how to get OSNet."
        )
        return replace(config, reid=replace(reid, backbone="handcrafted"))
    return replace(config, reid=replace(reid, backbone=backbone, weights=str(weights)))


def _settle_head(config: Config, warnings: list[str]) -> Config:
    from reid.load import settle_head
    from reid.weights import model_id

    reid = config.reid
    encoder = reid.backbone if reid.backbone == "handcrafted" else model_id(Path(reid.weights or ""))
    settled = settle_head(reid, encoder)
    # the hand-crafted descriptor is a makeshift as a whole, and has said so
    if reid.fusion == "auto" and settled.fusion == "global" and reid.head == "sta" and reid.backbone != "handcrafted":
        warnings.append(
            f"no aligned head is stored for {encoder.partition('@')[0]}: clips are fused by STA's global attention. "
            "`run_pipeline.py fit-site` makes a head of your own footage; fusion: global says that you know."
        )
    return replace(config, reid=settled)


def _first_found(names: list[str], environment: Mapping[str, str], sha256: str | None) -> Path:
    from reid.weights import find_weights

    for name in names[:-1]:
        try:
            return find_weights(name, environment, sha256=sha256)
        except WeightsError:
            continue
    return find_weights(names[-1], environment, sha256=sha256)


def _has_gpu() -> bool:
    """Whether an NVIDIA device is there; asked without importing PyTorch, because workers settle nothing."""
    return Path("/dev/nvidia0").exists()


def build_detector(config: Config) -> Detector:
    """The detector of a settled configuration.

    Raises:
        WeightsError, ConfigError, DecodeError.
    """
    detector = config.detector
    match detector.kind:
        case "hog":
            from detectors.hog import HogDetector

            return HogDetector(confidence=detector.confidence)
        case "recorded":
            from detectors.recorded import RecordedDetector

            files = {camera.id: Path(camera.detections) for camera in config.cameras if camera.detections}
            return RecordedDetector(files, confidence=detector.confidence)
        case "yolo":
            from detectors.yolo import YoloDetector

            return YoloDetector(
                Path(detector.weights),
                confidence=detector.confidence,
                image_size_px=detector.image_size_px,
                device=detector.device,
                sha256=detector.weights_sha256,
            )
    raise ConfigError("detector.kind: auto must be settled first")


def read_detections(path: Path) -> Mapping[int, Detections]:
    """The detections of a MOTChallenge det.txt by frame number, from 1.

    Raises:
        DecodeError: a row that cannot be read, named with its line.
    """
    from detectors.recorded import read_detections as read

    return read(path)


def build_encoder(config: Config) -> CropEncoder:
    """The crop encoder of a settled configuration.

    Raises:
        WeightsError, ConfigError.
    """
    from reid.load import load_encoder

    weights = Path(config.reid.weights) if config.reid.weights else None
    return load_encoder(config.reid, weights, threads=config.runtime.inference_threads or 1)


def build_head(config: Config, encoder: EncoderDescription) -> ClipHead:
    """The clip head; imports NumPy only, so that workers may call it."""
    from reid.load import load_head

    return load_head(config.reid, encoder)


def limit_threads(config: Config) -> None:
    """Fix the number of threads of OpenCV and, where a network runs in this process, of PyTorch."""
    threads = config.runtime.inference_threads or 1
    cv2.setNumThreads(threads)
    if config.detector.kind == "yolo" or config.reid.backbone != "handcrafted":
        from reid.load import limit_threads as limit_torch

        limit_torch(threads)


def matcher_threshold(config: Config, clip_model_id: str) -> float:
    """The matcher's threshold for the model in use.

    Raises:
        ConfigError: `auto`, and nothing is stored for this model.
    """
    from reid.catalogue import find_threshold

    configured = config.matcher.threshold
    return find_threshold(clip_model_id).distance if configured == "auto" else float(configured)


def build_matcher(config: Config, threshold: float, state: Mapping[str, bytes] | None = None) -> "Matcher":
    """The site's matcher, new or carrying on from `state`.

    Raises:
        DecodeError: a state or a calibration that cannot be read.
    """
    from pipeline.ground import read_calibration
    from pipeline.identity.matcher import Matcher  # only the matcher's process pays for it

    cameras = [camera.id for camera in config.cameras]
    live = [camera.id for camera in config.cameras if is_live(camera)]
    matcher: MatcherConfig = config.matcher
    return Matcher(
        matcher,
        threshold,
        cameras,
        live_cameras=live,
        topology=config.topology,
        grounds={c.id: read_calibration(Path(c.calibration)) for c in config.cameras if c.calibration},
        features_s=config.retention.features_s,
        state=state,
    )


def is_live(camera: CameraConfig) -> bool:
    """Whether the source delivers in its own time (RTSP, webcam) and not from a file or folder."""
    return source_kind(camera.source) in ("rtsp", "webcam")


def build_recorded_source(camera: CameraConfig, start_time_s: float) -> Source:
    """A file or an image folder, lossless.

    Raises:
        ConfigError: a live source.
    """
    start_s = camera.start_time if camera.start_time is not None else start_time_s
    match source_kind(camera.source):
        case "file":
            from pipeline.capture.files import VideoFileSource

            return VideoFileSource(
                camera.id, Path(camera.source), start_time_s=start_s, clock_offset_s=camera.clock_offset_s
            )
        case "folder":
            from pipeline.capture.folders import ImageFolderSource

            return ImageFolderSource(
                camera.id, Path(camera.source), start_time_s=start_s, clock_offset_s=camera.clock_offset_s
            )
    raise ConfigError(f"camera {camera.id}: a live source cannot be replayed; record it to a file first")


def build_live_source(
    camera: CameraConfig,
    config: Config,
    *,
    new_epoch: Callable[[], str],
    on_state: Callable[[CameraCondition], None],
    jitter: random.Random,
) -> Source:
    """RTSP or webcam; newest frame wins."""
    kind = source_kind(camera.source)
    if kind == "rtsp":
        from pipeline.capture.rtsp import RtspSource

        return RtspSource(
            camera.id,
            camera.source,
            config=config.capture,
            new_epoch=new_epoch,
            clock=lambda: time.time() + camera.clock_offset_s,
            on_state=on_state,
            jitter=jitter,
        )
    from pipeline.capture.webcam import WebcamSource

    return WebcamSource(
        camera.id,
        int(camera.source),
        config=config.capture,
        new_epoch=new_epoch,
        clock=lambda: time.time() + camera.clock_offset_s,
        on_state=on_state,
        jitter=jitter,
    )


def build_segmenter(
    config: Config, out_dir: Path, environment: Mapping[str, str] | None = None
) -> tuple[str, Segmenter]:
    """The segmenter's name and itself: YOLO-seg where its weights are at hand, else GrabCut on the clean plate.

    Raises:
        WeightsError: `segmenter: yolo` without weights.
    """
    background = config.background
    environment = os.environ if environment is None else environment
    if background.segmenter in ("auto", "yolo"):
        try:
            weights = _first_found([background.weights], environment, background.weights_sha256)
        except WeightsError:
            if background.segmenter == "yolo":
                raise
        else:
            from detectors.yolo import check_weights
            from detectors.yolo_segmenter import YoloSegmenter

            check_weights(weights, background.weights_sha256)
            return "yolo", YoloSegmenter(weights, device=background.device)
    from pipeline.background.grabcut import GrabCutSegmenter

    return "grabcut", GrabCutSegmenter(PlateFolder(out_dir))


def build_references(config: Config, out_dir: Path, host: str) -> ReferenceKeeper | None:
    """Who takes reference frames on this host; None when the configuration wants none."""
    if not config.background.references:
        return None
    name, segmenter = build_segmenter(config, out_dir)
    return ReferenceKeeper(
        out_dir, segmenter, host, config.background, serialise=reference_to_json, segmenter_name=name
    )


def build_crops(config: Config, out_dir: Path, host: str) -> CropStore | None:
    """Who keeps pictures of each identity; None when the configuration wants none."""
    wanted = config.retention.crops_per_identity
    return CropStore(out_dir, wanted, host) if wanted else None

"""The settings: every one once, with its default and its type. `configs/default.yaml` shows the same ones (tested)."""

from dataclasses import dataclass, field, replace
from typing import Literal, NewType

from pipeline.errors import ConfigError

Moment = NewType("Moment", float)  # Unix seconds; in YAML also as ISO 8601 with a time zone


@dataclass(frozen=True, slots=True)
class CameraConfig:
    id: str
    source: str
    start_time: Moment | None = None  # of the first frame of a file; null: 0 in replay, now in a live run
    clock_offset_s: float = 0.0  # added to the camera's time stamps
    detect_every_s: float = 0.0  # 0: every frame
    exits: tuple[tuple[tuple[float, float], ...], ...] = ()  # polygons, px, where people leave in mid-picture
    calibration: str | None = None
    detections: str | None = None  # detector.kind recorded: MOTChallenge det.txt of this camera


@dataclass(frozen=True, slots=True)
class DetectorConfig:
    kind: Literal["auto", "yolo", "hog", "recorded"] = "auto"
    weights: str = "yolo11n.pt"
    weights_sha256: str | None = None
    confidence: float = 0.1  # weak boxes may only continue a track (tracker.low_confidence)
    image_size_px: int = 640
    device: str = "auto"


@dataclass(frozen=True, slots=True)
class TrackerConfig:
    high_confidence: float = 0.45
    low_confidence: float = 0.1
    birth_confidence: float = 0.5
    match_iou: float = 0.2
    confirm_s: float = 0.1
    lost_s: float = 2.0
    cut_switches: bool = True


@dataclass(frozen=True, slots=True)
class ReidConfig:
    backbone: Literal[
        "auto", "osnet_x0_25", "osnet_x0_5", "osnet_x0_75", "osnet_x1_0", "resnet50", "onnx", "handcrafted"
    ] = "auto"
    weights: str | None = None  # null: the backbone's usual weights
    weights_sha256: str | None = None
    head: Literal[
        "mean", "sta", "temporal", "quality", "rnn", "lstm", "stgcn", "pcb", "icnn", "aligned_reid", "scpnet"
    ] = "sta"
    head_weights: str | None = None  # null: the one stored for the encoder, if there is one
    fusion: Literal["auto", "aligned", "paper", "global", "discriminative", "stripes"] = "auto"
    energy: Literal["squares", "norm"] = "squares"
    normalisation: Literal["sum", "l2", "none"] = "sum"
    quality_weights: bool | Literal["auto"] = "auto"
    clip_frames: int = 4
    stripes: int = 4
    first_clip_s: float = 0.4
    every_s: float = 1.0
    crop_every_s: float = 0.25  # one crop of a track, the best, is encoded per this time
    looks: Literal["evenly", "sparing"] = "evenly"
    device: str = "auto"


@dataclass(frozen=True, slots=True)
class MatcherConfig:
    threshold: float | Literal["auto"] = "auto"
    absence_s: float = 5.0
    occlusion_s: float = 10.0
    lateness_s: float = 2.0
    identity_ttl_s: float = 86400.0
    decide_every_s: float = 0.1
    patience_s: float = 0.3
    revise_s: float = 120.0
    max_identities: int = 100_000
    max_candidates: int = 1000
    margin: float = 0.05
    features_per_identity: int = 10
    min_quality: float = 0.15
    subtract_camera_mean: bool = True


@dataclass(frozen=True, slots=True)
class TopologyConfig:
    """Either an ordered pair with its transit time, or a pair of cameras that see the same ground."""

    from_camera: str | None = None
    to_camera: str | None = None
    transit_s: tuple[float, float] | None = None
    pair: tuple[str, str] | None = None
    overlap: bool = False


@dataclass(frozen=True, slots=True)
class BusConfig:
    url: str | None = None
    max_messages: int = 20000
    spool_mb: int = 256
    spool_s: float = 600.0


@dataclass(frozen=True, slots=True)
class CaptureConfig:
    rtsp_transport: Literal["tcp", "udp"] = "tcp"
    open_timeout_s: float = 5.0
    stalled_s: float = 5.0
    frozen_s: float = 10.0
    reconnect_s: tuple[float, ...] = (0.5, 1.0, 2.0, 4.0, 8.0, 15.0, 30.0)
    refused_s: tuple[float, ...] = (60.0, 120.0, 300.0, 900.0)
    healthy_s: float = 30.0


@dataclass(frozen=True, slots=True)
class BackgroundConfig:
    references: bool = True
    policy: Literal["event", "poll"] = "event"
    poll_s: float = 5.0
    poll_missing_s: float = 1.0
    segmenter: Literal["auto", "grabcut", "yolo"] = "auto"
    weights: str = "yolo11n-seg.pt"
    weights_sha256: str | None = None
    device: str = "auto"
    min_quality: float = 0.2


@dataclass(frozen=True, slots=True)
class RetentionConfig:
    features_s: float = 86400.0
    crops_s: float = 604800.0
    references_s: float = 604800.0
    crops_per_identity: int = 8


@dataclass(frozen=True, slots=True)
class ViewConfig:
    trail_s: float = 2.0
    host: str = "127.0.0.1"
    port: int = 8765
    insecure: bool = False
    preview_fps: float = 8.0
    preview_width_px: int = 640


@dataclass(frozen=True, slots=True)
class RuntimeConfig:
    cameras_per_worker: int = 1
    inference_threads: int = 0
    tick_every_s: float = 0.2
    heartbeat_s: float = 1.0
    hang_s: float = 15.0
    restarts_per_minute: int = 5
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Config:
    site: str = "site"
    cameras: tuple[CameraConfig, ...] = ()
    detector: DetectorConfig = field(default_factory=DetectorConfig)
    tracker: TrackerConfig = field(default_factory=TrackerConfig)
    reid: ReidConfig = field(default_factory=ReidConfig)
    matcher: MatcherConfig = field(default_factory=MatcherConfig)
    topology: tuple[TopologyConfig, ...] = ()
    bus: BusConfig = field(default_factory=BusConfig)
    capture: CaptureConfig = field(default_factory=CaptureConfig)
    background: BackgroundConfig = field(default_factory=BackgroundConfig)
    retention: RetentionConfig = field(default_factory=RetentionConfig)
    view: ViewConfig = field(default_factory=ViewConfig)
    runtime: RuntimeConfig = field(default_factory=RuntimeConfig)

    def camera(self, camera_id: str) -> CameraConfig:
        """The camera of this id.

        Raises:
            ConfigError: there is none; names those that exist.
        """
        for camera in self.cameras:
            if camera.id == camera_id:
                return camera
        known = ", ".join(c.id for c in self.cameras) or "none"
        raise ConfigError(f"no camera {camera_id!r} in the config; it has: {known}")

    def with_cameras(self, cameras: tuple[CameraConfig, ...]) -> "Config":
        return replace(self, cameras=cameras)

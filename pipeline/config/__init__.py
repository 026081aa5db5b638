"""The configuration: what can be set (`settings`), and how it is read from YAML (`reading`)."""

from pipeline.config.reading import is_url, load_config, parse_config
from pipeline.config.settings import (
    BackgroundConfig,
    BusConfig,
    CameraConfig,
    CaptureConfig,
    Config,
    DetectorConfig,
    MatcherConfig,
    Moment,
    ReidConfig,
    RetentionConfig,
    RuntimeConfig,
    TopologyConfig,
    TrackerConfig,
    ViewConfig,
)

__all__ = [
    "BackgroundConfig",
    "BusConfig",
    "CameraConfig",
    "CaptureConfig",
    "Config",
    "DetectorConfig",
    "MatcherConfig",
    "Moment",
    "ReidConfig",
    "RetentionConfig",
    "RuntimeConfig",
    "TopologyConfig",
    "TrackerConfig",
    "ViewConfig",
    "is_url",
    "load_config",
    "parse_config",
]

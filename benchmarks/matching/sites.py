"""What is matched: footage that is recorded once, and the sites that one recording serves."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations
from pathlib import Path
from typing import Literal

from pipeline.config import BackgroundConfig, CameraConfig, Config, load_config

Boxes = Literal["detector", "truth"]
BOXES: tuple[Boxes, Boxes] = ("detector", "truth")
_GENERATED = {"": "site", "+topo": "site.topology", "+cal": "site.calibrated", "+full": "site.full"}  # its configs


@dataclass(frozen=True, eq=False)
class Footage:
    """Cameras that are recorded together.

    Attributes:
        name: of its folder in the cache.
        clip: what is left out when a threshold is chosen for it; footage cut from other footage is of its clip.
        variants: what the matcher is told of the same recording; label ("" for nothing more than the cameras) ->
            configuration. The first one is recorded.
        truth: folder of the ground truth.
        in_pairs: every two of its cameras are a site as well.
        recorded: recordings that are somewhere else than in the cache.
    """

    name: str
    clip: str
    variants: Mapping[str, Config]
    truth: Path
    in_pairs: bool = False
    is_generated: bool = False
    recorded: Mapping[Boxes, Path] = field(default_factory=dict)

    @property
    def config(self) -> Config:
        """What is recorded; nothing of the pictures is kept."""
        config = next(iter(self.variants.values()))
        retention = replace(config.retention, crops_per_identity=0)
        return replace(config, background=BackgroundConfig(references=False), retention=retention)


@dataclass(frozen=True, eq=False)
class Site:
    """What one line of the table is about.

    Attributes:
        name: of the footage, and of two cameras where only these take part.
        variant: what the matcher is told beyond the cameras.
        config: what the matcher is built from.
        recording: folder of the features. truth: folder of the ground truth.
        is_whole: all cameras of the footage take part.
    """

    name: str
    clip: str
    boxes: Boxes
    variant: str
    config: Config
    recording: Path
    truth: Path
    is_whole: bool
    is_generated: bool

    @property
    def label(self) -> str:
        return f"{self.name} {self.variant}".strip()

    @property
    def is_calibrated(self) -> bool:
        return all(camera.calibration is not None for camera in self.config.cameras)


def real_footage(media: Path, cache: Path) -> list[Footage]:
    """The real clips; the half views are made by `prepare` in the cache."""
    lab = media / "lab4cam"
    names = ("cam0", "cam1", "cam2", "cam3")
    plain = tuple(CameraConfig(name, str(lab / f"{name}.mp4")) for name in names)
    calibrated = tuple(replace(c, calibration=str(lab / f"calib_{c.id}.json")) for c in plain)
    halves = cache / "pets_halves" / "footage"
    pets, one = media / "pets_s2l1_view1", media / "one_by_one"
    sides = tuple(CameraConfig(name, str(halves / f"{name}.mp4")) for name in ("left", "right"))
    return [
        _real("lab4cam", "lab4cam", {"": plain, "+cal": calibrated}, lab / "gt", in_pairs=True),
        _real("pets_s2l1_view1", "pets", {"": (CameraConfig("video", str(pets / "video.mp4")),)}, pets / "gt"),
        _real("pets_halves", "pets", {"": sides}, halves / "gt"),
        _real("one_by_one", "one_by_one", {"": (CameraConfig("video", str(one / "video.mp4")),)}, one / "gt"),
    ]


def _real(
    name: str, clip: str, cameras: Mapping[str, tuple[CameraConfig, ...]], truth: Path, *, in_pairs: bool = False
) -> Footage:
    variants = {label: Config(site=name, cameras=of_variant) for label, of_variant in cameras.items()}
    return Footage(name, clip, variants, truth, in_pairs)


def generated_footage(folder: Path) -> Footage:
    """A site of `benchmarks/generated_site`, with the recording that lies in it, where there is one.

    Raises:
        ConfigError: the folder holds no such site.
    """
    variants = {label: load_config(folder / f"{name}.yaml") for label, name in _GENERATED.items()}
    run = folder / "run"
    recorded: dict[Boxes, Path] = {"detector": run} if (run / "run.json").is_file() else {}
    name = folder.name
    return Footage(name, name, variants, folder / "gt", is_generated=True, recorded=recorded)


def recording_folder(cache: Path, footage: Footage, boxes: Boxes) -> Path:
    return footage.recorded.get(boxes, cache / footage.name / boxes)


def sites_of(footage: Footage, cache: Path, boxes: Boxes) -> list[Site]:
    """All cameras, and every two of them where that is wanted, each in all variants."""
    everybody = footage.config.cameras
    groups = [everybody, *(combinations(everybody, 2) if footage.in_pairs else ())]
    folder = recording_folder(cache, footage, boxes)
    return [
        _site(footage, [camera.id for camera in group], boxes, variant, folder)
        for variant in footage.variants
        for group in groups
    ]


def _site(footage: Footage, cameras: Sequence[str], boxes: Boxes, variant: str, recording: Path) -> Site:
    config = footage.variants[variant]
    is_whole = len(cameras) == len(config.cameras)
    if not is_whole:
        config = config.with_cameras(tuple(camera for camera in config.cameras if camera.id in cameras))
    return Site(
        footage.name if is_whole else f"{footage.name}/{'+'.join(cameras)}",
        footage.clip,
        boxes,
        variant,
        config,
        recording,
        footage.truth,
        is_whole,
        footage.is_generated,
    )

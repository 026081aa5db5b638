"""Writes a generated site: what `write_scene` writes, without label maps, and what a floor plan adds to it.

site.yaml                 cameras alone; the other three are the same cameras and more
site.topology.yaml        with the ways between them
site.calibrated.yaml      with calibration/<camera>.json, exact homographies
site.full.yaml            with both
site.json                 seed, look-alikes, places, ways
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import yaml

from pipeline.errors import OutputError
from pipeline.scenes.cameras import SyntheticCamera
from pipeline.scenes.export import Progress, WrittenScene, write_scene
from pipeline.scenes.ground_plan import picture_to_ground
from pipeline.scenes.roaming import Place, Port
from pipeline.scenes.sites import Site

VARIANTS: tuple[tuple[str, bool, bool], ...] = (  # name of the config, with topology, with calibration
    ("site", False, False),
    ("site.topology", True, False),
    ("site.calibrated", False, True),
    ("site.full", True, True),
)
_SLACK_S = 5.5  # s between the edge of a picture and a port at most, for who dawdles or turns round out of this picture


def write_site(site: Site, out_dir: Path, *, progress: Progress | None = None) -> WrittenScene:
    """Render every camera of the site into `out_dir`, which must be empty or absent.

    Raises:
        OutputError: the folder holds something, or cannot be written.
    """
    written = write_scene(site.scenario, out_dir, mask_every=None, progress=progress)
    write_plan(site, out_dir, {camera_id: path.name for camera_id, path in written.sources.items()})
    return written


def write_plan(site: Site, out_dir: Path, sources: Mapping[str, str]) -> None:
    """Write the configurations, the calibrations and `site.json`.

    Args:
        sources: what each camera's `source` says, relative to `out_dir`.

    Raises:
        OutputError: the disk says no.
    """
    try:
        (out_dir / "calibration").mkdir(parents=True, exist_ok=True)
        for camera in site.scenario.cameras:
            text = json.dumps(_calibration(site, camera), indent=2)
            (out_dir / "calibration" / f"{camera.id}.json").write_text(text + "\n", encoding="utf-8")
        for name, topology, calibration in VARIANTS:
            config = _config(site, sources, topology, calibration)
            text = yaml.safe_dump(config, sort_keys=False, default_flow_style=None, width=200)
            (out_dir / f"{name}.yaml").write_text(f"# A generated site: ground truth in gt/\n{text}", encoding="utf-8")
        (out_dir / "site.json").write_text(json.dumps(_facts(site), indent=2) + "\n", encoding="utf-8")
    except OSError as error:
        raise OutputError(f"cannot write the site to {out_dir}: {error.strerror}; choose another folder") from None


def topology_rules(site: Site) -> list[dict[str, Any]]:
    """The ways between the pictures of different cameras as `topology` of a configuration, by origin and destination.

    A window holds every time between the last sight in one picture and the first in the other.
    """
    windows: dict[tuple[str, str], tuple[float, float]] = {}
    for way in site.ways:
        for origin in _place(site, way.origin).cameras:
            for destination in _place(site, way.destination).cameras:
                if origin != destination:
                    low, high = windows.get((origin, destination), way.transit_s)
                    window = (min(low, way.transit_s[0]), max(high, way.transit_s[1] + 2 * _SLACK_S))
                    windows[origin, destination] = window
    rules: list[dict[str, Any]] = [
        {"from": origin, "to": destination, "transit_s": [round(low, 1), round(high, 1)]}
        for (origin, destination), (low, high) in windows.items()
    ]
    return [*rules, *({"pair": list(p.cameras), "overlap": True} for p in site.places if len(p.cameras) == 2)]


def _place(site: Site, port: Port) -> Place:
    return next(place for place in site.places if place.id == port.place)


def _calibration(site: Site, camera: SyntheticCamera) -> dict[str, Any]:
    return {
        "homography": picture_to_ground(camera, site.placements[camera.id]).tolist(),
        "resolution": {"width": camera.width_px, "height": camera.height_px},
    }


def _config(site: Site, sources: Mapping[str, str], topology: bool, calibration: bool) -> dict[str, Any]:
    cameras: list[dict[str, Any]] = [{"id": camera_id, "source": source} for camera_id, source in sources.items()]
    if calibration:
        cameras = [{**camera, "calibration": f"calibration/{camera['id']}.json"} for camera in cameras]
    config: dict[str, Any] = {
        "site": f"generated{site.scenario.seed}",
        "cameras": cameras,
        "background": {"references": False},  # hundreds of entries, and nobody looks at the pictures
    }
    if topology:
        config["topology"] = topology_rules(site)
    return config


def _facts(site: Site) -> dict[str, Any]:
    scenario = site.scenario
    return {
        "seed": scenario.seed,
        "people": len(scenario.people),
        "duration_s": scenario.duration_s,
        "fps": scenario.fps,
        "difficulty": asdict(scenario.difficulty) if scenario.difficulty else None,
        "lookalikes": [
            {"person_id": p.person_id, "looks_like": p.likeness.person_id, "but_for": p.likeness.part}
            for p in scenario.people
            if p.likeness is not None
        ],
        "places": [asdict(place) for place in site.places],
        "ways": [
            {"from": list(w.origin), "to": list(w.destination), "transit_s": list(w.transit_s), "away": w.away}
            for w in site.ways
        ],
        "crossings": _crossings(site),
    }


def _crossings(site: Site) -> Sequence[dict[str, Any]]:
    return [
        {
            "person_id": c.path.person_id,
            "place": c.place,
            "enter": c.enter,
            "leave": c.leave,
            "start_s": round(c.path.start_s, 3),
            "end_s": round(c.path.end_s, 3),
        }
        for c in site.crossings
    ]

"""`run_pipeline.py background`: one camera's people cut out of its video, everybody or some identities.

Recorded footage passes twice: first the replay of all cameras, so that identities link across them and every correction
is known, then the camera's frames once more with the final identities. A live camera passes once, a moment late.
"""

import argparse
import json
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from tqdm.contrib.logging import logging_redirect_tqdm

from pipeline.background.background_model import BackgroundModel
from pipeline.background.files import write_bytes
from pipeline.background.removal.lives import Lives
from pipeline.background.removal.reading import read_references
from pipeline.background.removal.remover import BackgroundRemover
from pipeline.background.removal.tracks import Reference
from pipeline.boxes import xywh_to_xyxy
from pipeline.build import build_recorded_source, is_live
from pipeline.capture.probe import SourceInfo, probe
from pipeline.commands.background_output import CutOutput, OutputKind
from pipeline.commands.output import prepare_output
from pipeline.commands.recorded import fix_threads, progress_bar, step
from pipeline.commands.replay import ReplayOptions, prepare, replay
from pipeline.config import CameraConfig, Config, is_url
from pipeline.errors import ConfigError, DecodeError
from pipeline.resolution import IdentityBook
from pipeline.runtime.recorder import UNIDENTIFIED
from pipeline.runtime.recording import read_events
from pipeline.scoring.rows import read_rows

_UNKNOWN_FPS = 25.0  # of a source that states no rate
REACH_S = 0.5  # people are looked for this long before their first and after their last box


@dataclass(frozen=True, slots=True)
class BackgroundOptions:
    """What to cut out, and of what.

    Attributes:
        camera_id: of the config.
        identities: ids as any run of the site said them, merged ones too; empty: everybody.
        results: folder of a replay of the same config; None: it is replayed first, into `out_dir`.
        duration_s: of a live camera; None: until Ctrl-C.
        inputs: files that must not lie in the output folder.
    """

    camera_id: str
    out_dir: Path
    identities: frozenset[int] = frozenset()
    output: OutputKind = "green"
    results: Path | None = None
    duration_s: float | None = None
    overwrite: bool = False
    progress: bool = True
    inputs: tuple[Path, ...] = ()


def options_from(arguments: argparse.Namespace) -> BackgroundOptions:
    """The options of a command line that `add_background_arguments` has parsed."""
    return BackgroundOptions(
        camera_id=arguments.camera,
        out_dir=arguments.out,
        identities=frozenset(arguments.identity or ()),
        output=arguments.output,
        results=arguments.results,
        duration_s=arguments.duration,
        overwrite=arguments.overwrite,
        progress=not arguments.quiet,
        inputs=(arguments.config,),
    )


def background(config: Config, options: BackgroundOptions, echo: Callable[[str], None]) -> int:
    """Cut people out of one camera's video; returns the exit code.

    Raises:
        ConfigError: no such camera or identity, or options that do not go together. PipelineError: sources, weights or
            the disk.
    """
    camera = config.camera(options.camera_id)
    if is_live(camera):
        from pipeline.commands.background_live import cut_live

        return cut_live(config, camera, options, echo)
    if options.duration_s is not None:
        raise ConfigError(f"--duration is for live cameras; {camera.id} is a recording and ends by itself")
    config, left_out = _recorded_only(config)
    if left_out:
        echo(f"warning: live cameras are left out beside a recording: {', '.join(left_out)}")
    results = _results(config, options, echo)
    wanted = _wanted(results, options.identities)
    info = probe(camera.source, config.capture)
    output = CutOutput(options.out_dir, camera.id, options.output, info.fps or _UNKNOWN_FPS)
    with output:
        _cut_recorded(config, camera, _Recorded(results, camera.id, info), output, wanted, options.progress)
    echo(f"{output.frames} frames of {camera.id}: {output.path}")
    return 0


def _recorded_only(config: Config) -> tuple[Config, list[str]]:
    live = [camera.id for camera in config.cameras if is_live(camera)]
    return config.with_cameras(tuple(camera for camera in config.cameras if camera.id not in live)), live


def _results(config: Config, options: BackgroundOptions, echo: Callable[[str], None]) -> Path:
    """The folder with tracks and identities: an earlier run's, or that of a replay made now."""
    sources = [Path(camera.source) for camera in config.cameras if not is_url(camera.source)]
    if options.results is None:
        prepared = prepare(config)
        prepare_output(options.out_dir, options.overwrite, (*options.inputs, *sources))
        replay(prepared, options.out_dir, ReplayOptions(progress=options.progress), echo)
        return options.out_dir
    if not (options.results / "tracks" / f"{options.camera_id}.txt").exists():
        raise ConfigError(
            f"--results {options.results} holds no tracks of camera {options.camera_id}; "
            "expected the --out folder of a finished replay of this config"
        )
    _wanted(options.results, options.identities)  # before anything is emptied
    prepare_output(options.out_dir, options.overwrite, (*options.inputs, *sources, options.results))
    return options.results


def _wanted(results: Path, identities: Collection[int]) -> frozenset[int]:
    """The ids that live on of those asked for; none: everybody.

    Raises:
        ConfigError: nobody of the run has such an id; lists those who are in it.
    """
    book = IdentityBook(read_events(results))
    known = book.identities()
    wanted = {book.living(identity_id) for identity_id in identities}
    if wrong := sorted(wanted - known):
        there = ", ".join(str(i) for i in sorted(known)) or "none"
        raise ConfigError(f"no identity {', '.join(map(str, wrong))} in the run; it has: {there}")
    return frozenset(wanted)


class _Recorded:
    """What a run left of one camera: its people, its references, its clean plate."""

    def __init__(self, results: Path, camera_id: str, info: SourceInfo) -> None:
        self.results = results
        self.info = info
        rows = read_rows(results / "tracks" / f"{camera_id}.txt")
        reach = round(REACH_S * (info.fps or _UNKNOWN_FPS))
        self.lives = Lives(rows.frames - 1, rows.ids, xywh_to_xyxy(rows.xywh.astype(np.float32)), reach)
        self.times = _frame_times(results, camera_id)
        self.references: dict[int, list[Reference]] = {}
        for reference in read_references(results, camera_id):
            self.references.setdefault(self._frame_at(reference.captured_at_s), []).append(reference)
        try:
            self.plate = BackgroundModel.load(results, camera_id)
        except (FileNotFoundError, DecodeError):
            self.plate = BackgroundModel()

    def _frame_at(self, at_s: float) -> int:
        return int(np.abs(self.times - at_s).argmin()) if len(self.times) else -1


def _frame_times(results: Path, camera_id: str) -> np.ndarray:
    path = results / "frame_times" / f"{camera_id}.txt"
    return np.array([float(line) for line in path.read_text().split()]) if path.exists() else np.zeros(0)


def _cut_recorded(
    config: Config, camera: CameraConfig, recorded: _Recorded, output: CutOutput, wanted: frozenset[int], show: bool
) -> None:
    fix_threads(config)
    remover = BackgroundRemover(plate=recorded.plate)
    lessons = recorded.lives.taught_at(recorded.references)
    identities = {life.number: life.identity_id for life in recorded.lives.lives}
    chosen = {n: i for n, i in identities.items() if i in wanted} if wanted else None
    source = build_recorded_source(camera, 0.0)
    try:
        with progress_bar({camera.id: recorded.info}, "cut out", show) as bar, logging_redirect_tqdm():
            for frame in source.frames():
                for number in recorded.lives.ended(frame.index):
                    remover.end(number)
                for reference, boxes in lessons.get(frame.index, ()):
                    remover.renew(reference, boxes, frame.captured_at_s)
                output.write(remover.add(frame, recorded.lives.at(frame.index)), chosen)
                step(bar)
    finally:
        source.close()
        _write_summary(output, recorded, wanted, remover)


def _write_summary(output: CutOutput, recorded: _Recorded, wanted: frozenset[int], remover: BackgroundRemover) -> None:
    """What was made of what, as JSON beside the video."""
    people = sorted({life.identity_id for life in recorded.lives.lives if life.identity_id < UNIDENTIFIED})
    summary: dict[str, Any] = {
        "output": output.kind,
        "frames": output.frames,
        "identities": sorted(wanted) or people,
        "masks": dict(sorted(remover.counters.items())),
        "plate_coverage": round(remover.model.coverage, 4),
    }
    write_bytes(output.path.with_suffix(".json"), json.dumps(summary, indent=1).encode())

"""Runs a peer over clips in its own environment, and gives this process and its children one core."""

import importlib.metadata
import json
import os
import platform
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from peers.catalogue import Library, Peer
from peers.clips import Clip
from peers.environments import FOLDER, library_python, run
from peers.results import Result, faster, score_result

RUN_LIMIT_S = 1800
_RUNNER = FOLDER / "inside" / "run_peer.py"


def use_one_core() -> None:
    """Everybody gets one and the same core: nobody gains by threads, whatever pool a library opens."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})


def bench_peers(
    peers: Sequence[Peer],
    clips: Sequence[Clip],
    work: Path,
    environments: Path,
    *,
    rounds: int = 1,
    weights: Mapping[Library, Path] | None = None,
) -> list[Result]:
    """One line for each peer: its fastest round, or why it could not be installed or run.

    The rounds go over all peers, so that a busy minute of the machine does not fall on one of them alone.

    Args:
        work: folder for rows. weights: re-ID weights by library; None for association alone.
    """
    results: dict[Peer, Result] = {}
    for number in range(1, rounds + 1):
        for peer in peers:
            before = results.get(peer)
            if before is not None and before.reason:
                continue
            print(f"round {number} of {rounds}: {peer.name}", file=sys.stderr, flush=True)
            folder = work / f"{peer.library}-{peer.tracker}"
            result = run_peer(peer, clips, folder, environments, (weights or {}).get(peer.library))
            results[peer] = result if before is None else faster(before, result)
    return [score_result(results[peer], clips, work / f"{peer.library}-{peer.tracker}") for peer in peers]


def run_peer(peer: Peer, clips: Sequence[Clip], work: Path, environments: Path, weights: Path | None) -> Result:
    """The peer's speed and version, its rows in `work`/<clip>.txt; or a reason."""
    work.mkdir(parents=True, exist_ok=True)
    job = work / "job.json"
    job.write_text(json.dumps(describe_job(peer, clips, work, weights)), encoding="utf-8")
    try:
        python = library_python(peer.library, environments)
        answer = read_answer(run([str(python), str(_RUNNER), str(job)], RUN_LIMIT_S))
        seconds = sum(float(answer["seconds"][clip.name]) for clip in clips)
    except RuntimeError as error:
        return Result(peer.name, reason=str(error), is_peer=True)
    frames = sum(clip.frame_count for clip in clips)
    return Result(peer.name, frames_per_s=frames / seconds, version=answer["version"], is_peer=True)


def describe_job(peer: Peer, clips: Sequence[Clip], work: Path, weights: Path | None) -> dict[str, Any]:
    """What inside/run_peer.py reads."""
    return {
        "library": peer.library,
        "tracker": peer.tracker,
        "weights": None if weights is None else str(weights),
        "clips": [
            {
                "name": clip.name,
                "detections": str(clip.detections),
                "frame_count": clip.frame_count,
                "fps": clip.fps,
                "size_px": list(clip.size_px),
                "video": None if clip.video is None else str(clip.video),
                "out": str(work / f"{clip.name}.txt"),
            }
            for clip in clips
        ],
    }


def read_answer(output: str) -> dict[str, Any]:
    """The last line that the runner printed: {"version", "seconds": {clip: s}}.

    Raises:
        RuntimeError: it is something else.
    """
    lines = output.strip().splitlines()
    try:
        answer = json.loads(lines[-1] if lines else "")
        if not (isinstance(answer["version"], str) and isinstance(answer["seconds"], dict)):
            raise ValueError("other fields")
    except (ValueError, KeyError, TypeError):
        raise RuntimeError("the runner's answer is not what was expected") from None
    return answer


def machine_line(rounds: int) -> str:
    """Where and how it was measured, for the line below the table."""
    own = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in ("trackeval", "numpy"))
    return (
        f"{_processor()}, {os.cpu_count()} cores, one used; Python {platform.python_version()}, {own}. Frames per "
        f"second: CPU time inside the update calls, fastest of {rounds} round{'s' if rounds > 1 else ''}."
    )


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()

"""What a large site costs its matcher: processor time, time per clip, memory, state and restart, by size of the site.

    python benchmarks/bench_matcher_scale.py [--cameras 1000] [--identities 100000] [--clips 1000000] [--seconds 3600]
        [--shares 0.01,0.03,0.1,0.3,1] [--batch 1] [--candidates N] [--seed 0] [--limit-s 3600]
        [--plot docs/images/matcher_scale.png]

The traffic is made up on the level of features: benchmarks/scale/ says what is assumed and why (site.py the streets and
what is declared of them, walks.py who is where, appearance.py the embeddings, traffic.py the messages). It is handed to
the real matcher message by message in order of time, without Redis. Making it is not timed.

Each row is a smaller site of the same density (a share of the cameras, identities and clips, over the same time) in a
process of its own. "Load" is the matcher's CPU seconds per second of message time, of one thread: below 1 it keeps up.
The time per clip is its share of everything that the matcher did: all receives and advances, those for ticks included,
are charged to the clips handled next. "Step" is the whole advance that handled the clip, with nothing shared, and so
the longest that the clip waits for the matcher beyond the watermark.

Memory: what a fresh process needs to carry on from the state, by identity and by stored feature; and the peak of the
process that was driven, without the copy of the state that stands for Redis but with the traffic's own tables.
"""

import argparse
import multiprocessing
import os
import resource
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parent))

from scale.appearance import THRESHOLD
from scale.drive import Cost, Minute, drive
from scale.links import FinalLinks
from scale.restart import Restart, restart, write_state
from scale.site import make_site
from scale.traffic import make_traffic
from scale.walks import make_visits

from pipeline.config import MatcherConfig
from pipeline.identity.matcher import Matcher

T = TypeVar("T")

GOAL_MS = 20.0  # p99 of a clip's share
MATCHER = MatcherConfig()
COSTS = (
    *("cameras", "people", "clips", "messages/s", "load", "per clip p50 (ms)", "p95", "p99", "max"),
    *("step p99 (ms)", "max", "state written (MB/s)"),
)
HELD = (
    *("people seen", "identities", "links right", "wrong", "missed", "unknown", "corrected", "strays at the end"),
    *("state (MB)", "read (s)", "restore (s)", "memory (MB)", "per identity (kB)", "per clip (kB)", "peak (MB)"),
)


@dataclass(frozen=True, slots=True)
class Size:
    """A site's size. `seconds` is message time."""

    cameras: int
    identities: int
    clips: int
    seconds: float

    def share(self, share: float) -> "Size":
        """A smaller site of the same density; at least one camera."""
        cameras, identities, clips = (round(n * share) for n in (self.cameras, self.identities, self.clips))
        return Size(max(1, cameras), identities, clips, self.seconds)


@dataclass(frozen=True, slots=True)
class Drive:
    """How a site is driven: messages before each advance, and the CPU time after which it is broken off."""

    config: MatcherConfig
    batch: int
    seed: int
    limit_s: float


@dataclass(frozen=True, slots=True)
class Row:
    """What one site cost."""

    size: Size
    messages_s: float
    handled: int  # clips
    load: float
    clip_ms: dict[str, float]
    step_ms: dict[str, float]
    written_mb_s: float
    minutes: tuple[Minute, ...]
    links: tuple[int, int, int, int, int]  # right, wrong, missed, unknown, corrected
    final: FinalLinks
    peak_mb: float
    complete: bool
    restarted: Restart | None = None


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--cameras", type=int, default=1000)
    parser.add_argument("--identities", type=int, default=100_000)
    parser.add_argument("--clips", type=int, default=1_000_000)
    parser.add_argument("--seconds", type=float, default=3600.0, help="of message time")
    parser.add_argument("--shares", default="0.01,0.03,0.1,0.3,1", help="of the size: one row each")
    parser.add_argument("--batch", type=int, default=1, help="messages before each advance")
    parser.add_argument("--candidates", type=int, default=MATCHER.max_candidates, help="matcher.max_candidates")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--limit-s", type=float, default=3600.0, help="CPU time of a row, then it is broken off")
    parser.add_argument("--plot", type=Path, help="PNG to draw")
    given = parser.parse_args(arguments)
    whole = Size(given.cameras, given.identities, given.clips, given.seconds)
    sizes = [whole.share(float(share)) for share in given.shares.split(",")]
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[name] = "1"  # for the processes that measure; in this one NumPy is up already
    way = Drive(replace(MATCHER, max_candidates=given.candidates), given.batch, given.seed, given.limit_s)
    rows = []
    print(f"{given.seconds:g} s of message time, {given.batch} message(s) an advance\n\n{head(COSTS)}", flush=True)
    for size in sizes:
        rows.append(measure(size, way))
        print(cost_row(rows[-1]), flush=True)
    print(f"\n{head(HELD)}")
    for row in rows:
        print(held_row(row))
    if given.plot:
        plot(given.plot, rows)
    return 0


def measure(size: Size, way: Drive) -> Row:
    """One site, in two processes: one is driven, and one carries on from its state."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "state"
        row = _apart(driven, size, way, path)
        restarted = _apart(restored, size, way, path)
    return replace(row, restarted=restarted)


def _apart(function: Callable[..., T], *arguments: object) -> T:
    """The function's answer from a process of its own."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(function, arguments)


def driven(size: Size, way: Drive, path: Path) -> Row:
    """Drive a matcher through a site, and leave its state in a file."""
    site = make_site(size.cameras, way.seed)
    visits = make_visits(site, size.identities, size.clips, size.seconds, way.seed)
    traffic = make_traffic(site, visits, size.seconds, way.seed)
    cameras = site.camera_ids
    matcher = Matcher(way.config, THRESHOLD, cameras, live_cameras=cameras, topology=site.topology())

    def report(cost: Cost) -> None:
        last = cost.minutes[-1]
        each_ms = 1000 * last.cpu_s / max(last.clips, 1)
        shown = "\r" if sys.stderr.isatty() else "\n"
        told = f"{size.cameras} cameras, {last.at_s:.0f} s: {last.identities} identities, load {last.cpu_s / 60:.3f}"
        print(f"{told}, {each_ms:.2f} ms a clip", end=shown, file=sys.stderr, flush=True)

    messages, people = traffic.messages(), traffic.person_of
    outcome = drive(matcher, messages, people, batch=way.batch, limit_s=way.limit_s, on_minute=report)
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    state_mb = write_state(path, outcome.state) / 1e6
    cost, links = outcome.cost, outcome.links
    return Row(
        size=size,
        handled=len(cost.clip_ns),
        messages_s=cost.messages / max(cost.message_s, 1e-9),
        load=cost.load,
        clip_ms=cost.per_clip_ms(),
        step_ms=cost.step_ms(),
        written_mb_s=cost.state_bytes / 1e6 / max(cost.message_s, 1e-9),
        minutes=tuple(cost.minutes),
        links=(links.right, links.wrong, links.missed, links.unknown, links.corrected),
        final=links.final(people),
        peak_mb=peak_mb - state_mb,
        complete=outcome.complete,
    )


def restored(size: Size, way: Drive, path: Path) -> Restart:
    """Carry on from the state in the file."""
    site = make_site(size.cameras, way.seed)
    return restart(path, way.config, THRESHOLD, site.camera_ids, site.topology())


def head(columns: Sequence[str]) -> str:
    return f"| {' | '.join(columns)} |\n{'|---' * len(columns)}|"


def cost_row(row: Row) -> str:
    """One line of the first table; a row that was broken off says so."""
    size, clip, step = row.size, row.clip_ms, row.step_ms
    times = [clip["p50"], clip["p95"], clip["p99"], clip["max"], step["p99"], step["max"]]
    cells = [f"{size.cameras:,}", f"{size.identities:,}", f"{size.clips:,}", f"{row.messages_s:,.0f}"]
    cells += [f"{row.load:.3f}", *(f"{t:.2f}" for t in times), f"{row.written_mb_s:.2f}"]
    return "| " + " | ".join(cells) + " |" + ("" if row.complete else " broken off")


def held_row(row: Row) -> str:
    """One line of the second table."""
    again, final = row.restarted, row.final
    cells = [f"{n:,}" for n in (final.people, final.identities, *row.links, final.stray)]
    if again is not None:
        kilobytes = [again.memory_bytes / 1e3 / max(n, 1) for n in (final.identities, row.handled)]
        cells += [f"{again.state_bytes / 1e6:.0f}", f"{again.read_s:.1f}", f"{again.restore_s:.1f}"]
        cells += [f"{again.memory_bytes / 1e6:.0f}", *(f"{k:.1f}" for k in kilobytes), f"{row.peak_mb:.0f}"]
    return "| " + " | ".join(cells) + " |"


def plot(path: Path, rows: Sequence[Row]) -> None:
    """Cost against gallery size: of all rows, and within the largest."""
    from scale.plot import Point, draw

    points = [Point(row.final.identities, row.load, row.clip_ms["p50"], row.clip_ms["p99"]) for row in rows]
    largest = max(rows, key=lambda row: row.size.cameras)
    within = [(m.identities, 1000 * m.cpu_s / m.clips) for m in largest.minutes if m.clips and m.identities]
    draw(path, sorted(points, key=lambda p: p.identities), within, GOAL_MS)


if __name__ == "__main__":
    sys.exit(main())

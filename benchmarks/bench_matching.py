"""Cross-camera matching against two baselines and the ceiling, on the same tracks and features.

    MODELS_DIR=... MEDIA_DIR=... python benchmarks/bench_matching.py prepare --cache DIR [--generated SITE ...]
    MEDIA_DIR=... python benchmarks/bench_matching.py --cache DIR [--generated SITE ...] [--sites lab4cam pets ...]
                                                      [--boxes detector] [--details] [--quick] [--json FILE]

`prepare` records each footage once with the detector's boxes and once with ground-truth boxes (interpolated between
annotated frames, ids taken off). Then, on every site, scored by pipeline.scoring:

    ours      the matcher over the recorded messages, threshold chosen on the other clips by the rule by which the
              stored one is (bench_thresholds.py); and with the stored one
    greedy    nearest neighbour, the OpenVINO multi-camera demo's rule; one threshold, chosen on the other clips
    cluster   constrained clustering of the whole recording with the best threshold for that very ground truth
    ceiling   ids given by the ground truth on the same tracks; "clips": on those of them that have a clip to go by

A clip, when thresholds are chosen: lab4cam with all its pairs, PETS with its halves, one_by_one; greedy's for generated
sites are chosen on other generated ones where those are swept.
Links are correct/false/missed, one decision a track; at-once: tracks of two people under one id in one camera.

Decisions: false links as a share of all links at the least threshold that finds 70 % of the true ones (as finally
known, and as they were first decided); and at that threshold how many tracks of strangers (a third of the people,
several draws) get an identity of the gallery (at first, and finally).
"""

import argparse
import json
import os
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parent))

from bench_thresholds import left_out_thresholds
from matching.operating import RateRow, rate_rows
from matching.preparing import make_pets_halves, prepare_footage
from matching.sites import BOXES, Footage, Site, generated_footage, real_footage, recording_folder, sites_of
from matching.sweeping import GREEDY, OURS, SiteReport, chosen_elsewhere, report, sweep
from matching.tables import details_table, rates_table, summary_table


@dataclass(frozen=True)
class Outcome:
    """What is said about one kind of boxes."""

    reports: list[SiteReport]
    rates: list[RateRow]


def run(sites: Sequence[Site], left_out: Mapping[str, float], arguments: argparse.Namespace) -> Outcome:
    """Sweep all sites of one kind of boxes, and report on those that are wanted.

    Args:
        left_out: clip -> our threshold, chosen on the others.
    """
    wanted = [site for site in sites if not arguments.sites or any(word in site.label for word in arguments.sites)]
    labels = {site.label for site in wanted if _rates_wanted(site, arguments.rates)}
    with ProcessPoolExecutor(arguments.jobs, mp_context=get_context("spawn")) as pool:
        chosen_on = [site for site in sites if not (site.variant or site.is_generated)]
        swept = [] if arguments.quick else [site for site in sites if site in chosen_on or site.label in labels]
        sweeps = list(pool.map(sweep, swept))
        chosen = [{OURS: left_out.get(site.clip), GREEDY: chosen_elsewhere(sweeps, GREEDY, site)} for site in wanted]
        reports = list(pool.map(report, wanted, chosen))
        return Outcome(reports, rate_rows([one for one in sweeps if one.site.label in labels], pool))


def _left_out(footage: Sequence[Footage], cache: Path) -> dict[str, float]:
    real = {one.name: one.clip for one in footage if not one.is_generated}
    if not real:
        return {}
    found = left_out_thresholds(Path(os.environ["MEDIA_DIR"]), cache)
    return {real[name]: threshold for name, threshold in found.items() if name in real}


def _rates_wanted(site: Site, which: str) -> bool:
    return site.is_whole and (which == "all" or (which == "real" and not site.is_generated))


def bench(footage: Sequence[Footage], arguments: argparse.Namespace) -> int:
    outcomes: dict[str, Outcome] = {}
    left_out = {} if arguments.quick else _left_out(footage, arguments.cache)
    for boxes in arguments.boxes:
        recorded = [one for one in footage if recording_folder(arguments.cache, one, boxes).is_dir()]
        for one in footage:
            if one not in recorded:
                print(f"{one.name} is not recorded with {boxes} boxes: `prepare` does it", file=sys.stderr)
        outcomes[boxes] = run(
            [s for one in recorded for s in sites_of(one, arguments.cache, boxes)], left_out, arguments
        )
        print(f"\n{boxes} boxes\n{summary_table(outcomes[boxes].reports)}", flush=True)
        if arguments.details:
            print(f"\n{details_table(outcomes[boxes].reports)}", flush=True)
        if outcomes[boxes].rates:
            print(f"\n{rates_table(outcomes[boxes].rates)}", flush=True)
    if arguments.json:
        plain = {boxes: asdict(outcome) for boxes, outcome in outcomes.items()}
        arguments.json.write_text(json.dumps(plain, indent=1), encoding="utf-8")
    return 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("task", nargs="?", choices=["run", "prepare"], default="run")
    parser.add_argument("--cache", type=Path, required=True, metavar="DIR", help="where the recordings are")
    parser.add_argument(
        "--generated", type=Path, nargs="+", default=[], metavar="SITE", help="generated_site's folders"
    )
    parser.add_argument(
        "--sites", nargs="+", default=[], metavar="WORD", help="only sites with one of these in the name"
    )
    parser.add_argument("--boxes", nargs="+", choices=BOXES, default=list(BOXES))
    parser.add_argument("--details", action="store_true", help="all figures of every way on every site")
    parser.add_argument(
        "--quick", action="store_true", help="only with the stored threshold: no sweep, no decision rates"
    )
    parser.add_argument(
        "--rates", choices=["real", "all", "none"], default="real", help="whose decisions are told; generated: minutes"
    )
    parser.add_argument("--again", action="store_true", help="prepare: also what is recorded already")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes")
    parser.add_argument("--json", type=Path, metavar="FILE")
    arguments = parser.parse_args()
    media = Path(os.environ.get("MEDIA_DIR", ""))
    is_there = bool(os.environ.get("MEDIA_DIR")) and (media / "lab4cam").is_dir()
    if not is_there and not arguments.generated:
        print("MEDIA_DIR must name the folder with lab4cam, pets_s2l1_view1 and one_by_one", file=sys.stderr)
        return 1
    footage = real_footage(media, arguments.cache) if is_there else []
    footage += [generated_footage(folder) for folder in arguments.generated]
    if arguments.task == "run":
        return bench(footage, arguments)
    if is_there:
        make_pets_halves(media, arguments.cache)
    for one in footage:
        prepare_footage(one, arguments.cache, print, again=arguments.again)
    return 0


if __name__ == "__main__":
    sys.exit(main())

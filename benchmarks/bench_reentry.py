"""Re-entries: how soon they are told and pictured, and what that costs, `event` against `poll`.

    MODELS_DIR=... MEDIA_DIR=... python benchmarks/bench_reentry.py --cache DIR [--clips pets_s2l1_view1 ...]
                                                                   [--policies event poll:5,1 ...] [--seed 2]
                                                                   [--json FILE]

Each policy goes through the whole pipeline (tracker, encoder, matcher, reference frames) over the same detections,
which are recorded once. Latencies are message time from the first frame in which the returned person is visible by the
ground truth; they are of the returns that were found. Encodings are crops through the backbone. A policy is `event`,
`event:growth,longest_s,doubt_every_s`, `evenly` (no back-off), or `poll:s,k`: a look every s seconds, every k while
somebody is missing.
"""

import argparse
import json
import os
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parent))

from reentry.footage import generated_clip, real_clips, record
from reentry.measuring import Models, Outcome, load_models, measure, prepared_clip
from reentry.tables import table

from pipeline.tracking.encoding_policy import EVENLY, EVENT, EncodingPolicy, EventPolicy, PollPolicy

POLICIES = ("event", "evenly", "poll:5,1", "poll:5,0.5", "poll:2,1", "poll:2,0.5", "poll:1,1", "poll:1,0.25")


def parse_policy(text: str) -> EncodingPolicy:
    """The policy that a word of the command line names.

    Raises:
        ValueError: says what is understood.
    """
    kind, _, numbers = text.partition(":")
    if kind == "event":
        return EventPolicy(*map(float, numbers.split(","))) if numbers else EVENT
    if kind == "evenly" and not numbers:
        return EVENLY
    parts = numbers.split(",")
    if kind != "poll" or len(parts) != 2:
        raise ValueError(f"expected event, event:growth,longest_s,doubt_every_s, evenly or poll:s,k, got {text!r}")
    return PollPolicy(float(parts[0]), float(parts[1]))


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cache", type=Path, required=True, metavar="DIR")
    parser.add_argument("--clips", nargs="*", default=[], metavar="NAME")
    parser.add_argument("--policies", nargs="*", default=list(POLICIES), metavar="POLICY")
    parser.add_argument("--seed", type=int, default=2, help="of the generated scene: 1 to build with, 2 to report")
    parser.add_argument("--json", type=Path, metavar="FILE")
    options = parser.parse_args(arguments)
    policies = {text: parse_policy(text) for text in options.policies}
    clips = [*real_clips(Path(os.environ["MEDIA_DIR"]), options.cache)]
    clips.append(generated_clip(options.seed, options.cache, print))
    outcomes: list[Outcome] = []
    models: Models | None = None
    for clip in clips:
        if options.clips and clip.name not in options.clips:
            continue
        record(clip, print)
        prepared = prepared_clip(clip)
        models = models or load_models(prepared)
        for name, policy in policies.items():
            out_dir = options.cache / clip.name / name.replace(":", "_").replace(",", "_")
            outcomes.append(measure(clip, prepared, models, name, policy, out_dir))
            print(f"{clip.name} {name}: done", file=sys.stderr)
    print(table(outcomes))
    if options.json:
        options.json.write_text(json.dumps([asdict(one) for one in outcomes], indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())

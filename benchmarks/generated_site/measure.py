"""How good the detections on recorded sites are, and how hard their people are to tell apart.

    python benchmarks/generated_site/measure.py DIR [DIR …]

DIR: a site made and recorded by make.py, or CONFIG:RECORDING:GT of any footage: a configuration, the output folder of
`replay --record`, and its ground truth.
"""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))
sys.path.insert(0, str(ROOT / "benchmarks"))

from generated_site.detections import DetectionQuality, judge_detections, read_recorded  # noqa: E402
from generated_site.hardness import (  # noqa: E402
    KINDS,
    QUANTILES,
    distances_by_kind,
    labelled_clips,
    overlap_of,
    quantile_rows,
    read_lookalikes,
    read_published,
)
from pipeline.config import Config, load_config  # noqa: E402
from pipeline.scoring.clips import retrieval_figures  # noqa: E402
from pipeline.scoring.ground_truth import GroundTruth, read_ground_truth  # noqa: E402

CONFIDENCES = (0.5, 0.1)  # what begins a track, and all that was recorded


@dataclass(frozen=True, eq=False, slots=True)
class Recorded:
    """A recording with what it is judged by."""

    name: str
    folder: Path
    config: Config
    recording: Path
    truth: GroundTruth


def open_recorded(text: str) -> Recorded:
    """A site's folder, or CONFIG:RECORDING:GT."""
    parts = text.split(":")
    if len(parts) == 1:
        parts = [f"{text}/site.yaml", f"{text}/run", f"{text}/gt"]
    config = load_config(parts[0])
    truth = read_ground_truth(Path(parts[2]), [camera.id for camera in config.cameras])
    folder = Path(parts[0]).parent
    return Recorded(
        folder.name if len(text.split(":")) == 1 else Path(parts[0]).stem, folder, config, Path(parts[1]), truth
    )


def detection_line(name: str, confidence: float, quality: DetectionQuality) -> str:
    """One row of the table of detections."""
    shares = " ".join(f"{value:>7.3f}" for value in (quality.recall, quality.recall_70, quality.precision))
    shake = " ".join(f"{100 * value:>6.1f}" for value in (*quality.shake, *quality.offset))
    return f"{name:24} {confidence:>5.1f} {quality.people:>7} {shares} {shake}"


def print_detections(sites: Sequence[Recorded]) -> None:
    print("Detections. Shake and offset in % of the true height: middle across, lower edge, height")
    print(f"{'site':24} {'from':>5} {'people':>7} {'recall':>7} {'at .7':>7} {'prec.':>7} {'shake':>20} {'offset':>20}")
    for site in sites:
        for confidence in CONFIDENCES:
            found = read_recorded(site.recording, site.truth.cameras, confidence)
            if not any(len(rows) for rows in found.values()):
                continue  # an hour that was never rendered
            print(detection_line(site.name, confidence, judge_detections(site.truth, found)))


def print_hardness(site: Recorded) -> None:
    published = read_published(site.recording, site.config)
    labelled, left_out = labelled_clips(published, site.truth, site.config.matcher.absence_s)
    distances = distances_by_kind(labelled, read_lookalikes(site.folder))
    print(
        f"\n{site.name}: {len(labelled)} clips of one person, {left_out} of nobody or two, "
        f"{len(published.tracklets)} tracks, {len(site.truth.visits or ())} true stays. Cosine distance"
    )
    print(f"{'pairs':26}{'count':>9}" + "".join(f"{f'q{100 * q:.0f}':>8}" for q in QUANTILES))
    for name, count, *cells in quantile_rows(distances):
        print(f"{name:26}{count:>9}" + "".join(f"{cell:>8}" for cell in cells))
    across = distances[KINDS[2]]
    print(
        f"two people nearer than one across cameras: look-alikes {overlap_of(across, distances[KINDS[3]]):.4f}, "
        f"others {overlap_of(across, distances[KINDS[4]]):.4f}"
    )
    for protocol, figures in retrieval_figures(labelled).items():
        if figures["queries"]:
            print(f"clip retrieval, {protocol}: rank-1 {figures['rank1']:.3f}, mAP {figures['mAP']:.3f}")


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sites", nargs="+", type=open_recorded, metavar="DIR")
    options = parser.parse_args(arguments)
    print_detections(options.sites)
    for site in options.sites:
        print_hardness(site)
    return 0


if __name__ == "__main__":
    sys.exit(main())

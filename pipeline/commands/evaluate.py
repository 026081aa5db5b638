"""`run_pipeline.py evaluate`: how well an encoder and its heads find people again in a data set."""

import argparse
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

from pipeline.background.files import encode_jpeg, write_bytes
from pipeline.build import build_encoder, build_head, limit_threads, settle
from pipeline.commands.output import prepare_output
from pipeline.config import Config, ReidConfig, load_config
from pipeline.errors import ConfigError
from pipeline.ports import ClipHead, EncoderDescription
from reid.datasets.load import load_data_set
from reid.evaluation import Evaluation, EvaluationOptions, HeadResult, as_json, evaluate_heads, figures
from reid.heads import FUSIONS
from reid.ranked_lists import draw_ranked_lists
from reid.rerank import RerankSettings
from reid.tracklet_vectors import Sampling

Echo = Callable[[str], None]

CONFIGURED = "configured"  # in `heads`: the head of the configuration

_HEADS: dict[str, dict[str, Any]] = {
    "mean": {"head": "mean"},
    **{f"sta-{fusion}": {"head": "sta", "fusion": fusion} for fusion in FUSIONS},
}
_VARIANTS: dict[str, dict[str, Any]] = {  # what a head's name says after a +
    "norm": {"energy": "norm"},
    "l2": {"normalisation": "l2"},
    "unnormalised": {"normalisation": "none"},
    "quality": {"quality_weights": True},
}
_UNTRAINED: dict[str, Any] = {
    "head_weights": None,
    "energy": "squares",
    "normalisation": "sum",
    "quality_weights": False,
}
_COLUMNS = {
    "rank-1": "rank1",
    "rank-5": "rank5",
    "rank-10": "rank10",
    "rank-20": "rank20",
    "mAP": "mAP",
    "mAP trap.": "mAP_trapezoid",
    "mINP": "mINP",
}
_COLUMN = 11  # letters
_JPEG_QUALITY = 88  # 1 to 100: small text stays clear


@dataclass(frozen=True, slots=True)
class EvaluateOptions:
    """What to evaluate, and how.

    Attributes:
        config: its `reid` section makes the encoder and the head, `runtime.inference_threads` their threads.
        heads: rows of the table: `configured`, or names as in `clip_model_id` (`mean`, `sta-global`, `sta-paper+l2`).
        sampling: see `reid.tracklet_vectors.Sampling`. rerank: None scores the plain ranking only.
        out: None writes no files.
    """

    dataset: str
    root: Path
    config: Config
    heads: tuple[str, ...] = (CONFIGURED,)
    sampling: Sampling | None = None  # None: even, of reid.clip_frames pictures
    rerank: RerankSettings | None = None
    split: int = 0
    seed: int = 0
    out: Path | None = None
    overwrite: bool = False
    config_file: Path | None = None
    progress: bool = True


def options_from(arguments: argparse.Namespace) -> EvaluateOptions:
    """The options of a command line that `add_evaluate_arguments` has parsed.

    Raises:
        ConfigError: a configuration that cannot be read, or arguments that do not go together.
    """
    config = load_config(arguments.config) if arguments.config else Config()
    names = ("backbone", "weights", "head", "fusion", "head_weights")
    given = {name: getattr(arguments, name) for name in names if getattr(arguments, name) is not None}
    if "backbone" in given and "weights" not in given:
        given["weights"] = None  # the configuration's are another network's
    config = replace(config, reid=replace(config.reid, **given))
    if arguments.threads is not None:
        config = replace(config, runtime=replace(config.runtime, inference_threads=arguments.threads))
    if arguments.top_k is not None and not arguments.rerank:
        raise ConfigError("--top-k limits what --rerank re-ranks; add --rerank")
    if arguments.most is not None and arguments.sampling == "even":
        raise ConfigError("--most limits sampling all and dense; for even say --frames")
    return EvaluateOptions(
        dataset=arguments.dataset,
        root=arguments.root,
        config=config,
        heads=tuple(arguments.heads.split(",")) if arguments.heads else (CONFIGURED,),
        sampling=Sampling(arguments.sampling, arguments.frames or config.reid.clip_frames, arguments.most),
        rerank=RerankSettings(top_k=arguments.top_k) if arguments.rerank else None,
        split=arguments.split,
        seed=arguments.seed,
        out=arguments.out,
        overwrite=arguments.overwrite,
        config_file=arguments.config,
        progress=not arguments.quiet,
    )


def evaluate(options: EvaluateOptions, echo: Echo) -> int:
    """Read, encode, score; print a table, and write `evaluation.json` and `ranked_lists.jpg` into `options.out`.

    Raises:
        ConfigError, WeightsError: what to evaluate, and with what. DecodeError: pictures that are missing.
        OutputError: the results cannot be written.
    """
    rows = [head_config(name, options.config.reid) for name in options.heads]
    data_set = load_data_set(options.dataset, options.root, split=options.split, seed=options.seed)
    config = _settled(options.config, echo)
    limit_threads(config)
    encoder = build_encoder(config)
    heads = _build_heads(config, rows, encoder.describe())
    if options.out is not None:
        prepare_output(options.out, options.overwrite, (options.config_file, options.root))
    how = EvaluationOptions(options.sampling or Sampling(frames=config.reid.clip_frames), options.rerank)
    began_s = time.monotonic()
    with logging_redirect_tqdm(), _Bars(options.progress) as bars:
        evaluation = evaluate_heads(data_set, encoder, heads, how, bars.show)
    seconds = time.monotonic() - began_s
    for line in (*summary_lines(evaluation), "", *table_lines(evaluation)):
        echo(line)
    echo(f"{evaluation.counts['pictures']} pictures encoded and ranked in {seconds:.1f} s")
    if options.out is not None:
        for path in write_evaluation(options.out, evaluation, data_set.people, data_set.cameras):
            echo(f"written: {path}")
    return 0


def head_config(name: str, reid: ReidConfig) -> ReidConfig:
    """The settings of a head by its name; other names than `configured` mean untrained heads.

    Raises:
        ConfigError: there is no such head.
    """
    name = name.strip()
    if name == CONFIGURED:
        return reid
    base, *variants = name.split("+")
    if base not in _HEADS or not set(variants) <= set(_VARIANTS):
        raise ConfigError(
            f"--heads: no head {name!r}; expected {CONFIGURED}, {', '.join(_HEADS)}, and behind a + "
            f"{', '.join(_VARIANTS)}"
        )
    changed = {**_UNTRAINED, **_HEADS[base]}
    for variant in variants:
        changed |= _VARIANTS[variant]
    return replace(reid, **changed)


def summary_lines(evaluation: Evaluation) -> list[str]:
    """What was evaluated, for the terminal."""
    counts = evaluation.counts
    lines = [
        f"{evaluation.data_set}: {counts['queries']} queries ({counts['queries_with_a_match']} with a match) for "
        f"{counts['people_asked_for']} people; {counts['gallery']} in the gallery; {counts['cameras']} cameras"
    ]
    if evaluation.protocol:
        lines.append(f"protocol: {evaluation.protocol}")
    lines += [f"sampling: {evaluation.sampling.describe()}", f"encoder:  {evaluation.encoder}"]
    if evaluation.rerank is not None:
        lines.append(f"re-ranked: {evaluation.rerank.describe()}")
    if evaluation.skipped:
        lines.append("left out: " + "; ".join(f"{count} × {why}" for why, count in evaluation.skipped.items()))
    if not counts["queries_with_a_match"]:
        lines.append("warning: nobody asked for is in the gallery in another camera: there is nothing to score")
    return lines


def table_lines(evaluation: Evaluation) -> list[str]:
    """The figures of every head as a table; mAP is the rectangle definition, with a 95 % interval over people."""
    width = max([len(result.name) for result in evaluation.results] + [len("  re-ranked")]) + 2
    lines = [" " * width + "".join(f"{name:>{_COLUMN}}" for name in _COLUMNS) + f"{'mAP 95 %':>{_COLUMN + 4}}"]
    for result in evaluation.results:
        lines.append(result.name.ljust(width) + _cells(figures(result.plain)) + _interval(result))
        if result.reranked is not None:
            lines.append("  re-ranked".ljust(width) + _cells(figures(result.reranked)))
    return lines


def write_evaluation(
    out: Path, evaluation: Evaluation, people: Mapping[int, str], cameras: Mapping[int, str]
) -> tuple[Path, ...]:
    """Write both files; the picture shows rankings of the first head, by cosine distance.

    Raises:
        OutputError: one of them cannot be written.
    """
    figures_file, picture_file = out / "evaluation.json", out / "ranked_lists.jpg"
    write_bytes(figures_file, (json.dumps(as_json(evaluation), indent=2, allow_nan=False) + "\n").encode())
    if not evaluation.results or not evaluation.results[0].lists:
        return (figures_file,)
    first = evaluation.results[0]
    title = f"{evaluation.data_set}   {first.model_id}   {evaluation.sampling.describe()}   green: right, red: wrong"
    picture = draw_ranked_lists(first.lists, title, people, cameras)
    write_bytes(picture_file, encode_jpeg(picture, _JPEG_QUALITY))
    return figures_file, picture_file


def _settled(config: Config, echo: Echo) -> Config:
    """The configuration with its backbone chosen; no detector is needed, so none is looked for."""
    settled = settle(replace(config, detector=replace(config.detector, kind="hog")))
    for warning in settled.warnings:
        echo(f"warning: {warning}")
    return settled.config


def _build_heads(config: Config, rows: Sequence[ReidConfig], encoder: EncoderDescription) -> dict[str, ClipHead]:
    """Head by name, in the order asked for; one that is named twice is evaluated once."""
    names = ("head", "fusion", "head_weights", "energy", "normalisation", "quality_weights", "stripes")
    heads: dict[str, ClipHead] = {}
    for row in rows:
        reid = replace(config.reid, **{name: getattr(row, name) for name in names})
        head = build_head(replace(config, reid=reid), encoder)
        heads.setdefault(head.clip_model_id.partition("/")[2], head)
    return heads


class _Bars:
    """A progress bar for each stage, one after the other."""

    def __init__(self, shown: bool) -> None:
        self._shown = shown
        self._stage = ""
        self._bar: tqdm[Any] | None = None

    def __enter__(self) -> "_Bars":
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.close()

    def show(self, stage: str, done: int, total: int) -> None:
        if self._bar is None or stage != self._stage or done < self._bar.n:
            self.__exit__()
            self._stage = stage
            self._bar = tqdm(total=total, desc=stage, unit="", disable=not self._shown, mininterval=1.0)
        self._bar.update(done - self._bar.n)


def _cells(found: dict[str, float | None]) -> str:
    values = (found[name] for name in _COLUMNS.values())
    return "".join(f"{'–':>{_COLUMN}}" if value is None else f"{value:>{_COLUMN}.4f}" for value in values)


def _interval(result: HeadResult) -> str:
    if result.interval is None:
        return f"{'–':>{_COLUMN + 4}}"
    low, high = result.interval
    return f"{f'{low:.3f}–{high:.3f}':>{_COLUMN + 4}}"

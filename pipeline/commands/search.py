"""`run_pipeline.py search`: where somebody was seen, who looks like them, and why tracks were linked."""

import argparse
import json
import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

from pipeline.background.files import write_bytes
from pipeline.build import build_detector, build_encoder, build_head, limit_threads, matcher_threshold, settle
from pipeline.bus.redis_streams import RedisBus
from pipeline.config import Config, load_config, parse_config
from pipeline.errors import ConfigError, OutputError
from pipeline.runtime.feature_files import FeatureRows
from pipeline.search.asked import AskedPerson, encode_people, people_boxes, read_picture, require_people
from pipeline.search.contact_sheet import write_sheet
from pipeline.search.history import History
from pipeline.search.nearest import Filter, Nearest, nearest_rows
from pipeline.search.pages import write_page
from pipeline.search.pictures import Pictures
from pipeline.search.ranking import Query, Ranking, query_of, rank_people
from pipeline.search.results import Section, as_json, found_section, identity_section, section_text
from pipeline.search.sources import BusSource, FolderSource, Source, most_used
from pipeline.search.why import why_text
from pipeline.types import FloatArray
from pipeline.view.wording import identity_label
from reid.rerank import RerankSettings, rerank

Echo = Callable[[str], None]

# A person has a handful of tracks, so neighbourhoods are small: the paper's 20 and 6 put people who have nothing in
# common but the few that are there into one (docs/search.md has figures).
_RERANK = RerankSettings(k1=6, k2=2, original_share=0.6)
_MOST_QUERIES = 64  # features of an identity that are asked with, the best ones
_GPU_FROM = 1e8  # rows times queries: below, the CPU is done before PyTorch is loaded
_SHOW_AFTER_S = 1.0  # a bar that is gone at once only flickers
_RUN_SECTIONS = ("detector", "reid", "matcher", "runtime")  # of run.json's config: what a search needs


@dataclass(frozen=True, slots=True)
class SearchOptions:
    """What to search, and what for: exactly one of `image` and `identity`.

    Attributes:
        out_dir: the run's folder; None: the running site of `config`.
        config: None: as the run was, by its run.json.
    """

    out_dir: Path | None = None
    config: Config | None = None
    image: Path | None = None
    identity: int | None = None
    why: bool = False
    top: int = 10
    since_s: float | None = None
    until_s: float | None = None
    cameras: tuple[str, ...] = ()
    rerank: bool = True
    json: Path | None = None
    html: Path | None = None
    sheet: Path | None = None
    device: Literal["auto", "cpu", "gpu"] = "auto"
    progress: bool = True


def options_from(arguments: argparse.Namespace) -> SearchOptions:
    """The options of a command line that `add_search_arguments` has parsed.

    Raises:
        ConfigError: a configuration that cannot be read, or arguments that do not go together.
    """
    return SearchOptions(
        out_dir=arguments.out,
        config=load_config(arguments.config) if arguments.config is not None else None,
        image=arguments.image,
        identity=arguments.identity,
        why=arguments.why,
        top=arguments.top,
        since_s=arguments.since,
        until_s=arguments.until,
        cameras=tuple(arguments.camera or ()),
        rerank=not arguments.no_rerank,
        json=arguments.json,
        html=arguments.html,
        sheet=arguments.sheet,
        device=arguments.device,
        progress=not arguments.quiet,
    )


def search(options: SearchOptions, echo: Echo) -> int:
    """Search, print what was found, and write the files that were asked for.

    Raises:
        ConfigError: nothing to search in or for; no features of the configured model; an identity nobody knows.
        BusUnavailable, WeightsError, OutputError, DecodeError.
    """
    if options.why and options.identity is None:
        raise ConfigError("--why tells about an identity; add --identity ID")
    source = _source(options)
    answer = (
        _about_identity(options, source, echo) if options.identity is not None else _about_image(options, source, echo)
    )
    for section in answer.sections:
        echo(section_text(section))
    if answer.why is not None:
        echo(answer.why)
    _write_files(options, answer, echo)
    return 0


@dataclass(frozen=True, eq=False, slots=True)
class _Answer:
    """What was found: `asked` as JSON has it."""

    title: str
    asked: dict[str, Any]
    sections: tuple[Section, ...]
    why: str | None = None


def _source(options: SearchOptions) -> Source:
    if options.out_dir is not None:
        if not options.out_dir.is_dir():
            raise OutputError(f"search: there is no folder {options.out_dir}")
        return FolderSource(options.out_dir)
    if options.config is None or options.config.bus.url is None:
        raise ConfigError("search: give --out DIR, or a --config whose bus.url names the Redis of the running site")
    config = options.config
    return BusSource(
        RedisBus(str(config.bus.url), config.site, max_messages=config.bus.max_messages, consumer="search")
    )


# -- the two questions ------------------------------------------------------------------------------------------------


def _about_identity(options: SearchOptions, source: Source, echo: Echo) -> _Answer:
    asked_id = options.identity or 0
    model_id = most_used(source.models)
    history, features = source.read(model_id)
    if not history.is_known(asked_id) or asked_id < 1:
        known = sorted(history.book.identities())
        shown = f"; it has {len(known)}, from {known[0]} to {known[-1]}" if known else ", nor anybody else"
        raise ConfigError(f"--identity {asked_id} is not known in {source.where}{shown}")
    if history.is_forgotten(asked_id):
        raise ConfigError(f"--identity {asked_id} was forgotten: nothing is known of it any more")
    living = history.book.living(asked_id)
    if living != asked_id:
        echo(f"#{asked_id} was merged: the person is #{living}")
    pictures = Pictures(source.out_dir, history, features)
    sections = [identity_section(living, history, pictures)]
    label = identity_label(living, history.book.name_of(living))
    query = query_of(features, history.tracks_of(living), _MOST_QUERIES)
    if len(query.vectors):
        ranking = _rank(options, history, features, query, without=living)
        heading = f"Who is most like {label}"
        threshold = _threshold(options, source, model_id)
        sections.append(
            found_section(
                heading, None, ranking, history, pictures, top=options.top, threshold=threshold, same_as=living
            )
        )
    else:
        echo(f"{source.where} holds no features of this identity: nobody can be compared with it")
    why = why_text(history, living) if options.why else None
    return _Answer(f"Identity {label}", {"identity_id": asked_id, "living_id": living}, tuple(sections), why)


def _about_image(options: SearchOptions, source: Source, echo: Echo) -> _Answer:
    path = options.image or Path()
    image = read_picture(path)
    if not source.models:
        raise ConfigError(f"{source.where} holds no features: the run was made before they were kept, or nobody came")
    model_id, people = _encoded(_config(options), image, path, source, echo)
    history, features = source.read(model_id)
    pictures = Pictures(source.out_dir, history, features)
    threshold = _threshold(options, source, model_id)
    sections = []
    for number, person in enumerate(people, start=1):
        ranking = _rank(options, history, features, person.query)
        heading = path.name if len(people) == 1 else f"{path.name}: person {number} of {len(people)}"
        sections.append(
            found_section(heading, person.picture, ranking, history, pictures, top=options.top, threshold=threshold)
        )
    boxes = [[round(v, 1) for v in person.xyxy] for person in people]
    return _Answer(f"Search for {path.name}", {"image": path.name, "people_xyxy": boxes}, tuple(sections))


def _encoded(
    config: Config, image: npt.NDArray[np.uint8], path: Path, source: Source, echo: Echo
) -> tuple[str, list[AskedPerson]]:
    """The model in use, and the people of the picture."""
    settled = settle(config)
    for warning in settled.warnings:
        echo(f"warning: {warning}")
    config = settled.config
    limit_threads(config)
    encoder = build_encoder(config)
    head = build_head(config, encoder.describe())
    if head.clip_model_id not in source.models:
        held = ", ".join(sorted(source.models))
        raise ConfigError(
            f"{source.where} holds no features of {head.clip_model_id}, but of {held}; "
            "give the --config that the run was made with"
        )
    boxes = people_boxes(image, build_detector(config), config.tracker.birth_confidence)
    people = encode_people(image, boxes, encoder, head)
    require_people(people, path)
    return head.clip_model_id, people


def _rank(options: SearchOptions, history: History, features: FeatureRows, query: Query, without: int = 0) -> Ranking:
    wanted = Filter(options.since_s, options.until_s, frozenset(options.cameras) or None)
    unknown = sorted(set(options.cameras) - {stream.camera_id for stream in features.streams})
    if unknown:
        known = ", ".join(sorted({stream.camera_id for stream in features.streams})) or "none"
        raise ConfigError(f"--camera {unknown[0]}: no features of it; there are those of {known}")
    with (
        tqdm(
            total=len(features), unit=" clips", desc="search", disable=not options.progress, delay=_SHOW_AFTER_S
        ) as bar,
        logging_redirect_tqdm(),
    ):
        return rank_people(
            features,
            history,
            query,
            search=_searcher(options, len(features) * len(query.vectors), bar),
            wanted=wanted,
            without=without,
            rerank=(lambda asked, tracks: rerank(asked, tracks, _RERANK)[0]) if options.rerank else None,
        )


def _searcher(options: SearchOptions, comparisons: int, bar: Any) -> Callable[..., Nearest]:
    """What compares: the GPU where one was asked for, or is there and pays."""
    pays = options.device == "auto" and comparisons >= _GPU_FROM and Path("/dev/nvidia0").exists()
    if options.device == "gpu" or pays:
        from reid.nearest import gpu_is_there, nearest_on_device

        if gpu_is_there():
            return lambda features, queries, count, *, allowed: Nearest(
                *nearest_on_device(features.vectors, queries, count, allowed=allowed)
            )
        if options.device == "gpu":
            raise ConfigError("--device gpu: PyTorch finds no CUDA device here; use --device cpu")
    threads = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1

    def on_cpu(features: FeatureRows, queries: FloatArray, count: int, *, allowed: npt.NDArray[np.bool_]) -> Nearest:
        return nearest_rows(features, queries, count, allowed=allowed, threads=threads, progress=bar.update)

    return on_cpu


# -- configuration ----------------------------------------------------------------------------------------------------


def _config(options: SearchOptions) -> Config:
    """The given one, or what the run was made with."""
    if options.config is not None:
        return options.config
    config = config_of_run(options.out_dir) if options.out_dir is not None else None
    return config if config is not None else Config()


def config_of_run(out_dir: Path) -> Config | None:
    """Detector, re-ID and matcher settings from run.json; None where it does not say (a run that still runs).

    Raises:
        ConfigError: settings that this version does not know.
    """
    path = out_dir / "run.json"
    try:
        run = json.loads(path.read_text(encoding="utf-8"))
        sections = {name: run["config"][name] for name in _RUN_SECTIONS if name in run["config"]}
    except (OSError, ValueError, KeyError, TypeError):
        return None
    try:
        config = parse_config(json.dumps(sections), str(path))
    except ConfigError as error:
        raise ConfigError(f"{path} was written by another version; give --config FILE ({error.mistakes[0]})") from None
    if config.detector.kind == "recorded":  # nobody recorded what is in this picture
        config = replace(config, detector=replace(config.detector, kind="auto"))
    return config


def _threshold(options: SearchOptions, source: Source, model_id: str) -> float | None:
    """The matcher's; None where nothing is stored for the model."""
    try:
        return matcher_threshold(_config(options), model_id)
    except ConfigError:
        return None


# -- files ------------------------------------------------------------------------------------------------------------


def _write_files(options: SearchOptions, answer: _Answer, echo: Echo) -> None:
    if options.json is not None:
        value = as_json(answer.sections, answer.asked, answer.why)
        write_bytes(options.json, (json.dumps(value, indent=2, ensure_ascii=False) + "\n").encode())
        echo(f"result:        {options.json}")
    if options.html is not None:
        write_page(options.html, answer.title, answer.sections, answer.why)
        echo(f"page:          {options.html}")
    if options.sheet is not None:
        write_sheet(options.sheet, answer.title, answer.sections)
        echo(f"contact sheet: {options.sheet}")

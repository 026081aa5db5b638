"""Command line of the multi-camera person re-identification pipeline: arguments, configuration, one call."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TypeAlias

from pipeline.commands.background_arguments import add_background_arguments
from pipeline.commands.evaluate_arguments import add_evaluate_arguments
from pipeline.commands.order_arguments import add_merge_arguments, add_rename_arguments, add_split_arguments
from pipeline.commands.search_arguments import add_search_arguments
from pipeline.commands.train_arguments import add_train_arguments
from pipeline.config import Config, TrackerConfig, is_url, load_config
from pipeline.errors import BusRefused, ConfigError, PipelineError, WeightsError

_CONFIGS = Path(__file__).resolve().parent / "configs"
_EXPORTED = ("osnet_x0_25", "osnet_x0_5", "osnet_x0_75", "osnet_x1_0", "resnet50", "onnx")
_INTERRUPTED = 130  # the shell's code for Ctrl-C


Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code (0 done, 1 failed, 2 bad arguments or config)."""
    options = _parser().parse_args(arguments)
    from pipeline.runtime.logs import setup_logging

    setup_logging(options.log_level, "main", options.command)
    try:
        return int(options.function(options))
    except (ConfigError, WeightsError, BusRefused) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except PipelineError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted; what was written is complete", file=sys.stderr)
        return _INTERRUPTED


def _demo(options: argparse.Namespace) -> int:
    from pipeline.commands.demo import demo
    from pipeline.commands.output import prepare_output

    config = load_config(_CONFIGS / "demo.yaml")
    prepare_output(options.out, options.overwrite)
    return demo(config, options.out, print, progress=not options.quiet)


def _replay(options: argparse.Namespace) -> int:
    from pipeline.commands.output import prepare_output
    from pipeline.commands.replay import ReplayOptions, prepare, print_summary, replay

    if options.bus is not None:
        return _replay_bus(options)
    if options.config is None:
        raise ConfigError("replay needs --config FILE (or --bus FILE, a recording of a live run)")
    if options.features is not None:
        return _replay_features(options)
    config = load_config(options.config)
    prepared = prepare(config, options.gt, options.detections, options.export_tracklets)
    inputs = (options.config, options.gt, options.detections, *_sources(config))
    prepare_output(options.out, options.overwrite, inputs)
    how = ReplayOptions(
        overlay=options.overlay,
        speed=options.speed,
        progress=not options.quiet,
        record=options.record,
        gt_boxes=not options.no_gt_boxes,
        export_tracklets=options.export_tracklets,
    )
    print_summary(replay(prepared, options.out, how, print), options.out, print)
    return 0


def _sources(config: Config) -> list[Path]:
    """The files and folders among the cameras' sources."""
    return [Path(camera.source) for camera in config.cameras if not is_url(camera.source)]


def _replay_features(options: argparse.Namespace) -> int:
    from pipeline.commands.output import prepare_output
    from pipeline.commands.replay import print_summary
    from pipeline.commands.replay_features import prepare_features, replay_recorded_features

    _refuse(options, "--features", "overlay", "record", "detections", "speed", "export_tracklets")
    prepared = prepare_features(load_config(options.config), options.features, options.gt)
    prepare_output(options.out, options.overwrite, (options.config, options.gt, options.features))
    summary = replay_recorded_features(prepared, options.out, print, progress=not options.quiet)
    print_summary(summary, options.out, print)
    return 0


def _replay_bus(options: argparse.Namespace) -> int:
    from pipeline.commands.output import prepare_output
    from pipeline.commands.replay_bus import PreparedBus, replay_recorded_bus

    _refuse(options, "--bus", "overlay", "record", "detections", "features", "speed", "export_tracklets")
    config = load_config(options.config) if options.config else None
    prepared = PreparedBus(options.bus, config, options.gt)
    prepare_output(options.out, options.overwrite, (options.config, options.gt, options.bus))
    replay_recorded_bus(prepared, options.out, print, progress=not options.quiet)
    return 0


def _refuse(options: argparse.Namespace, given: str, *names: str) -> None:
    """Options that have no meaning beside another.

    Raises:
        ConfigError: one of them was given.
    """
    wrong = [f"--{name.replace('_', '-')}" for name in names if getattr(options, name)]
    if wrong:
        raise ConfigError(f"{', '.join(wrong)} needs the videos, which {given} does without; leave one of them out")


def _track(options: argparse.Namespace) -> int:
    from pipeline.commands.track import track

    config = load_config(options.config).tracker if options.config else TrackerConfig()
    return track(options.sequence, options.out, config, print, online=options.online, progress=not options.quiet)


def _score(options: argparse.Namespace) -> int:
    from pipeline.commands.score import ScoreOptions, score

    how = ScoreOptions(absence_s=options.absence_s, fps=options.fps, independent=options.independent)
    return score(options.results, options.gt, options.out, how, print)


def _evaluate(options: argparse.Namespace) -> int:
    from pipeline.commands.evaluate import evaluate, options_from

    return evaluate(options_from(options), print)


def _fit_site(options: argparse.Namespace) -> int:
    from pipeline.commands.fit_site import FitOptions, fit_site

    how = FitOptions(
        overwrite=options.overwrite,
        progress=not options.quiet,
        adapt=not options.no_adapt,
        adapt_backbone=options.adapt_backbone,
    )
    return fit_site(load_config(options.config), options.config, options.out, options.gt, print, how)


def _run(options: argparse.Namespace) -> int:
    from pipeline.commands.output import prepare_output
    from pipeline.entry import run_site

    config = load_config(options.config)
    if options.out is not None:
        prepare_output(options.out, options.overwrite, (options.config, *_sources(config)))
    return run_site(
        config,
        options.out,
        display=options.display,
        duration_s=options.duration,
        overlay=options.overlay,
        log_level=options.log_level,
        echo=print,
        record_bus=options.record_bus,
    )


def _worker(options: argparse.Namespace) -> int:
    from pipeline.entry import run_worker

    return run_worker(load_config(options.config), options.out, log_level=options.log_level)


def _matcher(options: argparse.Namespace) -> int:
    from pipeline.entry import run_matcher

    return run_matcher(load_config(options.config), log_level=options.log_level, record_bus=options.record_bus)


def _dashboard(options: argparse.Namespace) -> int:
    from pipeline.entry import run_dashboard

    return run_dashboard(load_config(options.config), log_level=options.log_level, echo=print)


def _weights(options: argparse.Namespace) -> int:
    from pipeline.commands.weights import get_weights, show_weights

    return get_weights(options.name, print) if options.name else show_weights(print)


def _export(options: argparse.Namespace) -> int:
    from pipeline.commands.export import ExportOptions, export

    how = ExportOptions(options.format, options.backbone, options.half, options.pixels, options.bgr, options.overwrite)
    return export(options.weights, options.out, how, print)


def _doctor(options: argparse.Namespace) -> int:
    from pipeline.commands.doctor import doctor

    return doctor(print, load_config(options.config) if options.config else None)


def _init(options: argparse.Namespace) -> int:
    from pipeline.commands.init import init_site

    return init_site(options.source, options.out, print, overwrite=options.overwrite)


def _forget(options: argparse.Namespace) -> int:
    from pipeline.commands.forget import forget

    config = _given(options)
    if config is None and options.out is None:
        raise ConfigError("forget needs --out DIR (files), --config FILE (Redis and the running matcher), or both")
    return forget(options.identity, config=config, out_dir=options.out, echo=print)


def _search(options: argparse.Namespace) -> int:
    from pipeline.commands.search import options_from, search

    return search(options_from(options), print)


def _background(options: argparse.Namespace) -> int:
    from pipeline.commands.background import background, options_from

    return background(load_config(options.config), options_from(options), print)


def _train(options: argparse.Namespace) -> int:
    from pipeline.commands.train import options_from, train

    return train(options_from(options), print)


def _rename(options: argparse.Namespace) -> int:
    from pipeline.commands.orders import rename

    return rename(options.identity, options.name, config=_given(options), out_dir=options.out, echo=print)


def _merge(options: argparse.Namespace) -> int:
    from pipeline.commands.orders import merge

    return merge(options.identity, options.into, config=_given(options), out_dir=options.out, echo=print)


def _split(options: argparse.Namespace) -> int:
    from pipeline.commands.orders import split

    return split(options.identity, options.tracks, options.to, config=_given(options), out_dir=options.out, echo=print)


def _given(options: argparse.Namespace) -> Config | None:
    return load_config(options.config) if options.config else None


def _positive(text: str) -> float:
    value = float(text)
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"expected a number above 0, got {text}")
    return value


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="run_pipeline.py", description="One identity per person across all cameras, live and in replay."
    )
    parser.add_argument("--log-level", default="WARNING", choices=["DEBUG", "INFO", "WARNING", "ERROR"])
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    _add_recorded(commands)
    _add_scoring(commands)
    _add_live(commands)
    _add_upkeep(commands)
    return parser


def _add_recorded(commands: Commands) -> None:
    """Commands over recorded footage."""
    demo = _command(commands, "demo", _demo, "the whole pipeline on a generated three-camera scene")
    _output(demo, default=Path("demo_out"))

    replay = _command(commands, "replay", _replay, "recorded cameras, in order of time, deterministically")
    _config(replay, required=False)
    _output(replay)
    replay.add_argument("--gt", type=Path, metavar="DIR", help="ground truth to score against")
    replay.add_argument("--overlay", action="store_true", help="write overlay/<camera>.mp4")
    replay.add_argument("--speed", type=_positive, metavar="X", help="at most X times real time")
    replay.add_argument("--record", action="store_true", help="keep detections and features in recorded/")
    replay.add_argument("--detections", type=Path, metavar="DIR", help="use what an earlier --record kept, or det.txt")
    replay.add_argument("--features", type=Path, metavar="DIR", help="match what an earlier --record kept: no video")
    replay.add_argument(
        "--bus", type=Path, metavar="FILE", help="match what `run --record-bus` kept; --config: other settings"
    )
    replay.add_argument("--no-gt-boxes", action="store_true", help="with --gt: no second run on ground-truth boxes")

    replay.add_argument(
        "--export-tracklets", type=Path, metavar="DIR", help="with --gt: pictures of every track by person and camera"
    )

    fit = _command(commands, "fit-site", _fit_site, "settings from a site's own footage, as a config to use")
    _config(fit)
    _output(fit)
    fit.add_argument("--gt", type=Path, metavar="DIR", help="ground truth, where there is some")
    teaching = fit.add_mutually_exclusive_group()
    teaching.add_argument(
        "--no-adapt", action="store_true", help="settings only, no clip head learned from the footage"
    )
    teaching.add_argument(
        "--adapt-backbone", action="store_true", help="try the network's last stages, too: minutes more"
    )


def _add_scoring(commands: Commands) -> None:
    """Commands over rows and data sets."""
    track = _command(commands, "track", _track, "the tracker alone over a MOTChallenge folder with det/det.txt")
    track.add_argument("--sequence", type=Path, required=True, metavar="DIR")
    track.add_argument("--out", type=Path, required=True, metavar="FILE")
    track.add_argument("--online", action="store_true", help="rows as known frame by frame, gaps not filled")
    track.add_argument("--quiet", action="store_true", help="no progress bar")
    _config(track, required=False)

    score = _command(commands, "score", _score, "score MOT rows like a replay; several results side by side")
    score.add_argument("--results", type=Path, required=True, nargs="+", metavar="DIR")
    score.add_argument("--gt", type=Path, required=True, metavar="DIR", help="ground truth to score against")
    score.add_argument("--out", type=Path, metavar="FILE", help="metrics as JSON; several results: a page, too")
    score.add_argument("--absence-s", type=_positive, metavar="S", help="least absence before a re-entry")
    score.add_argument("--fps", type=_positive, metavar="F", help="frames per second, where nothing states them")
    score.add_argument("--independent", action="store_true", help="the sequences share no identities")

    training = _command(commands, "train", _train, "a recipe on a data set, to weights that are used live")
    add_train_arguments(training)
    _output(training)

    evaluate = _command(commands, "evaluate", _evaluate, "CMC, mAP and mINP of encoder and heads over a data set")
    add_evaluate_arguments(evaluate)
    _output(evaluate, required=False)


def _add_live(commands: Commands) -> None:
    """Commands that run cameras, or a role of a site."""
    run = _command(commands, "run", _run, "cameras live, one process each")
    _config(run)
    _output(run, required=False)
    run.add_argument("--display", choices=["web", "window", "none"], default="none")
    run.add_argument("--overlay", action="store_true", help="write overlay/<camera>.mp4")
    run.add_argument("--duration", type=_positive, metavar="S", help="stop after S seconds")
    _record_bus(run)

    worker = _command(commands, "worker", _worker, "this host's cameras against a shared Redis (bus.url)")
    _config(worker)
    worker.add_argument("--out", type=Path, metavar="DIR")
    matcher = _command(commands, "matcher", _matcher, "the site's matcher against a shared Redis (bus.url)")
    _config(matcher)
    _record_bus(matcher)
    _config(_command(commands, "dashboard", _dashboard, "the web page of a site whose workers run elsewhere"))


def _add_upkeep(commands: Commands) -> None:
    """Commands around a site: its configuration, its weights, its data."""
    init = _command(commands, "init", _init, "probe cameras and write a commented config")
    init.add_argument("--source", action="append", required=True, metavar="URL|FILE", help="once per camera")
    init.add_argument("--out", type=Path, default=Path("site.yaml"), metavar="FILE")
    init.add_argument("--overwrite", action="store_true")

    weights = _command(commands, "weights", _weights, "list named weights, or fetch one")
    weights.add_argument("name", nargs="?", metavar="NAME")
    _config(_command(commands, "doctor", _doctor, "what is installed, what is missing, what to do"), required=False)

    exporting = _command(commands, "export", _export, "a re-ID network in a faster format, kept if it agrees")
    exporting.add_argument("--weights", required=True, metavar="FILE|NAME")
    exporting.add_argument("--format", required=True, choices=("onnx", "openvino", "tensorrt"))
    exporting.add_argument("--out", type=Path, required=True, metavar="FILE|DIR")
    exporting.add_argument("--backbone", choices=_EXPORTED, help="what the weights are of; known for named ones")
    exporting.add_argument("--half", action="store_true", help="half precision")
    exporting.add_argument(
        "--pixels", choices=("imagenet", "0..1", "-1..1", "0..255"), help="of backbone onnx: what its input expects"
    )
    exporting.add_argument("--bgr", action="store_true", help="of backbone onnx: its input is blue, green, red")
    exporting.add_argument("--overwrite", action="store_true")

    add_background_arguments(
        _command(commands, "background", _background, "cut people out of a camera's video, or remove them from it")
    )
    add_search_arguments(_command(commands, "search", _search, "where somebody was seen, and why it is said so"))
    add_rename_arguments(_command(commands, "rename", _rename, "give an identity a name"))
    add_merge_arguments(_command(commands, "merge", _merge, "say that two identities are one person"))
    add_split_arguments(_command(commands, "split", _split, "say that tracks of an identity are somebody else"))

    forget = _command(commands, "forget", _forget, "erase one person from memory, Redis and files")
    forget.add_argument("--identity", type=int, required=True, metavar="ID")
    _config(forget, required=False)
    forget.add_argument("--out", type=Path, metavar="DIR")


def _command(commands: Commands, name: str, function: object, text: str) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = commands.add_parser(name, help=text, description=text)
    parser.set_defaults(function=function)
    return parser


def _config(parser: argparse.ArgumentParser, required: bool = True) -> None:
    parser.add_argument("--config", type=Path, required=required, metavar="FILE")


def _record_bus(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--record-bus", type=Path, metavar="FILE", help="keep what the matcher receives, for replay")


def _output(parser: argparse.ArgumentParser, required: bool = True, default: Path | None = None) -> None:
    parser.add_argument("--out", type=Path, required=required and default is None, default=default, metavar="DIR")
    parser.add_argument("--overwrite", action="store_true", help="replace what an earlier run left there")
    parser.add_argument("--quiet", action="store_true", help="no progress bar")


if __name__ == "__main__":
    sys.exit(main())

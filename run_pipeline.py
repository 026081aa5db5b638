"""Command line of the multi-camera person re-identification pipeline: arguments, configuration, one call."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from pipeline.config import Config, load_config
from pipeline.errors import BusRefused, ConfigError, PipelineError, WeightsError

_CONFIGS = Path(__file__).resolve().parent / "configs"
_INTERRUPTED = 130  # the shell's code for Ctrl-C


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

    prepared = prepare(load_config(options.config), options.gt)
    if options.gt is not None:
        print("warning: --gt is read, but this version does not score yet: no metrics.json is written")
    prepare_output(options.out, options.overwrite)
    how = ReplayOptions(options.overlay, options.speed, not options.quiet)
    print_summary(replay(prepared, options.out, how, print), options.out, print)
    return 0


def _run(options: argparse.Namespace) -> int:
    from pipeline.commands.output import prepare_output
    from pipeline.entry import run_site

    config = load_config(options.config)
    if options.out is not None:
        prepare_output(options.out, options.overwrite)
    return run_site(
        config,
        options.out,
        display=options.display,
        duration_s=options.duration,
        overlay=options.overlay,
        log_level=options.log_level,
        echo=print,
    )


def _worker(options: argparse.Namespace) -> int:
    from pipeline.entry import run_worker

    return run_worker(load_config(options.config), options.out, log_level=options.log_level)


def _matcher(options: argparse.Namespace) -> int:
    from pipeline.entry import run_matcher

    return run_matcher(load_config(options.config), log_level=options.log_level)


def _dashboard(options: argparse.Namespace) -> int:
    from pipeline.entry import run_dashboard

    return run_dashboard(load_config(options.config), log_level=options.log_level, echo=print)


def _weights(options: argparse.Namespace) -> int:
    from pipeline.commands.weights import get_weights, show_weights

    return get_weights(options.name, print) if options.name else show_weights(print)


def _doctor(options: argparse.Namespace) -> int:
    from pipeline.commands.doctor import doctor

    return doctor(print, load_config(options.config) if options.config else None)


def _init(options: argparse.Namespace) -> int:
    from pipeline.commands.init import init_site

    return init_site(options.source, options.out, print, overwrite=options.overwrite)


def _forget(options: argparse.Namespace) -> int:
    from pipeline.commands.forget import forget

    config: Config | None = load_config(options.config) if options.config else None
    if config is None and options.out is None:
        raise ConfigError("forget needs --out DIR (files), --config FILE (Redis and the running matcher), or both")
    return forget(options.identity, config=config, out_dir=options.out, echo=print)


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

    demo = _command(commands, "demo", _demo, "the whole pipeline on a generated three-camera scene")
    _output(demo, default=Path("demo_out"))

    replay = _command(commands, "replay", _replay, "recorded cameras, in order of time, deterministically")
    _config(replay)
    _output(replay)
    replay.add_argument("--gt", type=Path, metavar="DIR", help="ground truth to score against")
    replay.add_argument("--overlay", action="store_true", help="write overlay/<camera>.mp4")
    replay.add_argument("--speed", type=_positive, metavar="X", help="at most X times real time")

    run = _command(commands, "run", _run, "cameras live, one process each")
    _config(run)
    _output(run, required=False)
    run.add_argument("--display", choices=["web", "window", "none"], default="none")
    run.add_argument("--overlay", action="store_true", help="write overlay/<camera>.mp4")
    run.add_argument("--duration", type=_positive, metavar="S", help="stop after S seconds")

    worker = _command(commands, "worker", _worker, "this host's cameras against a shared Redis (bus.url)")
    _config(worker)
    worker.add_argument("--out", type=Path, metavar="DIR")
    _config(_command(commands, "matcher", _matcher, "the site's matcher against a shared Redis (bus.url)"))
    _config(_command(commands, "dashboard", _dashboard, "the web page of a site whose workers run elsewhere"))

    init = _command(commands, "init", _init, "probe cameras and write a commented config")
    init.add_argument("--source", action="append", required=True, metavar="URL|FILE", help="once per camera")
    init.add_argument("--out", type=Path, default=Path("site.yaml"), metavar="FILE")
    init.add_argument("--overwrite", action="store_true")

    weights = _command(commands, "weights", _weights, "list named weights, or fetch one")
    weights.add_argument("name", nargs="?", metavar="NAME")
    _config(_command(commands, "doctor", _doctor, "what is installed, what is missing, what to do"), required=False)

    forget = _command(commands, "forget", _forget, "erase one person from memory, Redis and files")
    forget.add_argument("--identity", type=int, required=True, metavar="ID")
    _config(forget, required=False)
    forget.add_argument("--out", type=Path, metavar="DIR")
    return parser


def _command(commands: argparse._SubParsersAction, name: str, function: object, text: str) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = commands.add_parser(name, help=text, description=text)
    parser.set_defaults(function=function)
    return parser


def _config(parser: argparse.ArgumentParser, required: bool = True) -> None:
    parser.add_argument("--config", type=Path, required=required, metavar="FILE")


def _output(parser: argparse.ArgumentParser, required: bool = True, default: Path | None = None) -> None:
    parser.add_argument("--out", type=Path, required=required and default is None, default=default, metavar="DIR")
    parser.add_argument("--overwrite", action="store_true", help="replace what an earlier run left there")
    parser.add_argument("--quiet", action="store_true", help="no progress bar")


if __name__ == "__main__":
    sys.exit(main())

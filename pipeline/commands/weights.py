"""`run_pipeline.py weights`: what is known of named weights, what is at hand, and fetching one."""

from collections.abc import Callable, Mapping
from pathlib import Path

from pipeline.errors import WeightsError
from reid.catalogue import find_named
from reid.weights import Opener, Progress, WeightsStatus, default_cache_dir, fetch_weights, list_weights

Echo = Callable[[str], None]

_STEP_BYTES = 1 << 20  # a line of progress per megabyte where the size is unknown
_STEPS = 10  # lines of progress where it is known


def show_weights(echo: Echo, *, environment: Mapping[str, str] | None = None, cache_dir: Path | None = None) -> int:
    """Print every known model: what it is, its licence, where it lies, and how to get it; always 0."""
    for status in list_weights(environment, cache_dir):
        weights = status.weights
        echo(f"{weights.name}: {weights.what}")
        echo(f"    licence   {weights.licence}")
        echo(f"    at hand   {_where(status)}")
        if status.path is None:
            echo(f"    get it    {_how(status)}")
    cache = default_cache_dir() if cache_dir is None else cache_dir
    echo(f"Looked for in the folders of MODELS_DIR and in {cache}. Their licences bind you, not only this program's.")
    return 0


def get_weights(
    name: str,
    echo: Echo,
    *,
    environment: Mapping[str, str] | None = None,
    cache_dir: Path | None = None,
    opener: Opener | None = None,
) -> int:
    """Fetch one model unless it is at hand; 0 when it is there in the end.

    Raises:
        WeightsError: not known, not to be fetched, or no connection; says what to put where. OutputError: the disk.
    """
    entry = find_named(name)
    if entry is None:
        known = ", ".join(status.weights.name for status in list_weights(environment, cache_dir))
        raise WeightsError(f"weights {name!r} are not known; known are: {known}")
    status = next(s for s in list_weights(environment, cache_dir) if s.weights is entry)
    if status.path is not None:
        if status.verified is False:
            raise WeightsError(f"{status.path}: not the file that is known by this name (SHA-256 differs); remove it")
        echo(f"{entry.name} is at hand: {_where(status)}")
        return 0
    path = fetch_weights(entry.name, cache_dir, opener, _progress(entry.name, echo))
    echo(f"{entry.name}: {path}, licence: {entry.licence}")
    return 0


def at_hand(environment: Mapping[str, str] | None = None) -> list[tuple[str, str | None]]:
    """Name of every known model, and where it lies; None where it does not."""
    statuses = list_weights(environment)
    return [(s.weights.name, None if s.path is None else _where(s)) for s in statuses]


def _where(status: WeightsStatus) -> str:
    if status.path is None:
        return "no"
    checked = {True: "SHA-256 agrees", False: "NOT the known file: SHA-256 differs", None: "SHA-256 not known"}
    return f"{status.path} ({checked[status.verified]})"


def _how(status: WeightsStatus) -> str:
    if status.fetchable:
        return f"run_pipeline.py weights {status.weights.name}"
    return status.weights.makes or f"see {status.weights.home}"


def _progress(name: str, echo: Echo) -> Progress:
    """Tells about ten times how far a download is."""
    told = 0

    def tell(done: int, total: int | None) -> None:
        nonlocal told
        step = max(total // _STEPS, 1) if total else _STEP_BYTES
        if done // step > told:
            told = done // step
            share = f" of {total / 1e6:.1f} MB" if total else " MB"
            echo(f"{name}: {done / 1e6:.1f}{share}")

    return tell

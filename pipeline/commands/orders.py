"""`run_pipeline.py rename | merge | split`: an operator's word on who is who, for a running site and a recorded run."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from pipeline.background.correct import correct_folder
from pipeline.background.files import append_line
from pipeline.bus.lines import event_to_json
from pipeline.commands.order_events import (
    FileOrder,
    as_recorded,
    check_order,
    checked_name,
    events_for,
    read_track,
    shown_tracks,
)
from pipeline.commands.site_writer import Patience, SiteView, SiteWriter
from pipeline.config import Config
from pipeline.errors import ConfigError, OutputError
from pipeline.reporting.report import write_report
from pipeline.resolution import IdentityBook
from pipeline.runtime.recording import journal_path, read_events
from pipeline.types import IdentityEvent, Merge, Rename, Split

Echo = Callable[[str], None]


def rename(
    identity_id: int,
    name: str,
    *,
    config: Config | None,
    out_dir: Path | None,
    echo: Echo,
    patience: Patience | None = None,
) -> int:
    """Give one identity a name; an empty one takes it away. See `carry_out`."""
    return carry_out(Rename(identity_id, checked_name(name), 0), config, out_dir, echo, patience)


def merge(
    identity_id: int,
    into_id: int,
    *,
    config: Config | None,
    out_dir: Path | None,
    echo: Echo,
    patience: Patience | None = None,
) -> int:
    """Say that two identities are one person, who goes on as `into_id`. See `carry_out`."""
    return carry_out(Merge(identity_id, into_id, 0), config, out_dir, echo, patience)


def split(
    identity_id: int,
    tracks: Sequence[str],
    to_id: int | None,
    *,
    config: Config | None,
    out_dir: Path | None,
    echo: Echo,
    patience: Patience | None = None,
) -> int:
    """Say that tracks (`camera:epoch:track`) of an identity are `to_id`, or, None, somebody new. See `carry_out`."""
    keys = tuple(sorted({read_track(text) for text in tracks}))
    return carry_out(Split(identity_id, keys, 0, to_id=to_id), config, out_dir, echo, patience)


def carry_out(
    order: FileOrder, config: Config | None, out_dir: Path | None, echo: Echo, patience: Patience | None = None
) -> int:
    """Carry an order out wherever this command can reach; doing it again changes nothing more.

    With a configuration that names a Redis (`bus.url`): the running matcher is told and waited for, or, where none
    runs, its state is changed in its place. With an output folder: the order is written into the identity log, and
    rows, crops, references and the report are brought up to it; with both, the folder gets what the site decided.

    Raises:
        ConfigError: it cannot be done, and nothing was changed. BusUnavailable: no Redis, or a matcher that does not
            answer. OutputError: the folder is missing or cannot be written; run it again.
    """
    what = type(order).__name__.lower()
    check_order(order)
    url = config.bus.url if config is not None else None
    if url is None and out_dir is None:
        raise ConfigError(f"{what}: give --out DIR, or a --config whose bus.url names the Redis of the site")
    if out_dir is not None and not (out_dir / "identities.jsonl").is_file():
        raise OutputError(f"{what}: there is no identity log {out_dir / 'identities.jsonl'}")
    told = None
    if config is not None and url is not None:
        told = _tell(order, SiteWriter(config, url, what, patience), echo)
    if out_dir is not None:
        _into_folder(order, told, out_dir, echo)
    return 0


# -- Redis ------------------------------------------------------------------------------------------------------------


def _tell(order: FileOrder, site: SiteWriter, echo: Echo) -> list[IdentityEvent]:
    """Have the site's one writer do it; the events that it led to, now or before."""
    view = site.look()
    if _is_done(order, view):
        echo(f"{_said(order)}: that is so already at site {site.bus.site}")
        return as_recorded(order, view.events)
    living = _with_living_ids(order, view.book)
    _check_known(order, living, view)
    by_whom = site.give([living])
    view = site.look()
    if not _is_done(order, view):
        raise ConfigError(_why_not(order))
    echo(f"{_said(order)} ({by_whom})")
    return as_recorded(order, view.events)


def _with_living_ids(order: FileOrder, book: IdentityBook) -> FileOrder:
    """The order under the ids that live on, which are the ones that the matcher knows."""
    identity_id = book.living(order.identity_id)
    if isinstance(order, Merge):
        return replace(order, identity_id=identity_id, into_id=book.living(order.into_id))
    if isinstance(order, Split):
        to_id = None if order.to_id is None else book.living(order.to_id)
        return replace(order, identity_id=identity_id, to_id=to_id)
    return replace(order, identity_id=identity_id)


def _is_done(order: FileOrder, view: SiteView) -> bool:
    living = _with_living_ids(order, view.book)
    if isinstance(living, Rename):
        return living.identity_id in view.identities and view.name_of(living.identity_id) == living.name
    if isinstance(living, Merge):
        return living.into_id == living.identity_id
    owners = {view.owner(key) for key in living.keys}
    if living.to_id is not None:
        return owners == {living.to_id} != {living.identity_id}
    split_off = owners.isdisjoint({0, living.identity_id})
    return split_off and len(as_recorded(order, view.events)) == len(living.keys)


def _check_known(order: FileOrder, living: FileOrder, view: SiteView) -> None:
    """Raise ConfigError for somebody, or tracks, that the site's matcher does not know."""
    other = living.into_id if isinstance(living, Merge) else living.to_id if isinstance(living, Split) else None
    for identity_id in (living.identity_id, other):
        if identity_id is not None and identity_id not in view.identities:
            raise ConfigError(f"identity {identity_id} is not known here: never seen, expired, or forgotten")
    if isinstance(living, Split):
        if living.to_id == living.identity_id:
            raise ConfigError(
                f"split: identities {order.identity_id} and {living.to_id} are one since they were merged"
            )
        wrong = [key for key in living.keys if view.owner(key) not in (living.identity_id, living.to_id)]
        if wrong:
            raise ConfigError(f"split: not tracks of identity {order.identity_id}: {shown_tracks(wrong)}")


def _why_not(order: FileOrder) -> str:
    if isinstance(order, Split):
        return (
            "split: the matcher changed nothing, or not all; it no longer knows some of these tracks by themselves. "
            "What was recorded can still be corrected with --out DIR"
        )
    return f"{type(order).__name__.lower()}: the matcher changed nothing; somebody else was faster, look again"


def _said(order: FileOrder) -> str:
    """The order in words, without the name, which is nobody else's business."""
    if isinstance(order, Rename):
        return f"identity {order.identity_id}: " + ("its name was taken away" if order.name is None else "renamed")
    if isinstance(order, Merge):
        return f"identity {order.identity_id} is {order.into_id} from now on"
    whom = "somebody new" if order.to_id is None else f"identity {order.to_id}"
    return f"{len(order.keys)} track{'s' if len(order.keys) > 1 else ''} of identity {order.identity_id} are {whom}"


# -- files ------------------------------------------------------------------------------------------------------------


def _into_folder(order: FileOrder, told: list[IdentityEvent] | None, out_dir: Path, echo: Echo) -> None:
    """Write the order into the log (as the site `told` it, where there is one), and bring the folder up to the log."""
    if journal_path(out_dir).exists():
        if told is None:
            raise ConfigError(
                f"a run is being recorded into {out_dir}: give the --config of its site, or wait for its end"
            )
        echo(f"{out_dir}: its run goes on, and writes down what the matcher says")
        return
    log = read_events(out_dir)
    new = events_for(order, log) if told is None else _not_yet_there(told, log)
    if new:  # in one write: half an order must not stand there
        append_line(out_dir / "identities.jsonl", "\n".join(map(event_to_json, new)))
    counts, notes = correct_folder(out_dir, IdentityBook([*log, *new]))
    changed = ", ".join(f"{n} {name.replace('_', ' ')}" for name, n in {"events": len(new), **counts}.items() if n)
    echo(f"{_said(order)} in {out_dir}: {changed or 'nothing more to change'}")
    for note in notes:
        echo(f"    {note}")
    write_report(out_dir)


def _not_yet_there(told: Sequence[IdentityEvent], log: Sequence[IdentityEvent]) -> list[IdentityEvent]:
    """What the site said and the log does not, as far as it is about people of this folder, numbered as it goes on."""
    book = IdentityBook(log)
    here = {i for i in book.identities()} | {e.identity_id for e in log}
    there = {_content(event) for event in log}
    sequence = max((event.sequence for event in log), default=0)
    new = []
    for event in told:
        known = book.first_s(event.key) is not None if event.key is not None else event.identity_id in here
        if known and _content(event) not in there:
            sequence += 1
            new.append(replace(event, sequence=sequence))
    return new


def _content(event: IdentityEvent) -> tuple[object, ...]:
    """What an event says, whatever its number."""
    return event.kind, event.identity_id, event.other_identity_id, event.key, event.name, event.decided_at_s

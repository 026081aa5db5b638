"""Times and events in words, the same on the picture, the web page and the report."""

import math
from collections.abc import Sequence
from datetime import UTC, datetime

EPOCH_TIMES_FROM_S = 1e8  # below (before 1973) a time stamp counts from the start of a file, not from 1970


def clock_text(at_s: float, digits: int = 1) -> str:
    """A time stamp for people: `0:12.3` since the start of a file, or `2026-01-31 14:03:22.4 UTC`."""
    if not math.isfinite(at_s):
        return "–"
    unit = 10**digits
    ticks = round(at_s * unit)
    whole, rest = divmod(abs(ticks), unit)
    fraction = f".{rest:0{digits}d}" if digits else ""
    if at_s < EPOCH_TIMES_FROM_S:
        hours, rest_s = divmod(whole, 3600)
        minutes, seconds = divmod(rest_s, 60)
        sign = "-" if ticks < 0 else ""
        head = f"{hours}:{minutes:02d}" if hours else str(minutes)
        return f"{sign}{head}:{seconds:02d}{fraction}"
    if at_s > 253402300799:  # year 9999
        return "–"
    return datetime.fromtimestamp(whole, UTC).strftime("%Y-%m-%d %H:%M:%S") + fraction + " UTC"


def duration_text(duration_s: float) -> str:
    """A duration for people: `3.4 s`, `12 s`, `2 min 5 s`, `1 h 2 min`."""
    if not math.isfinite(duration_s):
        return "–"
    if duration_s < 9.95:
        return f"{max(duration_s, 0.0):.1f} s"
    seconds = round(duration_s)
    if seconds < 60:
        return f"{seconds} s"
    if seconds < 3600:
        return f"{seconds // 60} min {seconds % 60} s"
    return f"{seconds // 3600} h {seconds % 3600 // 60} min"


def identity_label(identity_id: int, name: str | None = None) -> str:
    """The name where there is one, else `#7`; `?` for nobody known yet."""
    if identity_id <= 0:
        return "?"
    return name or f"#{identity_id}"


def event_text(
    kind: str,
    camera_id: str,
    absent_s: float | None = None,
    via: Sequence[str] = (),
    other_identity_id: int | None = None,
    name: str | None = None,
) -> str:
    """What happened, as the end of a sentence that begins with the identity; an unknown kind is given as it is."""
    away = f" after {duration_text(absent_s)}" if absent_s is not None else ""
    seen = ", ".join(via)
    other = (
        f"#{other_identity_id}" if other_identity_id else "another identity" if other_identity_id is None else "nobody"
    )
    words = {
        "entered": f"entered {camera_id}",
        "handed_over": f"went to {camera_id}" + (f" from {seen}" if seen else ""),
        "reentered": f"returned to {camera_id}{away}" + (f" via {seen}" if seen else ""),
        "continued": f"goes on in {camera_id}{away}",
        "left": f"left {camera_id}",
        "unknown": f"seen too briefly in {camera_id}",
        "merged": f"is the same person as {other}",
        "split": f"was split from {other}",
        "reassigned": f"was taken for {other} in {camera_id}",
        "renamed": f"is called {name}" if name else "has no name any more",
        "forgotten": "was erased",
    }
    return words.get(kind) or f"{kind} {camera_id}".strip()

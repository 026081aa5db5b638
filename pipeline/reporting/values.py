"""Values of foreign files, made safe to show: numbers that are finite, orders people expect, no passwords."""

import re
from collections.abc import Mapping
from typing import Any, TypeGuard

NONE = "–"  # shown where there is no number

_PASSWORD = re.compile(r"(://)[^/@\s\"']*@")  # user:password of a URL, should a writer ever let one through
_NATURAL = re.compile(r"(\d+)")


def redacted(text: str) -> str:
    """`text` without the user names and passwords of URLs."""
    return _PASSWORD.sub(r"\1***@", text)


def natural_key(text: str) -> list[Any]:
    """Sorts `cam2` before `cam10`."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in _NATURAL.split(text)]


def number(value: Any) -> float | None:
    """A finite number, or None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if abs(value) < 1e300 else None  # greater whole numbers do not fit a float


def is_map(value: Any) -> TypeGuard[Mapping[Any, Any]]:
    return isinstance(value, Mapping)


def group(value: Any, *path: str) -> Mapping[str, Any]:
    """The mapping at this path of mappings; empty where there is none."""
    for name in path:
        value = value.get(name) if is_map(value) else None
    return value if is_map(value) else {}


def pairs(value: Any) -> list[tuple[str, Any]]:
    """A mapping's items in natural order; nothing else has any."""
    if not is_map(value):
        return []
    return sorted(((str(k), v) for k, v in value.items()), key=lambda pair: natural_key(pair[0]))


def figure_text(value: Any, digits: int = 3) -> str:
    """A number for a table: counts whole, measures with so many digits; a dash where there is none."""
    if isinstance(value, str):
        return value
    found = number(value)
    if found is None:
        return NONE
    return f"{found:,.0f}" if isinstance(value, int) or abs(found) >= 1000 else f"{found:,.{digits}f}"


def seconds_text(value: Any) -> str:
    """Seconds for a table: two digits below ten, else one."""
    found = number(value)
    if found is None:
        return NONE
    return f"{found:.2f} s" if abs(found) < 9.995 else f"{found:.1f} s"

"""Typed values to plain JSON values and back, strictly: what `read_plain` takes is exactly what `write_plain` makes.

Driven by the dataclasses' own annotations, so that a message has one definition. Understood are int, float, str, bool,
Literal, optional values, tuples, mappings from str, NamedTuples and dataclasses; arrays are the codec's business.
"""

import json
import math
import operator
from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass
from functools import lru_cache
from pathlib import PurePosixPath
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from pipeline.bus.streams import is_safe_id
from pipeline.errors import DecodeError

MAX_INT = 2**63 - 1  # what a 64-bit consumer can hold
MAX_HEAD_BYTES = 1 << 20  # 1 MiB; the largest real head is under 4 KiB


@lru_cache(maxsize=64)
def hints_of(kind: type) -> Mapping[str, Any]:
    """Field name -> annotation of a dataclass or NamedTuple, in order of declaration."""
    hints = get_type_hints(kind)
    names = [f.name for f in fields(kind)] if is_dataclass(kind) else list(getattr(kind, "_fields", ()))
    return {name: hints[name] for name in names}


def write_plain(kind: Any, value: Any, name: str) -> Any:
    """`value`, annotated as `kind`, as what JSON can say; NumPy scalars become Python's.

    Raises:
        ValueError, TypeError: the value is not of the kind; `name` says where.
    """
    origin = get_origin(kind)
    if origin in (Union, UnionType):
        return None if value is None else write_plain(_without_none(kind), value, name)
    if origin is tuple:
        return [write_plain(k, v, name) for k, v in zip(_tuple_kinds(kind, len(value), name), value, strict=True)]
    if origin is not None and issubclass(_as_type(origin), Mapping):
        return {str(k): write_plain(get_args(kind)[1], value[k], f"{name}.{k}") for k in sorted(value)}
    if is_record(kind):
        return {n: write_plain(k, getattr(value, n), f"{name}.{n}") for n, k in hints_of(kind).items()}
    return _write_scalar(kind, value)


def _write_scalar(kind: Any, value: Any) -> Any:
    if kind is float:
        return float(value)
    if kind is int:
        return operator.index(value)
    return bool(value) if kind is bool else value


def read_plain(kind: Any, plain: Any, name: str) -> Any:
    """A value of `kind` out of parsed JSON.

    Raises:
        DecodeError: wrong type, unknown or missing key, not finite, unsafe path or id; `name` says where.
    """
    origin = get_origin(kind)
    if origin in (Union, UnionType):
        return None if plain is None else read_plain(_without_none(kind), plain, name)
    if origin is Literal:
        return _read_choice(get_args(kind), plain, name)
    if origin is tuple:
        if not isinstance(plain, list):
            raise DecodeError(f"{name}: expected a list, got {_shown(plain)}")
        return tuple(
            read_plain(k, v, f"{name}[{i}]")
            for i, (k, v) in enumerate(zip(_tuple_kinds(kind, len(plain), name), plain, strict=True))
        )
    if origin is not None and issubclass(_as_type(origin), Mapping):
        if not isinstance(plain, dict):
            raise DecodeError(f"{name}: expected an object, got {_shown(plain)}")
        return {_read_text(k, name): read_plain(get_args(kind)[1], v, f"{name}.{k}") for k, v in plain.items()}
    if is_record(kind):
        return _build(kind, read_fields(hints_of(kind), plain, name), name)
    return _SCALARS[kind](plain, name)


def read_fields(hints: Mapping[str, Any], plain: Any, name: str) -> dict[str, Any]:
    """The fields named in `hints` out of an object that has exactly those keys.

    Raises:
        DecodeError: names the first key that is missing, unknown or wrong.
    """
    if not isinstance(plain, dict):
        raise DecodeError(f"{name}: expected an object, got {_shown(plain)}")
    for key in hints:
        if key not in plain:
            raise DecodeError(f"{name}: {key!r} is missing")
    for key in plain:
        if key not in hints:
            raise DecodeError(f"{name}: unknown key {_shown(key)}")
    values = {key: read_plain(kind, plain[key], f"{name}.{key}") for key, kind in hints.items()}
    for key, value in values.items():
        check = _CHECKS.get(key)
        if check is not None and isinstance(value, str) and not check[0](value):
            raise DecodeError(f"{name}.{key}: expected {check[1]}, got {_shown(value)}")
    return values


def is_record(kind: Any) -> bool:
    """Whether the annotation is a dataclass or a NamedTuple."""
    return is_dataclass(kind) or (isinstance(kind, type) and issubclass(kind, tuple) and hasattr(kind, "_fields"))


def parse_json(text: bytes | str, name: str) -> Any:
    """Strict JSON: UTF-8, no NaN, no key twice, at most `MAX_HEAD_BYTES`.

    Raises:
        DecodeError: it is not.
    """
    if len(text) > MAX_HEAD_BYTES:
        raise DecodeError(f"{name}: longer than {MAX_HEAD_BYTES} bytes")
    try:
        decoded = text.decode("utf-8") if isinstance(text, bytes) else text
        return json.loads(decoded, parse_constant=_no_constant, object_pairs_hook=_unique)
    except (ValueError, RecursionError) as error:
        raise DecodeError(f"{name}: not JSON ({str(error)[:80] or type(error).__name__})") from None


def _no_constant(word: str) -> float:
    raise ValueError(f"{word} is not a number")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key is given twice")
    return found


def _build(kind: Any, values: dict[str, Any], name: str) -> Any:
    try:
        return kind(**values)
    except (ValueError, TypeError) as error:
        raise DecodeError(f"{name}: {error}") from None


def _read_float(plain: Any, name: str) -> float:
    if isinstance(plain, bool) or not isinstance(plain, int | float) or abs(plain) > 1e300 or not math.isfinite(plain):
        raise DecodeError(f"{name}: expected a finite number, got {_shown(plain)}")
    return float(plain)


def _read_int(plain: Any, name: str) -> int:
    if isinstance(plain, bool) or not isinstance(plain, int) or abs(plain) > MAX_INT:
        raise DecodeError(f"{name}: expected a whole number of 64 bits, got {_shown(plain)}")
    return plain


def _read_text(plain: Any, name: str) -> str:
    if not isinstance(plain, str) or any("\ud800" <= c <= "\udfff" for c in plain):
        raise DecodeError(f"{name}: expected text, got {_shown(plain)}")
    return plain


def _read_bool(plain: Any, name: str) -> bool:
    if not isinstance(plain, bool):
        raise DecodeError(f"{name}: expected true or false, got {_shown(plain)}")
    return plain


def _read_choice(choices: tuple[Any, ...], plain: Any, name: str) -> Any:
    if not isinstance(plain, str) or plain not in choices:
        raise DecodeError(f"{name}: expected one of {', '.join(choices)}; got {_shown(plain)}")
    return plain


_SCALARS: dict[Any, Callable[[Any, str], Any]] = {
    float: _read_float,
    int: _read_int,
    str: _read_text,
    bool: _read_bool,
}


def _is_inside(path: str) -> bool:
    """A relative path that cannot leave its folder: a message may come from a host that is not ours."""
    pure = PurePosixPath(path)
    return bool(path) and not pure.is_absolute() and ".." not in pure.parts and not set(path) & {"\\", "\0", "\n"}


_PATH_RULE = (_is_inside, "a relative path without '..'")
_CHECKS: dict[str, tuple[Callable[[str], bool], str]] = {
    # Empty: an operator's order, which is about no camera.
    "camera_id": (lambda text: not text or is_safe_id(text), "letters, digits, - and _ (at most 64)"),
    "epoch": (lambda text: len(text) <= 128 and text.isprintable(), "at most 128 printable characters"),
    "file": _PATH_RULE,
    "image": _PATH_RULE,
    "mask": _PATH_RULE,
}


def _without_none(kind: Any) -> Any:
    return next(k for k in get_args(kind) if k is not NoneType)


def _as_type(origin: Any) -> type:
    return origin if isinstance(origin, type) else object


def _tuple_kinds(kind: Any, length: int, name: str) -> tuple[Any, ...]:
    kinds = get_args(kind)
    if kinds[-1] is Ellipsis:
        return (kinds[0],) * length
    if len(kinds) != length:
        raise DecodeError(f"{name}: expected {len(kinds)} values, got {length}")
    return kinds


def _shown(plain: Any) -> str:
    """A short, printable form of a wrong value, for error texts."""
    if isinstance(plain, dict | list):
        return "an object" if isinstance(plain, dict) else "a list"
    return ascii(plain)[:60] if not isinstance(plain, int) or abs(plain) < 10**60 else "a very long number"

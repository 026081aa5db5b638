"""One event or reference frame as one line of JSON: what `identities.jsonl` and `references.jsonl` hold.

A line has every key, always, in the order of the dataclass, `schema` first; what is unknown is null. Numbers are
rounded so that two replays that differ in the last bit of a float still agree to the byte.
"""

import json
from typing import Any

from pipeline.bus.plain import parse_json, read_plain, write_plain
from pipeline.errors import DecodeError
from pipeline.types import IdentityEvent, ReferenceFrame

LINE_SCHEMA = 3

# Digits after the point. Times: microseconds, about what a float64 of Unix seconds holds. Boxes: hundredths of a pixel.
_TIME_DIGITS = 6
_BOX_DIGITS = 2
_OTHER_DIGITS = 4  # distances, thresholds, plausibilities, qualities


def event_to_json(event: IdentityEvent) -> str:
    """One line without its line end.

    Raises:
        ValueError: a number is not finite, or an id or path could not be read back.
    """
    return _to_line(IdentityEvent, event)


def event_from_json(line: str | bytes) -> IdentityEvent:
    """The event of one line.

    Raises:
        DecodeError: says what is wrong with the line.
    """
    event = _from_line(IdentityEvent, line)
    if not isinstance(event, IdentityEvent):
        raise DecodeError("event: not an identity event")
    return event


def reference_to_json(reference: ReferenceFrame) -> str:
    """One line without its line end.

    Raises:
        ValueError: a number is not finite, or an id or path could not be read back.
    """
    return _to_line(ReferenceFrame, reference)


def reference_from_json(line: str | bytes) -> ReferenceFrame:
    """The reference frame of one line.

    Raises:
        DecodeError: says what is wrong with the line.
    """
    reference = _from_line(ReferenceFrame, line)
    if not isinstance(reference, ReferenceFrame):
        raise DecodeError("reference: not a reference frame")
    return reference


def _to_line(kind: type, value: object) -> str:
    plain = _rounded(write_plain(kind, value, kind.__name__), "")
    try:
        read_plain(kind, plain, kind.__name__)
    except DecodeError as error:
        raise ValueError(str(error)) from None
    return json.dumps({"schema": LINE_SCHEMA, **plain}, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def _from_line(kind: type, line: str | bytes) -> Any:
    plain = parse_json(line, kind.__name__)
    if not isinstance(plain, dict) or plain.pop("schema", None) != LINE_SCHEMA:
        raise DecodeError(f'{kind.__name__}: expected an object with "schema":{LINE_SCHEMA}')
    return read_plain(kind, plain, kind.__name__)


def _rounded(plain: Any, name: str) -> Any:
    """Every float of a plain value, rounded after the key it stands under."""
    if isinstance(plain, dict):
        return {key: _rounded(value, key) for key, value in plain.items()}
    if isinstance(plain, list):
        return [_rounded(value, name) for value in plain]
    if not isinstance(plain, float):
        return plain
    digits = _TIME_DIGITS if name.endswith("_s") else _BOX_DIGITS if name == "xyxy" else _OTHER_DIGITS
    return round(plain, digits) + 0.0  # + 0.0: never "-0.0"

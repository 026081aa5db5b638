"""The table of policies."""

from collections.abc import Sequence
from typing import Any

from reentry.measuring import Outcome

_HEAD = (
    "| clip | policy | true | found | false | likely | precision | recall | event p50, p95 s | reference p50, p95 s "
    "| event, reference within 1 s | encodings a minute | IDF1 |\n" + "|---" * 13 + "|"
)


def table(outcomes: Sequence[Outcome]) -> str:
    """Markdown, a line for each policy on each clip."""
    return "\n".join([_HEAD, *map(_line, outcomes)])


def _line(one: Outcome) -> str:
    figures = one.reentry
    likely = figures["likely"]
    cells = [
        one.clip,
        one.policy,
        str(figures["true"]),
        str(figures["found"]),
        str(figures["false"]),
        f"{likely['found']} of {likely['true']}",
        _number(figures["precision"], 3),
        _number(figures["recall"], 3),
        f"{_number(figures['latency_s_p50'], 2)}, {_number(figures['latency_s_p95'], 2)}",
        f"{_number(figures['reference_latency_s_p50'], 2)}, {_number(figures['reference_latency_s_p95'], 2)}",
        f"{_number(figures['told_within_1_s'], 2)}, {_number(figures['pictured_within_1_s'], 2)}",
        f"{one.encodings_per_minute:.0f}",
        f"{one.idf1:.3f}",
    ]
    return "| " + " | ".join(cells) + " |"


def _number(value: Any, digits: int) -> str:
    return "–" if value is None else f"{value:.{digits}f}"

"""Logging of parent and children: one line per record, with role, name and process id, without passwords.

2026-03-01T09:30:00.125Z WARNING worker/door[4711] pipeline.capture.rtsp: no packet for 5.0 s
"""

import logging
import re
import sys
import time
from typing import TextIO

_USER_INFO = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*://)[^\s'\"<>]*@")  # up to the last @: passwords may hold / and @
_QUERY_SECRET = re.compile(r"(?i)\b(password|passwd|pwd|pass|token|secret|auth)=[^\s&'\"<>]+")
_HIDDEN = "***"


def redact(text: str) -> str:
    """`text` with the user part of every URL, and what follows `password=`, `token=` and the like, hidden."""
    return _QUERY_SECRET.sub(rf"\1={_HIDDEN}", _USER_INFO.sub(rf"\1{_HIDDEN}@", text))


class OneLineFormatter(logging.Formatter):
    """A record as one line. Redacts last, so that tracebacks and arguments are covered as well."""

    converter = staticmethod(time.gmtime)

    def __init__(self, role: str, name: str) -> None:
        super().__init__(
            f"%(asctime)s.%(msecs)03dZ %(levelname)s {_tag(role, name)}[%(process)d] %(name)s: %(message)s",
            datefmt="%Y-%m-%dT%H:%M:%S",
        )

    def format(self, record: logging.LogRecord) -> str:
        """The line; line ends within it become ` | `."""
        text = super().format(record)
        return redact(" | ".join(part.rstrip() for part in text.splitlines()))


class LogSetup:
    """What `setup_logging` has put in place; `close` takes it away."""

    def __init__(self, logger: logging.Logger, handler: logging.Handler, previous_level: int) -> None:
        self._logger = logger
        self._handler = handler
        self._previous_level = previous_level

    def close(self) -> None:
        """Flush, and leave the logger as it was before."""
        self._handler.flush()
        self._logger.removeHandler(self._handler)
        self._logger.setLevel(self._previous_level)


class _LineHandler(logging.StreamHandler[TextIO]):
    """Marks the handlers of this module, so that a second set-up replaces the first."""


def setup_logging(
    level: str = "INFO",
    role: str = "main",
    name: str = "",
    *,
    stream: TextIO | None = None,
    logger: logging.Logger | None = None,
) -> LogSetup:
    """Send the records of `logger` (the root when None) to `stream` (stderr when None), one line each.

    A former set-up for the same stream is replaced; one for another stream stays, so that two can stand side by side.

    Raises:
        ValueError: an unknown level.
    """
    number = logging.getLevelNamesMapping().get(level.upper())
    if number is None:
        raise ValueError(f"log level: expected DEBUG, INFO, WARNING or ERROR, got {level!r}")
    logger = logging.getLogger() if logger is None else logger
    handler = _LineHandler(sys.stderr if stream is None else stream)
    handler.setFormatter(OneLineFormatter(role, name))
    for old in list(logger.handlers):
        if isinstance(old, _LineHandler) and old.stream is handler.stream:
            logger.removeHandler(old)
    setup = LogSetup(logger, handler, logger.level)
    logger.addHandler(handler)
    logger.setLevel(number)
    return setup


def _tag(role: str, name: str) -> str:
    tag = role if name in ("", role) else f"{role}/{name}"
    return tag.replace("%", "%%")  # it becomes part of a format string

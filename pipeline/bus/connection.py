"""How this project talks to Redis: time-outs, no hidden retries, and errors without the URL.

redis-py retries a command ten times by default, which turns one message into two (a timed-out XADD may have been
applied), and its default time-out is longer than some blocking reads. Both are set here, for every client.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.exceptions import (
    AuthenticationError,
    AuthenticationWrongNumberOfArgsError,
    NoPermissionError,
    RedisError,
    ResponseError,
)
from redis.retry import Retry

from pipeline.errors import BusRefused, BusUnavailable

CONNECT_TIMEOUT_S = 1.0  # a host that swallows packets must not hold anybody up for longer
WRITE_TIMEOUT_S = 1.0  # publishers give up after 1 s and spool
READ_BLOCK_S = 2.0  # longest XREADGROUP BLOCK; longer waits are made of several
READ_TIMEOUT_S = 5.0  # socket time-out of a blocking reader: well above READ_BLOCK_S

# First words of replies that say "not now"; every other error reply means the command itself is refused.
_NOT_NOW = ("OOM", "MISCONF", "READONLY", "LOADING", "CLUSTERDOWN", "TRYAGAIN", "MASTERDOWN", "NOREPLICAS", "BUSY")


class StaleGroup(BusUnavailable):
    """The consumer group is gone (a restart without persistence, FLUSHALL): make it again."""


class ServerFull(BusUnavailable):
    """The server's memory limit is reached; it refuses writes until something is removed."""


def connect(url: str, socket_timeout_s: float) -> Any:
    """A redis-py client for one purpose; nothing is sent yet.

    Raises:
        BusRefused: the URL cannot be used. The text does not repeat it.
    """
    options: dict[str, Any] = {
        "socket_timeout": socket_timeout_s,
        "socket_connect_timeout": CONNECT_TIMEOUT_S,
        "socket_keepalive": True,
        "retry": Retry(NoBackoff(), 0),
        "protocol": 2,  # the shapes of replies differ in RESP3
        "decode_responses": False,
    }
    try:
        pool = redis.ConnectionPool.from_url(url, **options)
    except (ValueError, TypeError):
        raise BusRefused("bus.url: expected redis://[user:password@]host:port/db, rediss://… or unix://…") from None
    pool.connection_kwargs.update(options)  # what stands in the URL's query must not undo them
    return redis.Redis.from_pool(pool)


def address_of(client: Any) -> str:
    """Where a client connects to, fit for logs: host and port, or the socket's path."""
    options = client.connection_pool.connection_kwargs
    if "path" in options:
        return str(options["path"])
    return f"{options.get('host', 'localhost')}:{options.get('port', 6379)}"


@contextmanager
def bus_errors(address: str) -> Iterator[None]:
    """Turn redis-py's errors into the project's, in words that hold no URL and no password.

    Raises:
        BusRefused: wrong credentials or a refused command. BusUnavailable: everything that may pass.
    """
    try:
        yield
    except (AuthenticationError, AuthenticationWrongNumberOfArgsError, NoPermissionError):
        # AuthenticationError is a ConnectionError: caught later it would be retried for ever.
        raise BusRefused(f"Redis at {address} refuses the user or password; check bus.url") from None
    except ResponseError as error:
        raise _refusal(error, address) from None
    except (RedisError, OSError) as error:
        raise BusUnavailable(f"Redis at {address} does not answer ({type(error).__name__}); is it running?") from None


def _refusal(error: ResponseError, address: str) -> BusUnavailable:
    text = str(error)
    if text.startswith(("NOGROUP", "UNBLOCKED")):  # the second: the stream was deleted while we waited
        return StaleGroup(f"Redis at {address} lost a consumer group")
    if type(error).__name__ == "OutOfMemoryError" or "OOM" in text or "maxmemory" in text:
        return ServerFull(f"Redis at {address} is out of memory; raise maxmemory or lower bus.max_messages")
    word = text.split(" ", 1)[0]
    if word in _NOT_NOW or type(error).__name__ in ("ReadOnlyError", "MasterDownError", "TryAgainError"):
        return BusUnavailable(f"Redis at {address} cannot take the command now ({word})")
    return BusRefused(f"Redis at {address} refused a command ({text[:120]})")

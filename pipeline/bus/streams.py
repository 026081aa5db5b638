"""Names: the short ones that the program uses (`clips`) and the keys they have in Redis (`mcp:{lobby}:clips`).

The site stands in braces, Redis Cluster's hash tag, so that everything of a site lives on one node and may be part of
one transaction.
"""

import re

CLIPS = "clips"  # clip features, tracklets, ticks, camera states, orders to forget
IDENTITIES = "identities"
REFERENCES = "references"
HEALTH = "health"
DEAD_LETTERS = "dead"  # messages that nobody can read, with the reason
MATCHER_GROUP = "matcher"  # the single writer of a site reads `clips` under this name

_TRACKS = "tracks:"
_SAFE_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")  # the config's rule for site and camera ids
_FIXED = frozenset({CLIPS, IDENTITIES, REFERENCES, HEALTH, DEAD_LETTERS})

# Entries a stream keeps where that is less than `bus.max_messages`; messages, chosen here.
_SHORT = {HEALTH: 2_000, DEAD_LETTERS: 1_000}
_TRACKS_MESSAGES = 500  # 20 s of boxes at 25 frames a second: an overlay that is later than that is lost anyway


def is_safe_id(value: str) -> bool:
    """Whether this may be a site or camera id: it goes into keys, file names and URLs."""
    return _SAFE_ID.fullmatch(value) is not None


def tracks(camera_id: str) -> str:
    """Short name of the stream of one camera's boxes."""
    return _TRACKS + _checked(camera_id, "camera id")


def is_ephemeral(stream: str) -> bool:
    """Whether messages of this stream are worth nothing later: they are never spooled."""
    return stream == HEALTH or stream.startswith(_TRACKS)


def stream_limit(stream: str, max_messages: int) -> int:
    """How many entries the stream keeps, about, when `bus.max_messages` is this."""
    return min(max_messages, _TRACKS_MESSAGES if stream.startswith(_TRACKS) else _SHORT.get(stream, max_messages))


def stream_key(site: str, stream: str) -> str:
    """Redis key of a stream given by its short name.

    Raises:
        ValueError: no such stream, or an id that may not be part of a key.
    """
    if stream.startswith(_TRACKS):
        tracks(stream.removeprefix(_TRACKS))
    elif stream not in _FIXED:
        raise ValueError(f"stream: expected one of {', '.join(sorted(_FIXED))} or tracks:<camera>, got {stream!r}")
    return _prefix(site) + stream


def group_stream_key(site: str, stream: str) -> str:
    """`stream_key` of a stream that groups may read.

    Raises:
        ValueError: as `stream_key`; and for the dead letters, which no group could read without making new ones.
    """
    if stream == DEAD_LETTERS:
        raise ValueError("stream: dead letters are not messages; look at them with XRANGE")
    return stream_key(site, stream)


def preview_key(site: str, camera_id: str) -> str:
    """Key of a camera's last small JPEG, kept only while somebody watches."""
    return f"{_prefix(site)}preview:{_checked(camera_id, 'camera id')}"


def state_key(site: str, name: str) -> str:
    """Key of a part of the site's state, such as `matcher` (a hash) or `lease`."""
    return f"{_prefix(site)}state:{name}"


def sent_key(site: str, producer: str) -> str:
    """Key of the number of the last message that a spooling producer is known to have published."""
    return state_key(site, f"sent:{producer}")


def _prefix(site: str) -> str:
    return f"mcp:{{{_checked(site, 'site')}}}:"


def _checked(value: str, what: str) -> str:
    if not is_safe_id(value):
        raise ValueError(f"{what}: expected letters, digits, - and _ (at most 64), got {value!r}")
    return value

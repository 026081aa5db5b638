"""Credentials out of every text that a person or a log may see.

Every error text of the video libraries carries the whole URL, password included, so nothing foreign is shown before
it went through `redact`.
"""

import re

_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*://)(\S+)")
# Words in the names of query values that grant access. Some cameras write them into the path (user=a_password=b).
_SECRET_VALUE = re.compile(
    r"((?:pass|pwd|token|secret|auth|key|sig|sess|cred|user|usr|login|account)[A-Za-z0-9.\-]*=)[^&;/\s]*",
    re.IGNORECASE,
)
HIDDEN = "***"


def redact(text: str) -> str:
    """`text` without the credentials of any URL in it: user, password and token-like query values become ***.

    Everything up to the last @ of a URL goes, because a password may hold an unescaped / or @; a path with an @ loses
    its beginning, which is the safe side.
    """
    return _URL.sub(lambda url: url[1] + _without_secrets(url[2]), text)


def redact_url(url: str) -> str:
    """`redact` for a text that is one URL from end to end, in which even a blank belongs to the credentials."""
    scheme, separator, rest = url.partition("://")
    return scheme + separator + _without_secrets(rest) if separator else url


def _without_secrets(rest: str) -> str:
    credentials, at, host = rest.rpartition("@")
    shown = f"{HIDDEN}@{host}" if at else credentials + host
    return _SECRET_VALUE.sub(rf"\1{HIDDEN}", shown)

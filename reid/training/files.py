"""Files that are whole or absent, and stay so when the process is killed or the power goes."""

import os
from contextlib import suppress
from pathlib import Path

from pipeline.errors import OutputError


def write_whole(path: Path, content: bytes) -> None:
    """Write beside the place, on the disk, then under the name: a reader finds the old content or the new.

    Raises:
        OutputError: it cannot be written; what was there before is still there.
    """
    part = path.with_name(f".{path.name}.part")  # one name: what a killed run left is written over by the next
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with part.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    except OSError as error:
        with suppress(OSError):
            part.unlink(missing_ok=True)
        raise OutputError(f"{path}: cannot be written ({error.strerror or error}); free space") from None

"""How long a matcher takes to carry on from a stored state, and what memory it then needs, in a process of its own."""

import gc
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import psutil

from pipeline.config import MatcherConfig, TopologyConfig
from pipeline.identity.matcher import Matcher


@dataclass(frozen=True, slots=True)
class Restart:
    """identities and fields in the state, seconds of wall clock to read it and to restore it, and bytes it took up."""

    fields: int
    state_bytes: int
    read_s: float
    restore_s: float
    memory_bytes: int


class StateFile(Mapping[str, bytes]):
    """A stored state that lies in a file, so that the memory of who reads it is his own.

    One field after the other: length of the name and of the value as four bytes each, little-endian; name; value.
    """

    def __init__(self, path: Path) -> None:
        self._file = path.open("rb")
        self._places: dict[str, tuple[int, int]] = {}
        while head := self._file.read(8):
            name = self._file.read(int.from_bytes(head[:4], "little")).decode()
            size = int.from_bytes(head[4:], "little")
            self._places[name] = self._file.tell(), size
            self._file.seek(size, 1)

    def __getitem__(self, name: str) -> bytes:
        start, size = self._places[name]
        self._file.seek(start)
        return self._file.read(size)

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def __len__(self) -> int:
        return len(self._places)

    def close(self) -> None:
        self._file.close()


def write_state(path: Path, state: Mapping[str, bytes]) -> int:
    """Bytes of names and values written."""
    total = 0
    with path.open("wb") as file:
        for name, value in state.items():
            raw = name.encode()
            file.write(len(raw).to_bytes(4, "little") + len(value).to_bytes(4, "little") + raw + value)
            total += len(raw) + len(value)
    return total


def restart(
    path: Path, config: MatcherConfig, threshold: float, cameras: tuple[str, ...], topology: tuple[TopologyConfig, ...]
) -> Restart:
    """Restore the state in the file; to be called in a fresh process, or memory means little.

    Reading is timed apart: live it is one HGETALL. The values are read again one by one as the matcher asks for them,
    from the system's file cache, so `restore_s` is a little more than the matcher's own time.
    """
    began_s = time.perf_counter()
    state = StateFile(path)
    size = sum(len(name) + len(state[name]) for name in state)
    read_s = time.perf_counter() - began_s
    process = psutil.Process()
    gc.collect()
    before = process.memory_info().rss
    began_s = time.perf_counter()
    matcher = Matcher(config, threshold, cameras, live_cameras=cameras, topology=topology, state=state)
    restore_s = time.perf_counter() - began_s
    gc.collect()
    memory = process.memory_info().rss - before
    matcher.advance()  # the restored matcher is in use up to here
    fields = len(state)
    state.close()
    return Restart(fields, size, read_s, restore_s, memory)

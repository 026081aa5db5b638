"""Pictures of one camera in shared memory: written once by its worker, read in place by the inference process.

A segment is a file in /dev/shm that both sides map. `multiprocessing.shared_memory` is not used: before Python 3.13
its resource tracker unlinks a segment as soon as any process that attached to it exits. Here only the creator
unlinks, and a lock on the file says whether the creator still lives, so that leftovers of a killed worker can be
told from segments in use (`sweep`) whatever their names are.

Layout of a segment: header, one generation counter (uint64) per slot, then the slots, each from a page boundary.
A counter is odd while its slot is being written and rises by two with every picture.
"""

import fcntl
import logging
import mmap
import os
import re
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.errors import OutputError, PipelineError
from pipeline.types import ImageArray

FRAMES_FOLDER = Path("/dev/shm")  # where Linux keeps POSIX shared memory
NAME_PREFIX = "mcp_"
SLOTS = 4  # one in detection, one in encoding, one being written, one to spare
_HEADER = struct.Struct("<8sQQ")  # magic, slots, bytes per slot
_MAGIC = b"MCPRING1"
_COUNTERS_AT = 64  # bytes; one cache line for the header
_PAGE = 4096  # bytes
_MAX_SLOTS = (_PAGE - _COUNTERS_AT) // 8  # the counters share the first page with the header
_MAX_SIDE_PX = 1 << 16
_NAME = re.compile(r"mcp_[A-Za-z0-9_-]{1,200}")

_log = logging.getLogger(__name__)


class StaleFrame(PipelineError):
    """The picture was overwritten, or its segment is gone: the reader came too late."""


@dataclass(frozen=True, slots=True)
class SlotRef:
    """Names one picture in shared memory; `generation` tells it from later pictures in the same slot."""

    segment: str
    slot: int
    generation: int
    height_px: int
    width_px: int

    def to_json(self) -> list[str | int]:
        return [self.segment, self.slot, self.generation, self.height_px, self.width_px]

    @staticmethod
    def from_json(value: Any) -> "SlotRef":
        """The inverse of `to_json`.

        Raises:
            ValueError: not a reference.
        """
        if not isinstance(value, list) or len(value) != 5 or not isinstance(value[0], str):
            raise ValueError(f"slot reference: expected [segment, slot, generation, height, width], got {value!r:.80}")
        if not _NAME.fullmatch(value[0]) or not all(type(v) is int and v >= 0 for v in value[1:]):
            raise ValueError(f"slot reference: expected a segment name and four whole numbers, got {value!r:.80}")
        return SlotRef(*value)


def run_prefix(run_id: str, camera_id: str | None = None) -> str:
    """How the segments of one run, or of one camera in it, begin."""
    return f"{NAME_PREFIX}{run_id}_" + (f"{camera_id}_" if camera_id is not None else "")


class FrameRing:
    """The writing side: a few slots for the newest pictures of one camera. For one thread.

    The segment is made with the first picture, and made anew (under the next number) when a larger one comes.
    `close` removes it.
    """

    def __init__(self, run_id: str, camera_id: str, *, slots: int = SLOTS, folder: Path = FRAMES_FOLDER) -> None:
        prefix = run_prefix(run_id, camera_id)
        if not _NAME.fullmatch(prefix) or not 1 <= slots <= _MAX_SLOTS:
            raise ValueError(f"frame ring: expected letters, digits, - and _ in {prefix!r}, 1 to {_MAX_SLOTS} slots")
        self.camera_id = camera_id
        self.slots = slots
        self._prefix = prefix
        self._folder = folder
        self._made = 0
        self._next = 0
        self._segment: _Segment | None = None
        sweep(prefix, folder)

    def put(self, image: ImageArray) -> SlotRef:
        """Copy a picture, (H, W, 3) uint8, into the next slot; the oldest picture there is overwritten.

        Raises:
            OutputError: shared memory is too small or cannot be written; says what to do.
        """
        if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or image.size == 0:
            raise ValueError(f"frame ring: expected (H, W, 3) uint8, got {image.shape} {image.dtype}")
        segment = self._reserve(image.nbytes)
        slot, self._next = self._next, (self._next + 1) % self.slots
        segment.generations[slot] += 1  # odd: being written
        np.copyto(segment.picture(slot, image.shape[0], image.shape[1]), image)
        segment.generations[slot] += 1
        return SlotRef(segment.name, slot, int(segment.generations[slot]), image.shape[0], image.shape[1])

    def reserve(self, image_bytes: int) -> None:
        """Make the slots large enough, so that the next pictures up to this size lie in one segment.

        Raises:
            OutputError: as `put`.
        """
        self._reserve(image_bytes)

    def is_current(self, ref: SlotRef) -> bool:
        """Whether the picture has not been overwritten yet."""
        return self._segment is not None and self._segment.is_current(ref)

    def close(self) -> None:
        """Remove the segment; readers that have it mapped keep their view of it."""
        if self._segment is not None:
            (self._folder / self._segment.name).unlink(missing_ok=True)
            self._segment = None

    def __enter__(self) -> "FrameRing":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def _reserve(self, image_bytes: int) -> "_Segment":
        if self._segment is None or image_bytes > self._segment.slot_bytes:
            self.close()
            self._segment = self._make(image_bytes)
        return self._segment

    def _make(self, image_bytes: int) -> "_Segment":
        name = f"{self._prefix}{self._made}"
        self._made += 1
        self._next = 0
        slot_bytes = -(-image_bytes // _PAGE) * _PAGE
        size = _PAGE + self.slots * slot_bytes
        _check_room(self._folder, size, self.camera_id)
        fd = _create_locked(self._folder / name, size, self.camera_id)
        try:
            mapped = mmap.mmap(fd, size)  # keeps a duplicate of the descriptor, and with it the lock
        except (OSError, ValueError) as error:
            (self._folder / name).unlink(missing_ok=True)
            raise OutputError(f"cannot map {size >> 20} MB of shared memory for {self.camera_id}: {error}") from None
        finally:
            os.close(fd)
        _HEADER.pack_into(mapped, 0, _MAGIC, self.slots, slot_bytes)
        return _Segment(name, mapped)


class FrameReader:
    """The reading side: maps the segments that references name. One per connection, so that both end together."""

    def __init__(self, *, folder: Path = FRAMES_FOLDER) -> None:
        self._folder = folder
        self._segment: _Segment | None = None

    def view(self, ref: SlotRef) -> ImageArray:
        """The picture, (H, W, 3) uint8, read-only and not copied: check `is_current` after using it.

        Raises:
            StaleFrame: it was overwritten, or the segment is gone. ValueError: the reference does not fit the segment.
        """
        if self._segment is None or self._segment.name != ref.segment:
            self._segment = _open_segment(self._folder, ref.segment)
        if not self._segment.is_current(ref):
            raise StaleFrame(f"picture {ref.segment}/{ref.slot} was overwritten before it was read")
        return self._segment.picture(ref.slot, ref.height_px, ref.width_px)

    def is_current(self, ref: SlotRef) -> bool:
        """Whether the picture that `view` gave for this reference is still that picture."""
        return self._segment is not None and self._segment.is_current(ref)

    def close(self) -> None:
        """Let go of the mapping; views that are still held keep it alive."""
        self._segment = None


def sweep(prefix: str = NAME_PREFIX, folder: Path = FRAMES_FOLDER) -> list[str]:
    """Remove segments whose creator is dead, and return their names; segments in use and foreign files stay."""
    if not prefix.startswith(NAME_PREFIX):
        raise ValueError(f"sweep: expected a prefix that begins with {NAME_PREFIX!r}, got {prefix!r}")
    removed = []
    for path in sorted(folder.glob(f"{prefix}*")):
        if _NAME.fullmatch(path.name) and _remove_if_dead(path):
            removed.append(path.name)
    if removed:
        _log.info("removed %d leftover shared-memory segments: %s", len(removed), ", ".join(removed))
    return removed


class _Segment:
    """One mapped file. Never closed by hand: the mapping goes when the last view of it goes."""

    def __init__(self, name: str, mapped: mmap.mmap) -> None:
        magic, slots, slot_bytes = _HEADER.unpack_from(mapped, 0)
        if magic != _MAGIC or not 1 <= slots <= _MAX_SLOTS or _PAGE + slots * slot_bytes > len(mapped):
            raise ValueError(f"shared memory {name}: not a frame ring of this version")
        self.name = name
        self.slots = slots
        self.slot_bytes = slot_bytes
        self.generations: npt.NDArray[np.uint64] = np.ndarray((slots,), np.uint64, mapped, _COUNTERS_AT)
        self._mapped = mapped

    def picture(self, slot: int, height_px: int, width_px: int) -> ImageArray:
        return np.ndarray((height_px, width_px, 3), np.uint8, self._mapped, _PAGE + slot * self.slot_bytes)

    def is_current(self, ref: SlotRef) -> bool:
        """Whether the slot still holds the picture of this reference.

        Raises:
            ValueError: the reference points outside the segment.
        """
        if ref.slot >= self.slots or not self._fits(ref):
            raise ValueError(f"slot reference does not fit the segment: {ref}")
        return ref.segment == self.name and int(self.generations[ref.slot]) == ref.generation

    def _fits(self, ref: SlotRef) -> bool:
        sides = 0 < ref.height_px < _MAX_SIDE_PX and 0 < ref.width_px < _MAX_SIDE_PX
        return sides and ref.height_px * ref.width_px * 3 <= self.slot_bytes


def _open_segment(folder: Path, name: str) -> _Segment:
    if not _NAME.fullmatch(name):  # it comes from another process: never a path
        raise ValueError(f"not the name of a segment: {name!r:.80}")
    try:
        fd = os.open(folder / name, os.O_RDONLY | os.O_NOFOLLOW)
    except OSError as error:
        raise StaleFrame(f"shared memory {name} is gone: {error.strerror}") from None
    try:
        size = os.fstat(fd).st_size
        if size < _PAGE:
            raise StaleFrame(f"shared memory {name} is not filled yet")
        return _Segment(name, mmap.mmap(fd, size, prot=mmap.PROT_READ))
    finally:
        os.close(fd)


def _check_room(folder: Path, size: int, camera_id: str) -> None:
    """Refuse before anything is written: a full /dev/shm is a bus error that nobody can catch."""
    try:
        room = os.statvfs(folder)
    except OSError as error:
        raise OutputError(f"no shared memory for camera {camera_id}: {folder}: {error.strerror}") from None
    free = room.f_bavail * room.f_frsize
    if size > free:
        raise OutputError(_too_small(folder, size, free, camera_id))


def _too_small(folder: Path, size: int, free: int, camera_id: str) -> str:
    return (
        f"{folder} has {free / 2**20:.0f} MB free and camera {camera_id} needs {size / 2**20:.0f} MB for its frames; "
        f"enlarge it (docker run --shm-size=1g, or mount -o remount,size=1G {folder}) or use a smaller stream"
    )


def _create_locked(path: Path, size: int, camera_id: str) -> int:
    """A new file of `size` bytes whose pages are reserved, and whose shared lock we hold as a sign of life."""
    while True:
        try:
            fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        except FileExistsError:
            raise OutputError(f"{path} exists: another process serves camera {camera_id} in this run") from None
        except OSError as error:
            raise OutputError(f"cannot write shared memory for {camera_id}: {path}: {error.strerror}") from None
        fcntl.flock(fd, fcntl.LOCK_SH)
        if _is_same_file(fd, path):
            break
        os.close(fd)  # a sweep took it between open and lock
    try:
        os.posix_fallocate(fd, 0, size)
    except OSError:
        path.unlink(missing_ok=True)
        os.close(fd)
        raise OutputError(_too_small(path.parent, size, 0, camera_id)) from None
    return fd


def _is_same_file(fd: int, path: Path) -> bool:
    try:
        return os.fstat(fd).st_ino == path.stat().st_ino
    except FileNotFoundError:
        return False


def _remove_if_dead(path: Path) -> bool:
    with _opened(path) as fd:
        if fd is None:
            return False
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False  # its creator lives
        if not _is_same_file(fd, path):
            return False
        path.unlink(missing_ok=True)
        return True


@contextmanager
def _opened(path: Path) -> Iterator[int | None]:
    """A descriptor of the file, or None when it is gone or somebody else's."""
    try:
        fd = os.open(path, os.O_RDWR | os.O_NOFOLLOW)
    except OSError:
        yield None
        return
    try:
        yield fd
    finally:
        os.close(fd)

"""Video files: every picture, at its presentation time."""

import logging
from collections.abc import Iterator, Mapping
from pathlib import Path

from pipeline.capture.decoding import Decoded, DecodedPicture, Video, open_file
from pipeline.capture.stamps import PresentationClock
from pipeline.errors import SourceLost
from pipeline.types import Frame

log = logging.getLogger(__name__)

FALLBACK_FPS = 25.0  # 1/s, for a stream that states no rate at all: the usual rate of surveillance footage

SHORTFALL_S = 1.0  # a file that ends this much before its stated duration was cut off; less is rounding


class VideoFileSource:
    """A video file as a source; lossless, in order of presentation, `frames` may be iterated again.

    The epoch is "1" and counts up when the pictures change their size. A file that breaks in the middle delivers what
    it has and then ends with a warning, `damaged_at` says where; only a file without any picture raises.

    Args:
        start_time_s: Unix seconds of the first frame. clock_offset_s: added to every time.
    """

    def __init__(
        self, camera_id: str, path: str | Path, *, start_time_s: float = 0.0, clock_offset_s: float = 0.0
    ) -> None:
        self._camera_id = camera_id
        self._path = Path(path)
        self._start_s = start_time_s + clock_offset_s
        self._closed = False
        self._damaged_at: int | None = None
        self._counts = dict.fromkeys(("delivered", "corrupt", "damaged", "repaired_stamps"), 0)

    @property
    def damaged_at(self) -> int | None:
        """`Frame.index` of the first picture that is damaged or missing; None for a file without fault so far."""
        return self._damaged_at

    @property
    def counters(self) -> Mapping[str, int]:
        """Delivered and damaged frames, corrupt packets, and frames whose time stamp had to be replaced."""
        return dict(self._counts)

    def close(self) -> None:
        """End `frames` before the next picture."""
        self._closed = True

    def frames(self) -> Iterator[Frame]:
        """Yield every picture of the file.

        Raises:
            SourceUnavailable: missing, empty, not a video, a playlist, without video stream.
            SourceLost: it opens, but not one picture can be decoded.
        """
        video = open_file(self._path)
        try:
            yield from self._decoded(video)
        finally:
            video.close()

    def _decoded(self, video: Video) -> Iterator[Frame]:
        clock = PresentationClock(self._start_s, video.fps or FALLBACK_FPS)
        epoch, size_px, index, damaged = 0, (0, 0), 0, False
        for decoded in self._readable(video):
            if decoded.failed:
                self._note_damage(index)
                index, damaged = index + 1, True
            for picture in decoded.pictures:
                damaged = self._is_damaged(picture, decoded, damaged)
                if damaged:
                    self._note_damage(index, packet=False)
                if (picture.width_px, picture.height_px) != size_px:
                    epoch, size_px = epoch + 1, (picture.width_px, picture.height_px)
                if self._closed:
                    return
                yield self._frame(picture, str(epoch), index, clock, damaged)
                index += 1
        if self._counts["delivered"] == 0 and not self._closed:
            raise SourceLost(f"{self._path}: not one picture can be decoded; the file is damaged")

    def _frame(self, picture: DecodedPicture, epoch: str, index: int, clock: PresentationClock, damaged: bool) -> Frame:
        captured_at_s = clock.time_of(picture.stamp_s)
        if clock.repaired and not self._counts["repaired_stamps"]:
            log.warning("%s: time stamps are missing or do not rise; the average rate takes their place", self._path)
        self._counts["repaired_stamps"] = clock.repaired
        self._counts["delivered"] += 1
        return Frame(self._camera_id, epoch, index, captured_at_s, picture.to_bgr(), damaged)

    @staticmethod
    def _is_damaged(picture: DecodedPicture, decoded: Decoded, damaged: bool) -> bool:
        """Damage lasts until the next whole key frame."""
        fault = picture.is_corrupt or decoded.flagged
        return fault or (damaged and not picture.is_key)

    def _readable(self, video: Video) -> Iterator[Decoded]:
        """What every packet gives, up to the end or the place where the file breaks."""
        packets, last_s = 0, None
        try:
            for packet in video.packets():
                packets += packet.size > 0
                decoded = video.decode(packet)
                yield decoded
                last_s = decoded.pictures[-1].stamp_s if decoded.pictures else last_s
        except SourceLost as error:
            self._broke(error.args[0])
            return
        if video.frame_count is not None and packets < video.frame_count:
            self._broke(f"{self._path}: ends after {packets} of {video.frame_count} pictures")
        elif video.is_alone and last_s is not None and last_s + SHORTFALL_S < (video.duration_s or 0.0):
            self._broke(f"{self._path}: ends after {last_s:.1f} of {video.duration_s:.1f} s")

    def _broke(self, reason: str) -> None:
        self._note_damage(self._counts["delivered"])
        log.warning("%s; the file is cut off or damaged, the run goes on with what it holds", reason)

    def _note_damage(self, index: int, packet: bool = True) -> None:
        if self._damaged_at is None:
            self._damaged_at = index
        self._counts["corrupt" if packet else "damaged"] += 1

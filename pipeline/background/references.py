"""Reference frames: a frame plus a label map of everybody in it, taken whenever somebody (re)appears."""

import json
import logging
from collections import Counter, OrderedDict
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from pipeline.background.files import (
    append_line,
    checked_camera,
    encode_png,
    remove,
    remove_torn,
    time_name,
    write_bytes,
)
from pipeline.background.kept_frames import KeptFrame, kept_of_track, read_kept
from pipeline.background.reference_book import ReferenceBook, TrackIdentities
from pipeline.boxes import box_area, clip_boxes, covered_share, touches_edge
from pipeline.config import BackgroundConfig
from pipeline.errors import DecodeError, OutputError
from pipeline.ports import Segmenter
from pipeline.types import EventKind, IdentityEvent, ReferenceFrame, ReferenceSubject, TrackKey

logger = logging.getLogger(__name__)

TAKEN_FOR: tuple[EventKind, ...] = ("entered", "handed_over", "reentered", "continued")
MAX_PEOPLE = 255  # values of a uint8 label map, 0 being the background
WINDOW_S = 0.7  # message time after somebody became visible: by then a walker (1 m/s) has come in whole; till then a
# picture that is poor, or shows the person cut off or covered, waits for a better one of the same track
WAIT_S = 3.0  # message time after the event: how long a picture is looked for, and a better one than a poor one
MOST_COVERED = 0.3  # share of a box that another one covers: masks of people who are covered more are worse by far
LOST_SHARE = (
    0.08  # of the box inside the picture: a mask below it has lost the person (standing people fill 0.3 to 0.7)
)
EDGE_SHARE = 0.005  # of the longer side: detectors stop a box about three of their pixels (of 640) short of the edge
_CACHED_MASKS = 4  # label maps kept, so that several people entering in one frame are segmented once
_HANDLED = 4096  # event numbers remembered against a second delivery


@dataclass(slots=True)
class _Wanted:
    """An appearance whose reference is still owed, or (`taken`) is a poor one that a good one is to follow.

    Attributes:
        settle_s: from here on a poor picture will do. until_s: then it is over.
        reason: why it could not be taken yet.
    """

    event: IdentityEvent
    key: TrackKey
    settle_s: float
    until_s: float
    reason: str
    taken: bool = False


def reference_json(reference: ReferenceFrame) -> str:
    """One line of `references.jsonl`: the fields of `ReferenceFrame`, subjects as objects."""
    return json.dumps(asdict(reference), separators=(",", ":"))


class ReferenceKeeper:
    """Turns kept frames into reference frames when identity events ask for them. Runs on the host that owns the frames.

    Args:
        out_dir: the output folder of the workers whose frames it uses; references go there, too.
        host: frames of other hosts are left to these.
        serialise: one reference as one line of JSON without a line break.
        segmenter_name: written into every reference.
    """

    def __init__(
        self,
        out_dir: Path,
        segmenter: Segmenter,
        host: str,
        config: BackgroundConfig,
        *,
        serialise: Callable[[ReferenceFrame], str] = reference_json,
        segmenter_name: str = "grabcut",
    ) -> None:
        self.out_dir = Path(out_dir)
        self.host = host
        remove_torn(self.out_dir / "references")
        self.book = ReferenceBook()
        self.identities = TrackIdentities(self.book)
        self.counters: Counter[str] = Counter()
        self._segmenter = segmenter
        self._config = config
        self._serialise = serialise
        self._name = segmenter_name
        self._wanted: dict[TrackKey, _Wanted] = {}
        self._labels: OrderedDict[str, npt.NDArray[np.uint8]] = OrderedDict()
        self._handled: OrderedDict[int, None] = OrderedDict()

    def handle(self, event: IdentityEvent) -> ReferenceFrame | None:
        """Follow one event; the reference it led to, for announcement, or None.

        None means: another kind of event, another host's frame, a second delivery, or a reference that is still owed
        because the frame was gone, damaged, poor or gave no mask. What is owed is taken by `retry`, and counted.

        Raises:
            OutputError: the disk says no; the event may be handled again.
        """
        if event.sequence in self._handled:
            self.counters["repeated"] += 1
            return None
        self.identities.take(event)
        reference = None
        if event.kind == "forgotten":
            self._forget(event.identity_id)
        if event.kind in TAKEN_FOR and event.key is not None:
            self.book.stale(event.key.camera_id, event.identity_id)
            if event.previous_key is not None:
                self._wanted.pop(event.previous_key, None)
            reference = self._appearance(event, event.key)
        self._handled[event.sequence] = None
        if len(self._handled) > _HANDLED:
            self._handled.popitem(last=False)
        return reference

    def retry(self, now_s: float) -> list[ReferenceFrame]:
        """Take what is owed, as far as it can be taken now; call it some times a second.

        Args:
            now_s: message time. `WINDOW_S` after the person became visible the best frame there is will do, however
                poor; a good one that is there `WAIT_S` after the event at the latest follows it. Without any frame the
                appearance is given up then (counted and logged).
        """
        references = []
        for key, wanted in list(self._wanted.items()):
            late = now_s >= wanted.until_s
            reference = self._take(wanted, poor_too=not wanted.taken and (late or now_s >= wanted.settle_s))
            if reference is not None:
                references.append(reference)
                self.counters["bettered"] += wanted.taken
            self._note(key, wanted, reference)
            if late and key in self._wanted:
                del self._wanted[key]
                if not wanted.taken:
                    self._give_up(wanted)
        return references

    def _note(self, key: TrackKey, wanted: _Wanted, reference: ReferenceFrame | None) -> None:
        """Keep in mind what is still wanted after a try."""
        if reference is None:
            self._wanted.setdefault(key, wanted)
        elif wanted.reason:
            wanted.taken = True
            self._wanted[key] = wanted
        else:
            self._wanted.pop(key, None)

    def track_ended(self, key: TrackKey) -> None:
        """The tracker gave a track up: the reference of whoever it was is stale from now on."""
        self.book.track_ended(key)

    @property
    def owed(self) -> int:
        """How many appearances still wait for a usable frame."""
        return sum(not wanted.taken for wanted in self._wanted.values())

    def _forget(self, identity_id: int) -> None:
        gone = self.book.canonical(identity_id)
        self._wanted = {k: w for k, w in self._wanted.items() if self.book.canonical(w.event.identity_id) != gone}
        self._labels.clear()

    def _appearance(self, event: IdentityEvent, key: TrackKey) -> ReferenceFrame | None:
        if event.frame is None:
            self.counters["without_pointer"] += 1
        elif event.frame.host != self.host:
            self.counters["other_host"] += 1
            return None
        settle_s, until_s = event.at_s + WINDOW_S, event.decided_at_s + WAIT_S
        wanted = _Wanted(event, key, settle_s, until_s, "no picture of the track was kept")
        reference = self._take(wanted, poor_too=event.decided_at_s >= settle_s)
        self.counters["postponed"] += reference is None
        self._wanted.pop(key, None)
        self._note(key, wanted, reference)
        return reference

    def _take(self, wanted: _Wanted, poor_too: bool) -> ReferenceFrame | None:
        """The reference of one appearance, from the event's frame or a better one of the same track.

        `wanted.reason` says afterwards what is not well with it, or why there is none; "": nothing.
        """
        for file in self._candidates(wanted, best_first=poor_too):
            kept = self._read(file, wanted)
            row = kept.row(wanted.key.epoch, wanted.key.track_id) if kept else None
            if kept is None or row is None or kept.frame.camera_id != wanted.key.camera_id:
                continue
            flaw = self._flaw(kept, row)
            if flaw and not poor_too:
                wanted.reason = flaw
                continue
            labels = self._label_map(kept, file)
            reference = self._reference(wanted, kept, labels)
            if _value_of(row, labels, kept) == 0:
                self.counters["mask_lost"] += 1
                wanted.reason = "no mask came out of its pictures"
                continue
            self._save(reference, kept, labels)
            wanted.reason = flaw
            return reference
        return None

    def _flaw(self, kept: KeptFrame, row: int) -> str:
        """Why a picture of somebody is not a good one; "": it is."""
        height_px, width_px = kept.frame.image.shape[:2]
        if kept.qualities[row] < self._config.min_quality:
            return "only poor pictures of the track were kept"
        margin_px = max(2.0, EDGE_SHARE * max(width_px, height_px))
        if touches_edge(kept.tracks.xyxy[row : row + 1], width_px, height_px, margin_px)[0]:
            return "only pictures that the edge cuts off were kept"
        covered = covered_share(kept.tracks.xyxy)[row] > MOST_COVERED
        return "only pictures behind or before somebody were kept" if covered else ""

    def _candidates(self, wanted: _Wanted, best_first: bool) -> list[str]:
        """Files to try: all kept frames of the track, best first; the event's own goes before or after them."""
        own = [wanted.event.frame.file] if wanted.event.frame else []
        try:
            others = kept_of_track(self.out_dir, wanted.key.camera_id, wanted.key.epoch, wanted.key.track_id)
        except ValueError:
            self.counters["bad_name"] += 1
            return []
        files = [file for _, file in others]
        return list(dict.fromkeys(files + own if best_first else own + files))

    def _read(self, file: str, wanted: _Wanted) -> KeptFrame | None:
        try:
            return read_kept(self.out_dir, file)
        except FileNotFoundError:
            self.counters["frame_gone"] += 1
            wanted.reason = "the kept frame is gone"
        except (DecodeError, OSError):
            self.counters["frame_damaged"] += 1
            wanted.reason = "the kept frame is damaged"
        except ValueError:
            self.counters["bad_name"] += 1
            wanted.reason = "the pointer names no file of this folder"
        return None

    def _label_map(self, kept: KeptFrame, file: str) -> npt.NDArray[np.uint8]:
        """(H, W) uint8: row of the person in the kept frame plus 1, or 0."""
        if file not in self._labels:
            masks = self._segmenter.segment(kept.frame, kept.tracks.xyxy[:MAX_PEOPLE])
            self.counters["people_left_out"] += max(0, len(kept.tracks) - MAX_PEOPLE)
            self._labels[file] = _labels(masks, kept)
            if len(self._labels) > _CACHED_MASKS:
                self._labels.popitem(last=False)
        self._labels.move_to_end(file)
        return self._labels[file]

    def _reference(self, wanted: _Wanted, kept: KeptFrame, labels: npt.NDArray[np.uint8]) -> ReferenceFrame:
        frame = kept.frame
        stem = f"references/{checked_camera(frame.camera_id)}_{time_name(frame.captured_at_s)}"
        subjects = []
        for row, track_id in enumerate(kept.tracks.ids[:MAX_PEOPLE]):
            value = _value_of(row, labels, kept)
            identity_id = self.identities.of(TrackKey(frame.camera_id, frame.epoch, int(track_id)))
            x1, y1, x2, y2 = (float(v) for v in kept.tracks.xyxy[row])
            quality = kept.qualities[row] if value else 0.0
            subjects.append(ReferenceSubject(identity_id, row + 1, (x1, y1, x2, y2), quality))
        return ReferenceFrame(
            camera_id=frame.camera_id,
            captured_at_s=frame.captured_at_s,
            image=f"{stem}.png",
            mask=f"{stem}_mask.png",
            reason=wanted.event.kind,
            identity_id=self.book.canonical(wanted.event.identity_id),
            segmenter=self._name,
            subjects=tuple(subjects),
        )

    def _save(self, reference: ReferenceFrame, kept: KeptFrame, labels: npt.NDArray[np.uint8]) -> None:
        image, mask = self.out_dir / reference.image, self.out_dir / reference.mask
        new = not image.exists()
        try:
            write_bytes(mask, encode_png(labels))
            write_bytes(image, encode_png(kept.frame.image))
            append_line(self.out_dir / "references" / "references.jsonl", self._serialise(reference))
        except OutputError:
            if new:
                remove(image)
                remove(mask)
            raise
        self.counters["taken"] += 1
        for subject, track_id in zip(reference.subjects, kept.tracks.ids, strict=False):
            key = TrackKey(reference.camera_id, kept.frame.epoch, int(track_id))
            if subject.identity_id and subject.quality > 0:
                self.book.renew(key, subject.identity_id, reference.captured_at_s)

    def _give_up(self, wanted: _Wanted) -> None:
        self.counters["given_up"] += 1
        logger.warning(
            "no reference frame for identity %d (%s) in camera %s: %s",
            wanted.event.identity_id,
            wanted.event.kind,
            wanted.key.camera_id,
            wanted.reason,
        )


def _labels(masks: npt.NDArray[np.bool_], kept: KeptFrame) -> npt.NDArray[np.uint8]:
    """Masks (N, H, W) as one label map; in overlaps the better picture wins, a lost mask gives none."""
    height_px, width_px = kept.frame.image.shape[:2]
    labels = np.zeros((height_px, width_px), np.uint8)
    area = box_area(clip_boxes(kept.tracks.xyxy, width_px, height_px))
    for row in sorted(range(len(masks)), key=lambda i: kept.qualities[i]):
        if np.count_nonzero(masks[row]) >= max(1.0, LOST_SHARE * float(area[row])):
            labels[masks[row]] = row + 1
    return labels


def _value_of(row: int, labels: npt.NDArray[np.uint8], kept: KeptFrame) -> int:
    """The value of a person in the label map; 0 when the mask was lost."""
    return row + 1 if row < MAX_PEOPLE and bool((labels == row + 1).any()) else 0

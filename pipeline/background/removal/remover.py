"""Cuts people out of one camera's frames as they come: masks carried between references, in message time only.

Each frame, each person's pixels are weighed anew: how far they differ from the clean plate in this light (or in its
shadow), how well they fit the colours the person has at that height, where people are in their boxes, and where the
mask of the frame before has moved to, along the box and the optical flow. A guided filter makes one outline of it.
References renew what is known of a person: a mask by the segmenter, at the moment of an appearance.
"""

from collections import Counter
from collections.abc import Container, Sequence

import numpy as np

from pipeline.background.background_model import BackgroundModel, Plate
from pipeline.background.removal.carrying import Carrier
from pipeline.background.removal.cutting import Boxes, cut_people, learn_people, sight_of
from pipeline.background.removal.person import Person, Sight
from pipeline.background.removal.renewal import ByAppearance, Renewal
from pipeline.background.removal.tracks import CutFrame, Reference, Seen
from pipeline.background.removal.view import view_of
from pipeline.boxes import box_iou
from pipeline.types import FloatArray, Frame

PLATE_EVERY_S = 0.5  # between two lessons of the plate: light changes over seconds
COAST_S = 0.5  # a mask goes on without a box for this long: detectors miss people, most of all behind others
_LOST_S = 1.0  # a track without a box for this long has ended, and its mask is stale
_LEARN_EVERY_S = 0.3
_SAME_BOX = 0.6  # IoU of a subject's box in a reference with the track's at that time


class BackgroundRemover:
    """One camera's masks. Any number may live in one process.

    Args:
        renewal: when masks begin.
        plate: an earlier model of the camera's background; it is brought up to date with every frame.
    """

    def __init__(
        self,
        *,
        renewal: Renewal | None = None,
        plate: BackgroundModel | None = None,
    ) -> None:
        self.counters: Counter[str] = Counter()
        self._renewal = renewal or ByAppearance()
        self._model = plate or BackgroundModel()
        self._plate_s = -np.inf
        self._plate: Plate | None = None
        self._carrier = Carrier()
        self._people: dict[int, Person] = {}
        self._epoch: str | None = None

    @property
    def model(self) -> BackgroundModel:
        """The camera's background."""
        return self._model

    def add(self, frame: Frame, seen: Sequence[Seen]) -> CutFrame:
        """Cut out everybody who has, or now gets, a mask; frames of a camera in order of time."""
        if self._epoch not in (None, frame.epoch):
            self._people.clear()  # track ids begin anew
        self._epoch = frame.epoch
        self._end_lost(frame.captured_at_s)
        here = {one.track_id: np.asarray(one.xyxy, np.float32) for one in seen}
        boxes = here | self._unseen(frame.captured_at_s, here)
        every = np.array(list(boxes.values()), np.float32).reshape(-1, 4)
        self._learn_plate(frame, every)
        sight = sight_of(frame.image, self._plate, every)
        begun = self._begin(frame, seen)
        cutouts = cut_people(sight, boxes, self._people, self._carrier)
        if begun:  # once more, knowing what they look like
            learn_people(sight, boxes, {i: self._people[i] for i in begun})
            cutouts = cut_people(sight, boxes, self._people, self._carrier)
        self._see(frame, sight, here, boxes)
        return CutFrame(frame, cutouts, tuple(i for i in here if i not in cutouts), sight.lit)

    def end(self, track_id: int) -> None:
        """The track is over: its mask is stale from now on."""
        self._people.pop(track_id, None)

    def renew(self, reference: Reference, boxes: dict[int, FloatArray], at_s: float) -> list[int]:
        """Take in a reference frame; the track ids of those whose masks begin, or go on, with it.

        Args:
            boxes: track id → the box (4,) xyxy px that it had when the reference was captured.
            at_s: message time now.
        """
        renewed = []
        height_px, width_px = reference.labels.shape
        for value, box, _ in reference.people:
            track_id = _whose(box, boxes)
            view = view_of(np.array(box, np.float32), width_px, height_px)
            if track_id is None or view is None:
                continue
            person = self._people.setdefault(track_id, Person())
            if person.box is None:
                person.see(at_s, boxes[track_id])
            mask = view.take((reference.labels == value).astype(np.uint8)).astype(np.float32)
            person.teach(reference.image, view, mask)
            renewed.append(track_id)
            self.counters["renewed"] += 1
        return renewed

    def _end_lost(self, now_s: float) -> None:
        for track_id, person in list(self._people.items()):
            if not 0 <= now_s - person.seen_s <= _LOST_S:
                self.end(track_id)
                self.counters["stale"] += 1

    def _learn_plate(self, frame: Frame, boxes: FloatArray) -> None:
        if not self._plate_s <= frame.captured_at_s < self._plate_s + PLATE_EVERY_S - 1e-6:
            self._plate_s = frame.captured_at_s
            self._model.update(frame, boxes)
            self._plate = self._model.plate()

    def _unseen(self, now_s: float, here: Container[int]) -> dict[int, FloatArray]:
        """Where those are whom the detector has just missed, going on as they went."""
        return {
            i: person.expected(now_s)
            for i, person in self._people.items()
            if i not in here and person.seen_s < now_s <= person.seen_s + COAST_S
        }

    def _begin(self, frame: Frame, seen: Sequence[Seen]) -> set[int]:
        """Those whose masks begin with this frame."""
        due = self._renewal.due(frame.captured_at_s, seen, frozenset(self._people))
        begun = {one.track_id for one in seen if one.track_id in due}
        self._people.update({i: Person() for i in begun})
        self.counters["begun"] += len(begun)
        return begun

    def _see(self, frame: Frame, sight: Sight, here: Boxes, boxes: Boxes) -> None:
        """Let everybody who was found know where, and learn every now and then."""
        now_s = frame.captured_at_s
        pupils = {}
        for i, box in here.items():
            person = self._people.get(i)
            if person is not None:
                person.see(now_s, box)
                if now_s >= person.learnt_s + _LEARN_EVERY_S - 1e-6:
                    person.learnt_s = now_s
                    pupils[i] = person
        learn_people(sight, boxes, pupils)


def _whose(box: tuple[float, float, float, float], boxes: dict[int, FloatArray]) -> int | None:
    """The track whose box is the one of a reference."""
    if not boxes:
        return None
    overlaps = box_iou(np.array([box], np.float32), np.array(list(boxes.values()), np.float32).reshape(-1, 4))[0]
    best = int(overlaps.argmax())
    return list(boxes)[best] if overlaps[best] >= _SAME_BOX else None

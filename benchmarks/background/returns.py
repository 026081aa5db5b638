"""How long somebody who comes back is missing from the mask, with the re-entry trigger and without."""

from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import numpy as np

from background.footage import Shot
from background.masks import mask_iou
from pipeline.background.removal.lives import Lives
from pipeline.background.removal.remover import BackgroundRemover
from pipeline.background.removal.renewal import ByAppearance, ByPolling, Renewal

ABSENCE_S = 5.0  # as matcher.absence_s: a shorter absence is no return
VISIBLE = 0.2  # share of a person from which they are there to be cut out, as in the scenes' ground truth
FOUND = 0.5  # IoU of a mask that has the person


def renewals() -> dict[str, Renewal]:
    """The ways to be compared, fresh."""
    return {
        "trigger": ByAppearance(),
        "poll s = 5": ByPolling(5.0),
        "poll s = 5, k = 1": ByPolling(5.0, 1.0),
        "poll s = 1": ByPolling(1.0),
    }


@dataclass(slots=True)
class Stay:
    """A person's time in the picture: for each frame in which they are visible the IoU of their mask."""

    returned: bool
    iou: list[float] = field(default_factory=list)

    def missing_frames(self) -> int:
        """Frames from the first visible one to the first one with a mask."""
        found = np.flatnonzero(np.array(self.iou) >= FOUND)
        return int(found[0]) if len(found) else len(self.iou)


class StayBook:
    """Every stay of everybody in one camera."""

    def __init__(self) -> None:
        self.stays: list[Stay] = []
        self._open: dict[int, tuple[Stay, float]] = {}

    def take(self, shot: Shot, masks: dict[int, np.ndarray]) -> None:
        """`masks` by person, as their tracks hold them."""
        at_s = shot.frame.captured_at_s
        for person_id, visible in zip(shot.truth.person_ids.tolist(), shot.truth.visibility, strict=True):
            if visible < VISIBLE:
                continue
            stay, seen_s = self._open.get(person_id, (None, -np.inf))
            if stay is None or at_s - seen_s >= ABSENCE_S:
                stay = Stay(stay is not None)
                self.stays.append(stay)
            self._open[person_id] = stay, at_s
            mask = masks.get(person_id)
            stay.iou.append(0.0 if mask is None else mask_iou(mask, shot.truth.mask(person_id)))


@dataclass(frozen=True, slots=True)
class Missing:
    """Of all returns: seconds missing, and the mean IoU over every frame of these stays (0 without a mask)."""

    returns: int
    mean_s: float
    p95_s: float
    never: int
    mean_iou: float


def follow(shots: Iterable[Shot], renewal: Renewal, book: StayBook) -> None:
    """Cut out one camera's people with masks that begin as `renewal` says."""
    remover = BackgroundRemover(renewal=renewal)
    for shot in shots:
        cut = remover.add(shot.frame, shot.seen)
        tracks: dict[int, set[int]] = defaultdict(set)
        for one in shot.seen:
            if one.identity_id:
                tracks[one.identity_id].add(one.track_id)
        book.take(shot, {person_id: cut.mask(chosen) for person_id, chosen in tracks.items()})


def follow_recorded(shots: Callable[[], Iterable[Shot]], reach: int, book: StayBook) -> None:
    """The same for a recording: who is where is known beforehand, as the second pass of the command knows it."""
    rows = [(shot.frame.index, one.identity_id, one.xyxy) for shot in shots() for one in shot.seen if one.identity_id]
    frames, ids, boxes = zip(*rows, strict=True)
    lives = Lives(np.array(frames, np.int64), np.array(ids, np.int64), np.stack(boxes), reach)
    remover = BackgroundRemover()
    for shot in shots():
        for number in lives.ended(shot.frame.index):
            remover.end(number)
        seen = lives.at(shot.frame.index)
        cut = remover.add(shot.frame, seen)
        book.take(shot, {one.identity_id: cut.mask({one.track_id}) for one in seen})


def missing(stays: Iterable[Stay], fps: float) -> Missing:
    """The figures of all returns among the stays that last at least a second."""
    back = [stay for stay in stays if stay.returned and len(stay.iou) >= fps]
    seconds = np.array([stay.missing_frames() / fps for stay in back])
    never = sum(stay.missing_frames() == len(stay.iou) for stay in back)
    every = np.concatenate([stay.iou for stay in back]) if back else np.zeros(0)
    if not back:
        return Missing(0, np.nan, np.nan, 0, np.nan)
    return Missing(len(back), float(seconds.mean()), float(np.quantile(seconds, 0.95)), never, float(every.mean()))

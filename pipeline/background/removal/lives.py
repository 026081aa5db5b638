"""The stays of people in a recorded camera, from its final rows: whose mask may be carried from frame to frame."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from pipeline.background.removal.tracks import Reference, Seen
from pipeline.boxes import box_iou
from pipeline.types import FloatArray, IntArray

_LEAST_IOU = 0.1  # of two boxes of one identity in successive frames: less is a jump, and the mask is stale
_SPEED_FRAMES = 5  # at either end of a stay that tell how fast the person went
_SAME_BOX = 0.6  # IoU of a subject's box in a reference with the life's in that frame


@dataclass(frozen=True, slots=True)
class Life:
    """One stay without a gap: frames `first` to `last`, from 0."""

    number: int
    identity_id: int
    first: int
    last: int


class Lives:
    """Who is in each frame of one camera; every stay has a number of its own, from 1.

    Args:
        frames: (N,) frame numbers from 0. ids: (N,) identities. xyxy: (N, 4) px.
        reach: frames by which a stay goes on before its first and after its last box, as the person went: detectors
            find people late and lose them early at the picture's edge. Not into another stay of the same identity.
    """

    def __init__(self, frames: IntArray, ids: IntArray, xyxy: FloatArray, reach: int = 0) -> None:
        self._seen: dict[int, list[Seen]] = defaultdict(list)
        self.lives: list[Life] = []
        order = np.lexsort((frames, ids))
        frames, ids, xyxy = frames[order], ids[order], xyxy[order].astype(np.float32)
        taken = set(zip(ids.tolist(), frames.tolist(), strict=True))
        begin = 0
        for place in range(1, len(order) + 1):
            if place == len(order) or not _goes_on(frames, ids, xyxy, place):
                identity_id = int(ids[begin])
                stay = _extended(frames[begin:place], xyxy[begin:place], reach)
                own = set(frames[begin:place].tolist())
                keep = np.array([n in own or (identity_id, n) not in taken for n in stay[0].tolist()])
                self._live(stay[0][keep], identity_id, stay[1][keep])
                taken.update((identity_id, n) for n in stay[0][keep].tolist())
                begin = place

    def _live(self, frames: IntArray, identity_id: int, xyxy: FloatArray) -> None:
        life = Life(len(self.lives) + 1, identity_id, int(frames[0]), int(frames[-1]))
        self.lives.append(life)
        for index, box in zip(frames.tolist(), xyxy, strict=True):
            self._seen[index].append(Seen(life.number, box, identity_id))

    def at(self, index: int) -> list[Seen]:
        """Everybody in one frame, by life."""
        return sorted(self._seen.get(index, []), key=lambda one: one.track_id)

    def ended(self, index: int) -> list[int]:
        """Numbers of the lives whose last frame was the one before."""
        return [life.number for life in self.lives if life.last == index - 1]

    def taught_at(
        self, references: Mapping[int, list[Reference]]
    ) -> dict[int, list[tuple[Reference, dict[int, FloatArray]]]]:
        """For each frame in which a stay begins: the stay's references, with the boxes of those who begin.

        A recorded run knows what somebody looks like before the reference was taken.

        Args:
            references: by the frame that they show.
        """
        found: dict[int, list[tuple[Reference, dict[int, FloatArray]]]] = defaultdict(list)
        first = {life.number: life.first for life in self.lives}
        for index, taken in references.items():
            for reference in taken:
                for one in self.at(index):
                    if _shows(reference, one):
                        found[first[one.track_id]].append((reference, {one.track_id: one.xyxy}))
        return dict(found)


def _goes_on(frames: IntArray, ids: IntArray, xyxy: FloatArray, place: int) -> bool:
    if ids[place] != ids[place - 1] or frames[place] != frames[place - 1] + 1:
        return False
    pair = xyxy[place - 1 : place + 1].astype(np.float32)
    return bool(box_iou(pair[:1], pair[1:])[0, 0] >= _LEAST_IOU)


def _extended(frames: IntArray, xyxy: FloatArray, reach: int) -> tuple[IntArray, FloatArray]:
    """A stay with `reach` frames more on either side, at the speed that the person had there; none before frame 0."""
    middle = (xyxy[:, :2] + xyxy[:, 2:]) / 2
    steps = np.arange(1, reach + 1, dtype=np.float32)[:, None]
    n = min(len(frames), _SPEED_FRAMES)
    if n < 2 or reach < 1:
        return frames, xyxy
    before, after = (middle[n - 1] - middle[0]) / (n - 1), (middle[-1] - middle[-n]) / (n - 1)
    early = xyxy[:1] - np.tile(before, 2) * steps[::-1]
    late = xyxy[-1:] + np.tile(after, 2) * steps
    numbers = np.concatenate([frames[0] - np.arange(reach, 0, -1), frames, frames[-1] + np.arange(1, reach + 1)])
    boxes = np.concatenate([early, xyxy, late]).astype(np.float32)
    return numbers[numbers >= 0], boxes[numbers >= 0]


def _shows(reference: Reference, one: Seen) -> bool:
    boxes = np.array([box for _, box, _ in reference.people], np.float32).reshape(-1, 4)
    return bool((box_iou(boxes, one.xyxy[None]) >= _SAME_BOX).any())

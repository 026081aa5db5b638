"""The sampler of `PollPolicy`: everybody in the picture at a look, nobody in between."""

from collections.abc import Callable, Collection, Mapping

import numpy as np

from pipeline.config import ReidConfig
from pipeline.ports import ClipHead
from pipeline.tracking.encoding_policy import PollPolicy
from pipeline.tracking.looks import KnownDistances, Look, distances, look_of, nearest
from pipeline.tracking.sampling import TIME_SLACK_S, ClipSampler, CropRequest, DueClip
from pipeline.types import CropFeature, Frame, Tracks

MOST_MISSING = 64  # people; who has been missing longest is forgotten first


class PollSampler(ClipSampler):
    """One crop of everybody at each look, and a clip of each right after.

    Who was there at a look and is not at a later one is missing, until somebody comes who looks like that: nearer than
    people who are seen at the same time are to each other (but for a tenth of them). A worker is not told who people
    are, so it compares for itself what it has encoded.

    Args:
        head: makes crops comparable.
    """

    def __init__(self, config: ReidConfig, policy: PollPolicy, head: ClipHead) -> None:
        super().__init__(config)
        self._poll = policy
        self._head = head
        self._known = KnownDistances()
        self._next_s = -np.inf
        self._here: dict[int, Look] = {}  # those seen at the last look, as they looked
        self._missing: list[Look] = []  # longest missing first

    def offer(
        self, frame: Frame, tracks: Tracks, births: Mapping[int, float] | None = None, doubtful: Collection[int] = ()
    ) -> list[CropRequest]:
        """The crops of everybody in the frame when a look is due and the frame is whole, by track id; else none.

        Args:
            doubtful: plays no part.
        """
        now_s = frame.captured_at_s
        self._note_births(now_s, tracks, births or {})
        if now_s < self._next_s - TIME_SLACK_S or frame.damaged:
            return []
        self._leave(set(tracks.ids.tolist()))
        self._next_s = now_s + (self._poll.missing_every_s if self._missing else self._poll.every_s)
        return self._take_all(frame, tracks)

    def accept(self, track_id: int, crop: CropFeature) -> None:
        super().accept(track_id, crop)
        look = look_of([crop], self._head)
        others = [one for other_id, one in self._here.items() if other_id != track_id]
        if others:
            self._known.add_different(nearest(look, others))
        if track_id in self._here:
            self._known.add_same(nearest(look, [self._here[track_id]]))
        else:
            self._recognise(look)
        self._here[track_id] = look

    def due_clips(self, now_s: float, until_s: Callable[[int], float] = lambda _: np.inf) -> list[DueClip]:
        """A clip of everybody who was looked at since the last one, by track id."""
        clips = []
        for track_id, sampling in sorted(self._tracks.items()):
            if sampling.has_news(limit_s := until_s(track_id)):
                sampling.clipped_at_s = now_s
                clips.append(self._clip(track_id, sampling, limit_s))
        return clips

    def _leave(self, here: set[int]) -> None:
        """Who was there at the last look and is not now is missing."""
        self._missing += [look for track_id, look in sorted(self._here.items()) if track_id not in here]
        del self._missing[:-MOST_MISSING]
        self._here = {track_id: look for track_id, look in self._here.items() if track_id in here}

    def _recognise(self, look: Look) -> None:
        """Somebody came: whoever of the missing looks like that is not missing any more."""
        limit = self._known.limits().stranger
        if not self._missing or not np.isfinite(limit):
            return
        near = distances([look], self._missing)[0]
        if near.min() < limit:
            del self._missing[int(near.argmin())]

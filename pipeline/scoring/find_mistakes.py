"""Finds what went wrong and where to look at it; the worst first."""

from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from pipeline.scoring.alignment import MATCH_IOU, ScoredCamera, ScoredFrame
from pipeline.scoring.appearances import Appearance, TracedCamera, assign
from pipeline.scoring.links import Link, Links
from pipeline.scoring.mistakes import MarkedBox, Mistake, MistakeKind, View
from pipeline.scoring.reentry import Reentries, SaidReturn, TrueReturn
from pipeline.scoring.rows import Rows
from pipeline.types import IntArray

MOST_OF_A_KIND = 12  # pictures of one kind that somebody looks at
MOST = 60
LONG_S = 1.0  # shorter misses and false alarms are flicker, not worth a picture
LONG_FRAMES = 10  # scored frames that are long as well, where few are annotated or times are unknown
_SAME_PERSON = 1000.0  # CLEAR: a pair that goes on outweighs every overlap (overlaps are at most 1)


def find_mistakes(traced: Sequence[TracedCamera], links: Links, reentries: Reentries | None) -> tuple[Mistake, ...]:
    """The mistakes of a result, most spoilt frames first; at most `MOST_OF_A_KIND` of a kind and `MOST` in all."""
    of_camera = {one.camera_id: one for one in traced}
    found = [mistake for one in traced for mistake in _in_camera(one)]
    found += [_wrong_link(of_camera, link) for link in links.false]
    found += [_missed_link(of_camera, link) for link in links.missed]
    if reentries is not None:
        found += [_missed_reentry(of_camera[r.camera_id], r) for r in reentries.missed]
        found += [_false_reentry(of_camera[r.camera_id], r) for r in reentries.false]
    found.sort(key=lambda m: (-m.frames_wrong, m.kind, m.camera_id, m.frame, m.text))
    shown: dict[MistakeKind, int] = {}
    worst = []
    for mistake in found:
        shown[mistake.kind] = shown.get(mistake.kind, 0) + 1
        if shown[mistake.kind] <= MOST_OF_A_KIND:
            worst.append(mistake)
    return tuple(worst[:MOST])


def _in_camera(one: TracedCamera) -> Iterator[Mistake]:
    yield from _id_switches(one)
    yield from _missed_people(one)
    yield from _false_alarms(one)


def _id_switches(one: TracedCamera) -> Iterator[Mistake]:
    """One mistake per person whose id changed in this camera."""
    camera = one.camera
    result_of = continued_matches(camera)
    for person in np.unique(camera.truth.ids):
        places = np.flatnonzero((camera.truth.ids == person) & (result_of >= 0))
        ids = camera.result.ids[result_of[places]]
        places, ids = places[ids >= 0], ids[ids >= 0]
        changes = np.flatnonzero(ids[1:] != ids[:-1]) + 1
        if len(changes) == 0:
            continue
        after = int(changes[0])
        old, new = int(ids[after - 1]), int(ids[after])
        frame = int(camera.truth.frames[places[after]])
        _, boxes = np.unique(ids, return_counts=True)
        times = "once" if len(changes) == 1 else f"{len(changes)} times"
        yield Mistake(
            "id_switch",
            one.camera_id,
            frame,
            f"{one.camera_id}: person {person} changes id {times}, first from {old} to {new} in frame {frame}",
            int(boxes.sum() - boxes.max()),
            tuple(_view(camera, [int(p)], [int(result_of[p])]) for p in places[after - 1 : after + 1]),
        )


def continued_matches(camera: ScoredCamera) -> IntArray:
    """(T,) place in `result` of the box matched with each row of `truth`, -1 without one, as MOTA matches.

    Pairs of the frame before go on where they can, then the greatest overlap counts, so that a switch is only seen
    where there is one (Bernardin and Stiefelhagen, "Evaluating Multiple Object Tracking Performance", 2008).
    """
    result_of = np.full(len(camera.truth), -1, np.int64)
    before: dict[int, int] = {}
    for frame in camera.frames:
        if not frame.iou.size:
            continue  # as TrackEval: a frame without boxes of one kind does not end what goes on
        goes_on = _goes_on(camera, frame, before)
        good = frame.iou >= MATCH_IOU - float(np.finfo(np.float64).eps)
        n, m = assign(np.where(good, _SAME_PERSON * goes_on + frame.iou, 0.0))
        result_of[frame.truth[n]] = frame.result[m]
        people, ids = camera.truth.ids[frame.truth[n]], camera.result.ids[frame.result[m]]
        before = dict(zip(people.tolist(), ids.tolist(), strict=True))
    return result_of


def _goes_on(camera: ScoredCamera, frame: ScoredFrame, before: dict[int, int]) -> IntArray:
    """(n, m) 1 where this person had this id in the frame before."""
    ids = camera.result.ids[frame.result]
    had = [before.get(int(person), -1) for person in camera.truth.ids[frame.truth]]
    return ((ids[None, :] == np.array(had)[:, None]) & (ids[None, :] >= 0)).astype(np.int64)


def _missed_people(one: TracedCamera) -> Iterator[Mistake]:
    """One mistake per long stretch in which a person is there and not found."""
    camera = one.camera
    for person in np.unique(camera.truth.ids):
        mine = np.flatnonzero(camera.truth.ids == person)
        at_s = one.times.seconds(camera.truth.frames[mine])
        found = one.matches.result_of[mine] >= 0
        # A stay that goes on after an absence is another stretch.
        away = np.concatenate([[False], np.diff(at_s) > LONG_S])
        stretch = np.cumsum(np.concatenate([[False], found[1:] != found[:-1]]) | away)
        for number in np.unique(stretch[~found]):
            places = mine[stretch == number]
            if not _is_long(one, camera.truth.frames[places]):
                continue
            middle = int(places[len(places) // 2])
            frame = int(camera.truth.frames[places[0]])
            text = (
                f"{one.camera_id}: person {person} is not found in {len(places)} scored frames from frame {frame} to "
                f"{int(camera.truth.frames[places[-1]])}"
            )
            view = _view(camera, [middle], _touching(camera, middle))
            yield Mistake("missed_person", one.camera_id, frame, text, len(places), (view,))


def _false_alarms(one: TracedCamera) -> Iterator[Mistake]:
    """One mistake per appearance that lies on nobody for long."""
    for appearance in one.appearances:
        frames = one.camera.result.frames[appearance.scored]
        if appearance.person_id is not None or not _is_long(one, frames):
            continue
        text = (
            f"{one.camera_id}: id {appearance.identity_id} lies on nobody in {len(frames)} scored frames from frame "
            f"{frames[0]} to {frames[-1]}"
        )
        view = _middle(one, appearance)
        yield Mistake("false_alarm", one.camera_id, int(frames[0]), text, len(frames), (view,))


def _is_long(one: TracedCamera, frames: IntArray) -> bool:
    first_s, last_s = one.times.seconds(frames[[0, -1]])
    return len(frames) >= LONG_FRAMES or (one.times.is_known and last_s - first_s >= LONG_S)


def _wrong_link(of_camera: dict[str, TracedCamera], link: Link) -> Mistake:
    now, then = link.appearance, link.earlier
    text = (
        f"{now.camera_id}: {_name(now.person_id)} gets id {now.identity_id} from frame {now.first_frame}, which was "
        f"{_name(then.person_id)} in {then.camera_id}"
    )
    return _about_link("wrong_link", of_camera, link, text)


def _missed_link(of_camera: dict[str, TracedCamera], link: Link) -> Mistake:
    now, then = link.appearance, link.earlier
    text = (
        f"{now.camera_id}: {_name(now.person_id)} gets id {now.identity_id} from frame {now.first_frame}, and was id "
        f"{then.identity_id} in {then.camera_id}"
    )
    return _about_link("missed_link", of_camera, link, text)


def _about_link(kind: MistakeKind, of_camera: dict[str, TracedCamera], link: Link, text: str) -> Mistake:
    now = link.appearance
    views = (_middle(of_camera[now.camera_id], now), _middle(of_camera[link.earlier.camera_id], link.earlier))
    return Mistake(kind, now.camera_id, now.first_frame, text, len(now.scored), views)


def _missed_reentry(one: TracedCamera, back: TrueReturn) -> Mistake:
    truth = one.camera.truth
    mine = (truth.ids == back.person_id) & (truth.frames >= back.first_frame) & (truth.frames <= back.last_frame)
    places = np.flatnonzero(mine)
    text = f"{one.camera_id}: person {back.person_id} comes back in frame {back.first_frame}, and nobody says so"
    if len(places):
        view = _view(one.camera, [int(places[0])], _touching(one.camera, int(places[0])))
    else:
        view = View(one.camera_id, back.first_frame, ())
    return Mistake("missed_reentry", one.camera_id, back.first_frame, text, len(places), (view,))


def _false_reentry(one: TracedCamera, said: SaidReturn) -> Mistake:
    frame = one.times.frame_at(said.at_s)
    text = f"{one.camera_id}: id {said.identity_id} is said to come back in frame {frame}"
    mine = [a for a in one.appearances if a.identity_id == said.identity_id]
    if not mine:
        return Mistake("false_reentry", one.camera_id, frame, text, 0, (View(one.camera_id, frame, ()),))
    nearest = min(mine, key=lambda a: (abs(a.start_s - said.at_s), a.order))
    text += f", and is {_name(nearest.person_id)}"
    views = [_around(one, int(nearest.scored[0]))]
    earlier = [a for a in mine if a.order < nearest.order]
    if earlier:
        views.append(_middle(one, max(earlier, key=lambda a: a.order)))
    return Mistake("false_reentry", one.camera_id, frame, text, len(nearest.scored), tuple(views))


def _name(person_id: int | None) -> str:
    return "nobody" if person_id is None else f"person {person_id}"


def _middle(one: TracedCamera, appearance: Appearance) -> View:
    """The appearance in the middle of its boxes; where it lies on somebody, of the boxes that do."""
    scored, camera = appearance.scored, one.camera
    if appearance.person_id is not None:
        on = one.matches.truth_of[scored]
        scored = scored[(on >= 0) & (camera.truth.ids[on] == appearance.person_id)]
    return _around(one, int(scored[len(scored) // 2]))


def _around(one: TracedCamera, place: int) -> View:
    """A result box, and the person that it lies on."""
    on = int(one.matches.truth_of[place])
    return _view(one.camera, [on] if on >= 0 else [], [place])


def _touching(camera: ScoredCamera, truth_place: int) -> list[int]:
    """Places of the result boxes that overlap this person's box: what was found instead."""
    number = int(camera.truth.frames[truth_place])
    frames = [frame.frame for frame in camera.frames]
    frame = camera.frames[int(np.searchsorted(frames, number))]
    overlap = frame.iou[np.flatnonzero(frame.truth == truth_place)[0]]
    return [int(place) for place in frame.result[overlap > 0]]


def _view(camera: ScoredCamera, truth: Iterable[int], result: Iterable[int]) -> View:
    """These boxes of one frame; at least one."""
    marks = [*_marks(camera.truth, truth, True), *_marks(camera.result, result, False)]
    frame = max(number for number, _ in marks)
    return View(camera.camera_id, frame, tuple(box for _, box in marks))


def _marks(rows: Rows, places: Iterable[int], is_truth: bool) -> Iterator[tuple[int, MarkedBox]]:
    for place in places:
        x, y, w, h = rows.xywh[place].tolist()
        label = f"{'person' if is_truth else 'id'} {rows.ids[place]}"
        yield int(rows.frames[place]), MarkedBox((x, y, w, h), label, is_truth)

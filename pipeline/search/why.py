"""Why each track of an identity was linked to it, as text: what `search --identity ID --why` prints."""

from collections.abc import Iterator

from pipeline.search.history import History
from pipeline.types import Evidence, IdentityEvent, TrackKey
from pipeline.view.wording import clock_text, duration_text, event_text, identity_label

_BASIS = {
    "appearance": "looks",
    "place": "place on the ground",
    "motion": "motion",
    "transit": "time of the way",
    "operator": "an operator's word",
}


def why_text(history: History, identity_id: int) -> str:
    """The decisions about every track of an identity, in order of time, and the corrections, in order.

    Args:
        identity_id: one that was merged is told as the one that lives on.
    """
    living = history.book.living(identity_id)
    lines = [_headline(history, living)]
    if living != identity_id:
        lines.append(f"#{identity_id} was merged into it.")
    for number, key in enumerate(history.tracks_of(living), start=1):
        lines += ["", *_track(history, number, key)]
    corrections = history.corrections(living)
    if corrections:
        lines += ["", "Corrections, in order:"]
        lines += [f"  {_correction(event)}" for event in corrections]
    return "\n".join(lines)


def track_name(key: TrackKey) -> str:
    """A track in words; its epoch only where it is not the first of a replay."""
    return f"track {key.track_id}" + ("" if key.epoch == "1" else f" of epoch {key.epoch}")


def _headline(history: History, identity_id: int) -> str:
    keys = history.tracks_of(identity_id)
    name = history.book.name_of(identity_id)
    label = f"#{identity_id}" + (f" “{name}”" if name else "")
    cameras = len({key.camera_id for key in keys})
    return f"Why {label} is who it is: {_count(len(keys), 'track')} in {_count(cameras, 'camera')}"


def _count(number: int, what: str) -> str:
    return f"{number} {what}" + ("" if number == 1 else "s")


def _track(history: History, number: int, key: TrackKey) -> Iterator[str]:
    span = history.span(key)
    when = f"{clock_text(span.start_s)} to {clock_text(span.end_s)} ({duration_text(span.end_s - span.start_s)})"
    yield f"{number}. {key.camera_id}, {track_name(key)}: {when}"
    links = history.links(key)
    if not links:
        yield "   no event says why"
    for place, event in enumerate(links):
        superseded = place < len(links) - 1
        yield f"   {_what(event)}, decided at {clock_text(event.decided_at_s)} by {_who(event)}"
        if superseded:
            yield "     (later corrected)"
        yield from (f"     {line}" for line in evidence_lines(event))


def _who(event: IdentityEvent) -> str:
    return "an operator" if event.by == "operator" else "the matcher"


def _what(event: IdentityEvent) -> str:
    camera_id = event.key.camera_id if event.key is not None else ""
    words = event_text(event.kind, camera_id, event.absent_s, event.via, event.other_identity_id, event.name)
    if event.kind == "entered":
        return f"{identity_label(event.identity_id)} {words}: nobody known"
    return f"{identity_label(event.identity_id)} {words}"


def evidence_lines(event: IdentityEvent) -> Iterator[str]:
    """What spoke for and against, a line each."""
    evidence = event.evidence
    if event.by == "operator":
        yield "certain: an operator said so"
        return
    if evidence is None:
        yield "no evidence was written down"
        return
    is_new = event.kind in ("entered", "split")
    yield _comparison(evidence, is_new)
    yield from _circumstances(evidence)
    if evidence.runner_up is not None:
        other, cost = evidence.runner_up
        what = "the next nearest" if is_new else "the runner-up"
        ahead = "" if is_new or evidence.cost is None else f", {cost - evidence.cost:.3f} behind"
        yield f"{what} was #{other} at {cost:.3f}{ahead}"
    elif not is_new:
        yield "nobody else was allowed and known: no runner-up"
    for other, reason in evidence.excluded:
        yield f"#{other} was ruled out: {reason}"


def _comparison(evidence: Evidence, is_new: bool) -> str:
    if evidence.distance is None:
        return "there was nobody to compare with"
    cost = evidence.distance if evidence.cost is None else evidence.cost
    looks = f"distance of looks {evidence.distance:.3f}"
    rest = "" if evidence.cost is None else f", cost with time, place and motion {evidence.cost:.3f}"
    if is_new:
        judged = "above" if cost > evidence.threshold else "not above"
        return f"nearest allowed: {looks}{rest}; {judged} the threshold {evidence.threshold:.3f}"
    if cost <= evidence.threshold:
        return f"{looks}{rest}; {evidence.threshold - cost:.3f} below the threshold {evidence.threshold:.3f}"
    return f"{looks}{rest}; above the threshold {evidence.threshold:.3f}"


def _circumstances(evidence: Evidence) -> Iterator[str]:
    spoke = ", ".join(_BASIS.get(basis, basis) for basis in evidence.basis)
    late = "; came late" if evidence.late else ""
    yield f"spoke: {spoke}; {_count(evidence.clips, 'clip')}{late}"
    if evidence.place_m is not None:
        yield f"while both were seen they were {evidence.place_m:.2f} m apart on the ground"
    if evidence.transit_prior < 1.0:
        yield f"plausibility of the time of the way: {evidence.transit_prior:.2f}"


def _correction(event: IdentityEvent) -> str:
    head = f"{clock_text(event.decided_at_s)}  {_who(event)}: "
    other = "another identity" if event.other_identity_id is None else f"#{event.other_identity_id}"
    if event.kind == "merged":
        return head + f"merged #{event.identity_id} into {other}" + _measured(event)
    where = f"{event.key.camera_id}, {track_name(event.key)}" if event.key is not None else "a track"
    if event.kind == "split":
        return head + f"split {where} from {other}: the new #{event.identity_id}" + _measured(event)
    return head + f"reassigned {where} from {other} to #{event.identity_id}" + _measured(event)


def _measured(event: IdentityEvent) -> str:
    evidence = event.evidence
    if evidence is None or evidence.distance is None:
        return ""
    cost = "" if evidence.cost is None else f", cost {evidence.cost:.3f}"
    return f" (distance {evidence.distance:.3f}{cost}, threshold {evidence.threshold:.3f})"

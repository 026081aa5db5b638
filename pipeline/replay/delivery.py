"""Hands messages to matcher and recorder as the bus would, one step each, and adds up what came of it."""

from dataclasses import dataclass, field

from pipeline.identity.matcher import Matcher, Step
from pipeline.runtime.latency import LatencyRecorder
from pipeline.runtime.recorder import RunRecorder
from pipeline.types import ClipFeature, ClipMessage, IdentityEvent, ReferenceFrame, Tracklet


@dataclass(slots=True)
class ReplayResult:
    """What a replay did: frames and footage by camera, causes of loss, and the references taken."""

    frames: dict[str, int] = field(default_factory=dict)
    footage_s: dict[str, float] = field(default_factory=dict)
    losses: dict[str, int] = field(default_factory=dict)
    references: list[ReferenceFrame] = field(default_factory=list)


class Delivery:
    """The way of a decoded message through matcher and recorder."""

    def __init__(self, matcher: Matcher, recorder: RunRecorder, latency: LatencyRecorder, result: ReplayResult) -> None:
        self._matcher = matcher
        self._recorder = recorder
        self._latency = latency
        self._result = result
        self._count = 0

    def deliver(self, message: ClipMessage) -> list[IdentityEvent]:
        """The events that the message led to; they are recorded already."""
        self._count += 1
        with self._latency.measure("match"):
            self._matcher.receive(str(self._count), message)
            step = self._matcher.advance()
        if isinstance(message, ClipFeature):
            self._recorder.clip(message)
        elif isinstance(message, Tracklet):
            self._recorder.tracklet(message)
        return self._record(step)

    def _record(self, step: Step) -> list[IdentityEvent]:
        for event in step.events:
            with self._latency.measure("record"):
                self._result.references += self._recorder.event(event)
        return list(step.events)

    def close(self) -> None:
        """Complete the recorder's files and count what went wrong on the way."""
        self._result.references += self._recorder.close()
        late = {
            "late messages": self._matcher.late,
            "duplicate messages": self._matcher.duplicates,
            "boxes of an identity twice in a frame": self._recorder.doubled_boxes,
        }
        self._result.losses.update({cause: n for cause, n in late.items() if n})

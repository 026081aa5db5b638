"""Whether the links are right: a check that the matcher still does its work, no measure of how well it does it."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from pipeline.types import IdentityEvent, TrackKey

_LINKS = ("entered", "handed_over", "reentered", "continued", "reassigned", "split")


@dataclass(slots=True)
class Links:
    """What a matcher has said so far.

    Attributes:
        right: links of a track to the identity of its own person. wrong: to somebody else's.
        missed: persons who became a new identity though they had one.
        corrected: merged, split and reassigned.
    """

    right: int = 0
    wrong: int = 0
    missed: int = 0
    corrected: int = 0
    unknown: int = 0
    identity_of: dict[TrackKey, int] = field(default_factory=dict)
    _owner: dict[int, int] = field(default_factory=dict)  # identity -> the person it began with
    _known: set[int] = field(default_factory=set)
    _lives_on: dict[int, int] = field(default_factory=dict)

    def take(self, events: Iterable[IdentityEvent], person_of: Mapping[TrackKey, int]) -> None:
        """The events of one step, in order."""
        for event in events:
            if event.kind == "merged" and event.other_identity_id is not None:
                self._lives_on[event.identity_id] = event.other_identity_id
            self.corrected += event.kind in ("merged", "split", "reassigned")
            self.unknown += event.kind == "unknown"
            if event.kind in _LINKS and event.key is not None:
                self._link(event, event.key, person_of[event.key])

    def _link(self, event: IdentityEvent, key: TrackKey, person: int) -> None:
        self.identity_of[key] = event.identity_id
        if event.kind in ("reassigned", "split"):
            return
        if event.kind == "entered":
            self.missed += person in self._known
            self._owner.setdefault(event.identity_id, person)
        elif self._owner.get(event.identity_id) == person:
            self.right += 1
        else:
            self.wrong += 1
        self._known.add(person)

    def final(self, person_of: Mapping[TrackKey, int]) -> "FinalLinks":
        """How it stands with all corrections made."""
        members: dict[int, Counter[int]] = {}
        for key, identity_id in self.identity_of.items():
            members.setdefault(self.alive(identity_id), Counter())[person_of[key]] += 1
        linked = len(self.identity_of)
        stray = linked - sum(people.most_common(1)[0][1] for people in members.values())
        return FinalLinks(len(members), len(self._known), linked, stray)

    def alive(self, identity_id: int) -> int:
        """The identity that lives on after all merges."""
        while identity_id in self._lives_on:
            identity_id = self._lives_on[identity_id]
        return identity_id


@dataclass(frozen=True, slots=True)
class FinalLinks:
    """identities made, people seen, tracks linked, and those of them that are not their identity's main person's."""

    identities: int
    people: int
    tracks: int
    stray: int

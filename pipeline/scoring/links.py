"""Links: what every appearance was said to be a return of, and whether that is so.

IDF1 (Ristani et al., "Performance Measures and a Data Set for Multi-Target, Multi-Camera Tracking", 2016) counts frames
under the best mapping of ids; it hides how often somebody was taken for somebody else. These figures count decisions.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from pipeline.scoring.appearances import Appearance


@dataclass(frozen=True, eq=False, slots=True)
class Link:
    """An appearance, and an earlier one: the one it was taken for, or (missed) the last one of the same person."""

    appearance: Appearance
    earlier: Appearance


@dataclass(frozen=True, eq=False, slots=True)
class Links:
    """Every decision about an appearance, in order of time.

    Attributes:
        correct: the same person. false: another person, or one of the two is nobody.
        missed: the person was seen before, and none of those appearances had this id.
    """

    correct: tuple[Link, ...] = ()
    false: tuple[Link, ...] = ()
    missed: tuple[Link, ...] = ()

    def figures(self) -> dict[str, float | int | None]:
        """The counts; precision = correct / (correct + false), recall = correct / (correct + missed), or None."""
        correct, false, missed = len(self.correct), len(self.false), len(self.missed)
        return {
            "correct": correct,
            "false": false,
            "missed": missed,
            "precision": correct / (correct + false) if correct + false else None,
            "recall": correct / (correct + missed) if correct + missed else None,
        }


def find_links(appearances: Iterable[Appearance]) -> Links:
    """Judge the appearances of a whole site in order of (start, camera, first frame).

    Every appearance after the first of its identity is a link to that identity's latest earlier one. A link between
    two appearances that both lie on nobody says nothing about people and is not counted. One appearance may be a false
    link (taken for somebody) and a missed one (not recognised as who it is).
    """
    last_of_identity: dict[int, Appearance] = {}
    seen_of_person: dict[int, list[Appearance]] = {}
    correct: list[Link] = []
    false: list[Link] = []
    missed: list[Link] = []
    for appearance in sorted(appearances, key=lambda a: a.order):
        person = appearance.person_id
        earlier = last_of_identity.get(appearance.identity_id)
        if earlier is not None and (person is not None or earlier.person_id is not None):
            (correct if earlier.person_id == person else false).append(Link(appearance, earlier))
        last_of_identity[appearance.identity_id] = appearance
        if person is None:
            continue
        seen = seen_of_person.setdefault(person, [])
        if seen and all(a.identity_id != appearance.identity_id for a in seen):
            missed.append(Link(appearance, seen[-1]))
        seen.append(appearance)
    return Links(tuple(correct), tuple(false), tuple(missed))


def joined(parts: Iterable[Links]) -> Links:
    """The links of sequences that share no identities, each judged by itself."""
    parts = list(parts)
    return Links(
        tuple(link for part in parts for link in part.correct),
        tuple(link for part in parts for link in part.false),
        tuple(link for part in parts for link in part.missed),
    )

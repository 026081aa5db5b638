"""The worst mistakes for the page: grouped by kind, with pictures, as many as a page can hold."""

from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.reporting.report_inputs import MistakeNote
from pipeline.view.thumbnails import data_uri, read_image

MAX_OF_A_KIND = 6
MAX_PICTURES = 60  # about 35 kB each
_PICTURE_PX = (480, 360)

_KINDS = {  # in the order of what operators suffer from
    "wrong_link": ("Wrong links", "Somebody was given the identity of somebody else."),
    "false_reentry": ("False re-entries", "A return was said that is none."),
    "missed_reentry": ("Missed re-entries", "Somebody came back, and nobody said so."),
    "missed_link": ("Missed links", "Somebody known was given a new identity."),
    "id_switch": ("Id switches", "A person goes on under another id in the same camera."),
    "missed_person": ("People not found", "Somebody is in the picture without a box, for long."),
    "false_alarm": ("False alarms", "Boxes where nobody is, for long."),
}


@dataclass(frozen=True, slots=True)
class Card:
    """One mistake: its sentence, how many scored frames it spoils, and pictures as data URIs."""

    text: str
    frames_wrong: int
    pictures: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Group:
    """The mistakes of one kind, worst first; `left_out` more are in mistakes.json."""

    title: str
    meaning: str
    cards: tuple[Card, ...]
    left_out: int


def groups_of(mistakes: Sequence[MistakeNote]) -> tuple[Group, ...]:
    """Mistakes by kind; within a kind they keep their order."""
    kinds = [kind for kind in _KINDS if any(m.kind == kind for m in mistakes)]
    kinds += sorted({m.kind for m in mistakes} - set(_KINDS))
    groups, left = [], MAX_PICTURES
    for kind in kinds:
        own = [m for m in mistakes if m.kind == kind]
        cards = []
        for mistake in own[:MAX_OF_A_KIND]:
            cards.append(_card(mistake, left))
            left -= len(cards[-1].pictures)
        title, meaning = _KINDS.get(kind, (kind.replace("_", " "), ""))
        groups.append(Group(title, meaning, tuple(cards), len(own) - len(cards)))
    return tuple(groups)


def _card(mistake: MistakeNote, pictures_left: int) -> Card:
    images = [read_image(file) for file in mistake.pictures[: max(pictures_left, 0)]]
    pictures = tuple(data_uri(image, *_PICTURE_PX) for image in images if image is not None)
    return Card(mistake.text, mistake.frames_wrong, pictures)

"""What went wrong, each with where to look: for the pictures of the report."""

from dataclasses import dataclass
from typing import Literal

MistakeKind = Literal[
    "id_switch",  # a person goes on under another id in the same camera
    "wrong_link",  # an appearance is given the id of somebody else
    "missed_link",  # somebody known is given a new id
    "missed_person",  # a person nobody found, for long
    "false_alarm",  # boxes where nobody is, for long
    "missed_reentry",
    "false_reentry",
]


@dataclass(frozen=True, slots=True)
class MarkedBox:
    """A box to draw: `is_truth` for the annotation's; label as shown."""

    xywh: tuple[float, float, float, float]
    label: str
    is_truth: bool


@dataclass(frozen=True, slots=True)
class View:
    """One picture to show: frame number from 1 of one camera, with boxes."""

    camera_id: str
    frame: int
    boxes: tuple[MarkedBox, ...]


@dataclass(frozen=True, slots=True)
class Mistake:
    """One mistake.

    Attributes:
        text: one sentence for people.
        frames_wrong: how many scored frames it spoils; the worst are shown first.
        views: one or two pictures (for links: the appearance, and the earlier one it was taken for).
    """

    kind: MistakeKind
    camera_id: str
    frame: int
    text: str
    frames_wrong: int
    views: tuple[View, ...]

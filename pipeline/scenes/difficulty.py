"""How hard a generated scene is: each difficulty has a switch and a strength of its own."""

from dataclasses import dataclass, fields, replace
from typing import Any


@dataclass(frozen=True, slots=True)
class Difficulty:
    """What makes people hard to know again. 0 switches a difficulty off; where no unit is given, 1 is the worst that a
    surveillance camera still in use delivers.

    Attributes:
        occluders: pieces of furniture in front of the walking lanes, per camera.
        trolleys: moving ones, per camera.
        crowding: share of the entries that wait for somebody else's and go beside them, 0 to 1.
        motion_blur: longest exposure, 0 to 1 (1: 1/8 s, in dim phases of the darkest camera).
        defocus: lens out of focus from time to time, 0 to 1.
        colour_cast: white balance, gamma, saturation and light differ between cameras and drift, 0 to 1.
        lookalikes: share of the people that share their clothes with somebody but for one part, 0 to 1.
        truncation: share of the body that the picture's edge cuts off at most, in every second camera, 0 to 0.6.
    """

    occluders: int = 0
    trolleys: int = 0
    crowding: float = 0.0
    motion_blur: float = 0.0
    defocus: float = 0.0
    colour_cast: float = 0.0
    lookalikes: float = 0.0
    truncation: float = 0.0

    def __post_init__(self) -> None:
        for field in fields(self):
            value, most = getattr(self, field.name), _MOST.get(field.name, 1.0)
            if not 0 <= value <= most:
                raise ValueError(f"{field.name}: expected 0 to {most:g}, got {value}")


_MOST = {
    "occluders": 12,  # more than the picture is wide
    "trolleys": 4,
    "truncation": 0.6,  # more of a body leaves too little to be found
}

EASY = Difficulty()  # the rich wardrobe and nothing else
HARD = (
    Difficulty(  # chosen so that OSNet x0.25 with mean pooling reaches a cross-camera mAP of .5 to .7 (docs/scenes.md)
        occluders=3,
        trolleys=1,
        crowding=0.2,
        motion_blur=0.5,
        defocus=0.2,
        colour_cast=0.1,
        lookalikes=0.15,
        truncation=0.1,
    )
)
PRESETS = {"easy": EASY, "hard": HARD}


def parse_difficulty(text: str) -> Difficulty:
    """A preset's name, changes to one, or single difficulties: `hard`, `hard,truncation=0`, `occluders=4,defocus=0.5`.

    Raises:
        ValueError: says which word is not understood, and what would be.
    """
    words = [word.strip() for word in text.split(",") if word.strip()]
    start = EASY
    if words and "=" not in words[0]:
        if words[0] not in PRESETS:
            raise ValueError(f"expected one of {', '.join(PRESETS)} or NAME=STRENGTH, got {words[0]!r}")
        start = PRESETS[words.pop(0)]
    changes: dict[str, Any] = dict(_parse_strength(word) for word in words)
    return replace(start, **changes)


def _parse_strength(word: str) -> tuple[str, float]:
    name, _, strength = word.partition("=")
    known = {field.name: int if isinstance(field.default, int) else float for field in fields(Difficulty)}
    if name not in known:
        raise ValueError(f"expected one of {', '.join(known)}, got {name!r}")
    try:
        return name, known[name](strength)
    except ValueError:
        raise ValueError(f"{name}: expected a number, got {strength!r}") from None

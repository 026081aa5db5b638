"""When the people of a camera are looked at: which of their crops pass the backbone, and when a clip is told.

`event`: a track is looked at from its birth on, so that who comes back is told within the first second; then evenly
(`EVENLY`), or ever more rarely and closely again whenever something may have exchanged people (`EVENT`). `poll`, the
plain idea that it is measured against: everybody in the picture is looked at every so many seconds, more often while
somebody is missing, and in between nobody is.
"""

from dataclasses import dataclass
from typing import TypeAlias

from pipeline.config import Config, ReidConfig

LEAST_CLIP_GAP_S = 0.3  # between two clips of a young track: a second crop is there by then


@dataclass(frozen=True, slots=True)
class EventPolicy:
    """From the birth of a track on.

    Attributes:
        growth: a chunk of a track's life, which gives one crop, lasts this share of the track's age, but at least
            `first_clip_s`. 0: no back-off, all chunks last `crop_every_s`, clips come `every_s` apart.
        longest_s: a chunk at most.
        doubt_every_s: a track in doubt is looked at closely, a few crops `crop_every_s` apart, at most this often; a
            young one sooner.
    """

    growth: float = 3.0
    longest_s: float = 10.0
    doubt_every_s: float = 2.5

    def __post_init__(self) -> None:
        if self.growth < 0 or self.longest_s <= 0 or self.doubt_every_s < 0:
            raise ValueError(f"expected a growth of at least 0 and times above 0, got {self}")

    def chunk_s(self, age_s: float, config: ReidConfig) -> float:
        """How long the chunk lasts that begins at an age."""
        if not self.growth:
            return config.crop_every_s
        return max(config.first_clip_s, config.crop_every_s, min(self.growth * age_s, self.longest_s))

    def doubt_gap_s(self, age_s: float) -> float:
        """How long after the beginning of a close look at a track of an age the next one may begin."""
        return min(self.doubt_every_s, age_s / 2) if self.growth else self.doubt_every_s

    def clip_gap_s(self, age_s: float, config: ReidConfig) -> float:
        """How long after a clip, made at an age, the next one may be made."""
        return min(config.every_s, max(LEAST_CLIP_GAP_S, age_s)) if self.growth else config.every_s


@dataclass(frozen=True, slots=True)
class PollPolicy:
    """Every `every_s`, and every `missing_every_s` while somebody is missing who was there at an earlier look."""

    every_s: float = 5.0
    missing_every_s: float = 1.0

    def __post_init__(self) -> None:
        if not 0 < self.missing_every_s <= self.every_s:
            raise ValueError(f"expected 0 < missing_every_s <= every_s, got {self.missing_every_s}, {self.every_s}")


EncodingPolicy: TypeAlias = EventPolicy | PollPolicy
EVENT = EventPolicy()
EVENLY = EventPolicy(growth=0.0, doubt_every_s=float("inf"))  # no back-off, nobody in doubt


def policy_of(config: Config) -> EncodingPolicy:
    """The policy that the configuration asks for."""
    if config.background.policy == "poll":
        return PollPolicy(config.background.poll_s, config.background.poll_missing_s)
    return EVENT if config.reid.looks == "sparing" else EVENLY

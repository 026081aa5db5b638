"""People who walk side by side and hide parts of each other."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.scenes.paths import Walk, Waypoint

_WAIT_S = 8.0  # seconds that somebody waits out of sight for company
_BEHIND_S = (0.15, 0.45)  # seconds behind: a fifth to a half of a body's width hidden at walking speed
_ASIDE = 0.25  # depth between the two, at most


@dataclass(frozen=True)
class Crowd:
    """Those who walk already, whom others may join.

    Attributes:
        walks: of everybody before. share: of the entries that join somebody, 0 to 1.
    """

    walks: Sequence[Walk]
    share: float
    rng: np.random.Generator

    def join(self, walk: Walk) -> Walk:
        """The walk, or one at the side of somebody who enters the same picture by the same side a little later."""
        if self.share == 0 or self.rng.random() >= self.share:
            return walk
        near = [
            other
            for other in self.walks
            if other.camera_id == walk.camera_id
            and (other.waypoints[0].x < 0.5) == (walk.waypoints[0].x < 0.5)
            and 0 <= other.start_s - walk.start_s <= _WAIT_S
        ]
        if not near:
            return walk
        other = near[int(self.rng.integers(len(near)))]
        behind_s, aside = self.rng.uniform(*_BEHIND_S), self.rng.uniform(-_ASIDE, _ASIDE)
        points = [Waypoint(p.at_s + behind_s, p.x, float(np.clip(p.depth + aside, 0, 1))) for p in other.waypoints]
        return Walk(walk.person_id, walk.camera_id, tuple(points), other.metres_wide)

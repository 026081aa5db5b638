"""One person's mask from frame to frame: what picture, plate, colours, shape and the last mask say together."""

from dataclasses import dataclass, field

import numpy as np

from pipeline.background.removal.carrying import Carrier
from pipeline.background.removal.colours import (
    ColourModel,
    band_index,
    colour_index,
    surroundings_log_density,
)
from pipeline.background.removal.evidence import background_log_density, guided
from pipeline.background.removal.lit_plate import Lit
from pipeline.background.removal.portrait import Portrait
from pipeline.background.removal.shape import ShapeModel
from pipeline.background.removal.view import BoolMask, FloatMap, View
from pipeline.types import FloatArray, ImageArray

_CARRIED = 0.3  # weight of the carried mask's log odds
_SHAPE = 0.6  # weight of the template's
_LEAST = 0.018  # share: the carried mask says at most this much (log odds of 4), or it could be wrong for ever
_CLAIM_SHAPE = 0.7  # between two people the plate says nothing: template and carried mask weigh more
_CLAIM_COLOUR = 3.0  # … and colours speak for their neighbours, too
_CLAIM_PORTRAIT = 2.0
_CLAIM_CARRIED = 0.3
_CLAIM_RADIUS_PX = 3
_MOST = 10.0  # log odds of one pixel before smoothing: one pixel does not outvote its neighbours
_RADIUS_PX = 2  # of the smoothing at working size
_SOFTNESS = 8.0  # levels: an edge of that height stops the smoothing
_SPEED_SHARE = 0.3  # of a new speed in the mean: boxes shake
REACH = 0.10  # of the box's sides: how far a person may reach out of the box


@dataclass(frozen=True, eq=False, slots=True)
class Sight:
    """One frame as the models need it, made once for everybody in it.

    Attributes:
        image: (H, W, 3) uint8 BGR. grey: (H, W) uint8.
        lit: the plate in this light; None where there is none.
    """

    image: ImageArray
    grey: ImageArray
    lit: Lit | None


@dataclass(frozen=True, eq=False, slots=True)
class Weights:
    """(h, w) each, at a view's working size.

    Attributes:
        odds: log odds of the person against the background.
        claim: how much the pixel is this person's rather than another's, log; comparable between people.
    """

    odds: FloatMap
    claim: FloatMap


@dataclass(eq=False, slots=True)
class Person:
    """What is known of one person, whose mask is being carried."""

    colours: ColourModel = field(default_factory=ColourModel)
    shape: ShapeModel = field(default_factory=ShapeModel)
    portrait: Portrait = field(default_factory=Portrait)
    view: View | None = None
    odds: FloatMap | None = None  # (h, w) of `view`: log odds that a pixel is the person's, what others hold taken away
    grey: ImageArray | None = None  # the frame that `odds` belongs to
    seen_s: float = 0.0  # message time of the last box
    box: FloatArray | None = None  # (4,) xyxy px of the frame, the last one
    speed: FloatArray | None = None  # (4,) px/s
    learnt_s: float = -np.inf

    def see(self, at_s: float, box: FloatArray) -> None:
        """Take in where the person is."""
        if self.box is not None and self.seen_s < at_s:
            speed = (box - self.box) / np.float32(at_s - self.seen_s)
            self.speed = speed if self.speed is None else self.speed + _SPEED_SHARE * (speed - self.speed)
        self.seen_s, self.box = at_s, np.asarray(box, np.float32)

    def expected(self, at_s: float) -> FloatArray:
        """Where the box is by now, if the person goes on as before: all four sides at one speed."""
        if self.box is None:
            raise ValueError("nobody was seen yet")
        if self.speed is None:
            return self.box
        mean = (self.speed[:2] + self.speed[2:]) / 2
        return np.asarray(self.box + np.tile(mean, 2) * np.float32(at_s - self.seen_s), np.float32)

    def weigh(self, sight: Sight, view: View, carrier: Carrier, contested: bool) -> Weights:
        """What speaks for the person in each pixel of the view; changes nothing.

        Args:
            contested: others' boxes touch this one.
        """
        image = view.take(sight.image)
        grey = view.take(sight.grey)
        index, bands = colour_index(image), band_index(view)
        colour = self.colours.log_density(index, bands)
        shape = self.shape.log_odds(view)
        carried = self._carried(sight, view, carrier)
        outside = ~_reach(view)
        odds = np.clip(colour - self._background(sight, view, image, index) + _SHAPE * shape, -_MOST, _MOST)
        odds = guided(odds + _CARRIED * carried, grey, _RADIUS_PX, _SOFTNESS)
        odds[outside] = -_MOST
        claim = odds
        if contested:
            looks = _CLAIM_COLOUR * colour + _CLAIM_PORTRAIT * self.portrait.likeness(image, view)
            places = _CLAIM_SHAPE * shape + _CLAIM_CARRIED * carried
            claim = guided(looks + places, grey, _CLAIM_RADIUS_PX, _SOFTNESS)
        return Weights(odds, claim)

    def _carried(self, sight: Sight, view: View, carrier: Carrier) -> FloatMap:
        """(h, w) log odds of the mask before, where it has moved to; 0 without one."""
        if self.odds is None or self.view is None or self.grey is None:
            return np.zeros((view.size[1], view.size[0]), np.float32)
        moved = np.clip(
            carrier.carry(_share(self.odds), (self.grey, self.view), (sight.grey, view)), _LEAST, 1 - _LEAST
        )
        return np.log(moved / (1 - moved))

    def _background(self, sight: Sight, view: View, image: ImageArray, index: np.ndarray) -> FloatMap:
        if sight.lit is None:
            return surroundings_log_density(index, ~_reach(view))
        background, seen = sight.lit.take(view)
        density = background_log_density(image.astype(np.float32), background, sight.lit.noise, view)
        if not seen.all():
            density = np.where(seen, density, surroundings_log_density(index, ~_reach(view)))
        return density

    def settle(self, sight: Sight, view: View, odds: FloatMap) -> None:
        """These are the person's log odds in this frame, others' pixels taken away."""
        self.view, self.odds, self.grey = view, odds, sight.grey

    def learn(self, sight: Sight, share: float, whole: bool, alone: BoolMask) -> None:
        """Learn colours, and of a person who is whole the shape, from the mask of this frame or a better one given."""
        if self.view is None or self.odds is None:
            return
        posterior = _share(self.odds)
        sure = np.where((posterior > 0.7) & alone, posterior, 0).astype(np.float32)
        image = self.view.take(sight.image)
        self.colours.learn(colour_index(image), band_index(self.view), sure, share)
        self.portrait.learn(image, sure, self.view)
        if whole:
            self.shape.learn(posterior, self.view)

    def teach(self, image: ImageArray, view: View, mask: FloatMap) -> None:
        """Take in a reference: (h, w) share in [0, 1] of each pixel of a view of `image` that is the person's."""
        sure = np.where(mask > 0.5, mask, 0).astype(np.float32)
        part = view.take(image)
        self.colours.learn(colour_index(part), band_index(view), sure, 1.0)
        self.portrait.learn(part, sure, view)


def _share(odds: FloatMap) -> FloatMap:
    """Log odds as shares in [0, 1]."""
    return (1 / (1 + np.exp(-odds))).astype(np.float32)


def _reach(view: View) -> BoolMask:
    """(h, w) where the person may be."""
    x1, y1, x2, y2 = view.box
    dx, dy = REACH * (x2 - x1), 0.5 * REACH * (y2 - y1)
    inside = np.zeros((view.size[1], view.size[0]), bool)
    inside[
        max(0, int(y1 - dy)) : max(0, int(np.ceil(y2 + dy))), max(0, int(x1 - dx)) : max(0, int(np.ceil(x2 + dx)))
    ] = True
    return inside

"""Where in its box a person is: what is true of everybody, and what was seen of this one."""

import cv2
import numpy as np

from pipeline.background.removal.view import FloatMap, View

_SIZE = (32, 64)  # (width, height) of the template, px: a box of 200 px at a third
_REACH = 0.25  # of the box's sides that the template shows around it
_LEARN = 0.3  # share of the new mask per lesson
_ODDS = 3.0  # the template says at most this much, log odds: limbs move


def _everybody() -> FloatMap:
    """A standing person, soft: (64, 32) share of boxes in which the pixel is a person's."""
    width, height = _SIZE
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    u = (x + 0.5) / width * (1 + 2 * _REACH) - _REACH - 0.5  # 0 in the middle of the box
    v = (y + 0.5) / height * (1 + 2 * _REACH) - _REACH  # 0 at its top
    half = np.interp(
        v, [-0.02, 0.03, 0.1, 0.16, 0.22, 0.5, 0.75, 0.97, 1.03], [0, 0.14, 0.17, 0.22, 0.4, 0.42, 0.36, 0.42, 0]
    )
    edge = np.clip((half - np.abs(u)) / 0.22 + 0.5, 0.02, 0.95)
    return np.where((v < -0.04) | (v > 1.05), 0.02, edge).astype(np.float32)


class ShapeModel:
    """The share of the last masks that covered each place in the box."""

    def __init__(self) -> None:
        self._template = _everybody()

    def log_odds(self, view: View) -> FloatMap:
        """(h, w) how much the place speaks for the person."""
        odds = np.log(self._template / (1 - self._template))
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        matrix = _to_template(view)
        least = float(np.log(0.02 / 0.98))
        placed = cv2.warpAffine(
            odds, matrix, view.size, flags=flags, borderMode=cv2.BORDER_CONSTANT, borderValue=(least,)
        )
        return np.clip(placed, -_ODDS, _ODDS)

    def learn(self, posterior: FloatMap, view: View) -> None:
        """Take in a mask (h, w) in [0, 1] of somebody who is whole and free."""
        seen = cv2.warpAffine(posterior, _to_template(view), _SIZE, flags=cv2.INTER_AREA)
        seen = cv2.GaussianBlur(seen, (5, 5), 0)
        self._template = np.clip((1 - _LEARN) * self._template + _LEARN * seen, 0.02, 0.97).astype(np.float32)


def _to_template(view: View) -> FloatMap:
    """(2, 3) from view pixels to template pixels."""
    x1, y1, x2, y2 = view.box
    sx = _SIZE[0] / ((x2 - x1) * (1 + 2 * _REACH))
    sy = _SIZE[1] / ((y2 - y1) * (1 + 2 * _REACH))
    left, top = x1 - _REACH * (x2 - x1), y1 - _REACH * (y2 - y1)
    return np.array([[sx, 0, (0.5 - left) * sx - 0.5], [0, sy, (0.5 - top) * sy - 0.5]], np.float32)

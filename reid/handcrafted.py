"""A colour-and-gradient descriptor of a person as a map, for when no trained weights are at hand. No PyTorch.

Each crop becomes a map of `BANDS` rows: grey-world normalisation, then per row a soft histogram of hue, greys and
gradient directions over the pixels that probably show the person, under a square root (the Hellinger mapping: inner
products compare histograms by their overlap, not by their largest bins). A row writes into channels of its own, so
that averaging over the map keeps what is worn where, whatever the head. A row that differs from what is left and
right of it in the box weighs more: that is its energy, so STA's attention turns to frames in which a stripe stands out.
"""

from collections.abc import Sequence

import cv2
import numpy as np
import numpy.typing as npt

from pipeline.ports import EncoderDescription
from pipeline.types import CropFeature, FloatArray, Frame, ImageArray
from reid.crops import check_stripes, cut_crops, pool_stripes, to_features

MODEL_ID = "handcrafted@1"  # the number rises whenever features change

HEIGHT_PX, WIDTH_PX = 128, 64  # of the crop: enough for colours, 4 times as fast as the backbones' input
BANDS = 8  # rows of the map; sixteen are no better over three colour casts, and feel a shifted box more
HUES = 12  # soft bins of 30 degrees
GREYS = 6  # soft bins from black to white
DIRECTIONS = 6  # soft bins of 30 degrees, unsigned
CELL_CHANNELS = 2 * HUES + GREYS + DIRECTIONS  # each hue dark and bright
DIRECTION_SHARE = 0.1  # of a histogram's mass; clothes differ by colour first
GREY_CHROMA, FULL_CHROMA = 0.06, 0.20  # chroma (max - min of RGB, 0 to 1) where a colour begins, and is certain
LEAST_WEIGHT = 0.5  # of a row that looks like what is beside it; energies below it would make one row count for all
TARGET_LEVEL = 0.42  # mean of a normalised crop, 0 to 1
MAX_GAIN = 3.0  # of the normalisation: noise in a dark crop is not a colour


class HandcraftedEncoder:
    """`pipeline.ports.CropEncoder` without weights: its map vectors are the features (no projection)."""

    def __init__(self, stripes: int = 4) -> None:
        """Raises ConfigError for stripes that do not divide the map's rows."""
        check_stripes(stripes, BANDS)
        self._description = EncoderDescription(MODEL_ID, stripes, BANDS * CELL_CHANNELS, None)
        self._person = person_prior()
        self._surround = surround_prior()
        self._bands = band_windows()

    def describe(self) -> EncoderDescription:
        """See `pipeline.ports.CropEncoder`."""
        return self._description

    def encode(self, frames: Sequence[Frame], boxes: Sequence[FloatArray]) -> list[list[CropFeature]]:
        """See `pipeline.ports.CropEncoder`; a box without a pixel in the picture gets zeros."""
        crops, seen = cut_crops(frames, boxes, HEIGHT_PX, WIDTH_PX)
        maps = np.zeros((len(crops), BANDS * CELL_CHANNELS, BANDS, 1), np.float32)
        for place in np.flatnonzero(seen):  # a loop: a crop's histograms take longer than the loop around them
            maps[place] = self._map(crops[place])
        means, energy = pool_stripes(maps, self._description.stripes)
        return to_features(frames, boxes, (means, energy, seen), MODEL_ID)

    def _map(self, crop: ImageArray) -> FloatArray:
        """(BANDS * CELL_CHANNELS, BANDS, 1) of one crop (HEIGHT_PX, WIDTH_PX, 3) uint8 BGR."""
        colours = grey_world(crop)
        votes = np.concatenate([colour_votes(colours), direction_votes(colours)], axis=2)  # (H, W, CELL_CHANNELS)
        person = self._roots(self._person, votes)
        likeness = (person * self._roots(self._surround, votes)).sum(axis=1, keepdims=True)  # (BANDS, 1), 0 to 1
        distinct = np.sqrt(np.clip(1 - likeness, 0, 1))  # Hellinger distance from what is left and right
        placed = np.zeros((BANDS, CELL_CHANNELS, BANDS), np.float32)
        placed[np.arange(BANDS), :, np.arange(BANDS)] = person * (LEAST_WEIGHT + (1 - LEAST_WEIGHT) * distinct)
        return placed.reshape(BANDS * CELL_CHANNELS, BANDS, 1)

    def _roots(self, prior: FloatArray, votes: FloatArray) -> FloatArray:
        """(BANDS, CELL_CHANNELS) roots of the bands' histograms, each row of norm 1."""
        histograms = self._bands @ np.einsum("hw,hwd->hd", prior, votes)
        return np.sqrt(histograms / np.maximum(histograms.sum(axis=1, keepdims=True), 1e-9))


def person_prior() -> FloatArray:
    """(HEIGHT_PX, WIDTH_PX) how probably a pixel of an upright person's box shows the person; at most 1.

    A bell across the box, narrower at the head (share .11 of the width) than at the shoulders (.20) and legs (.17),
    as in the mean silhouette of a walking person.
    """
    y = (np.arange(HEIGHT_PX) + 0.5) / HEIGHT_PX
    x = (np.arange(WIDTH_PX) + 0.5) / WIDTH_PX
    width = np.interp(y, (0.0, 0.12, 0.22, 0.5, 0.9, 1.0), (0.10, 0.11, 0.20, 0.20, 0.17, 0.17))
    return np.exp(-0.5 * ((x[None, :] - 0.5) / width[:, None]) ** 2).astype(np.float32)


def surround_prior() -> FloatArray:
    """(HEIGHT_PX, WIDTH_PX) the opposite of `person_prior`: the left and right margins of the box."""
    x = (np.arange(WIDTH_PX) + 0.5) / WIDTH_PX
    across = 1 - np.exp(-0.5 * ((x - 0.5) / 0.3) ** 2)  # 0.3: reaches .75 at the edge and nothing in the middle
    return np.broadcast_to(across, (HEIGHT_PX, WIDTH_PX)).astype(np.float32)


def band_windows() -> FloatArray:
    """(BANDS, HEIGHT_PX) how much each row of pixels counts for each band: triangles, so that shifts fade in."""
    centre = (np.arange(BANDS)[:, None] + 0.5) * HEIGHT_PX / BANDS
    away = np.abs(np.arange(HEIGHT_PX)[None, :] + 0.5 - centre) * BANDS / HEIGHT_PX  # in bands
    return np.clip(1.0 - away, 0, 1).astype(np.float32)


def grey_world(crop: ImageArray) -> FloatArray:
    """The crop as float32 BGR 0 to 1 with equal channel means: a colour cast or exposure scales channels, and goes.

    Gains stop at MAX_GAIN, and a black crop stays black.
    """
    colours = crop.astype(np.float32) / 255
    mean = colours.reshape(-1, 3).mean(axis=0)
    gain = np.minimum(TARGET_LEVEL / np.maximum(mean, 1e-6), MAX_GAIN)
    return np.minimum(colours * gain, 1.0).astype(np.float32)


def colour_votes(colours: FloatArray) -> FloatArray:
    """(H, W, 2 * HUES + GREYS) each pixel's vote, summing to 1 - DIRECTION_SHARE: on its hue as far as it has one."""
    hsv = cv2.cvtColor(colours, cv2.COLOR_BGR2HSV)
    hue, value = hsv[..., 0], hsv[..., 2]
    chroma = hsv[..., 1] * value
    colourful = np.clip((chroma - GREY_CHROMA) / (FULL_CHROMA - GREY_CHROMA), 0, 1)
    bright = np.clip((value - 0.35) / 0.3, 0, 1)  # between dark (below .35) and bright (above .65)
    hues = soft_bins(hue / 360 * HUES, HUES, circular=True) * colourful[..., None]
    greys = soft_bins(np.clip(value, 0, 1) * (GREYS - 1), GREYS, circular=False) * (1 - colourful)[..., None]
    votes = np.concatenate([hues * (1 - bright)[..., None], hues * bright[..., None], greys], axis=2)
    return votes * np.float32(1 - DIRECTION_SHARE)


def direction_votes(colours: FloatArray) -> FloatArray:
    """(H, W, DIRECTIONS) votes for the gradient's direction, by its share of the strongest gradients of the crop."""
    grey = cv2.GaussianBlur(cv2.cvtColor(colours, cv2.COLOR_BGR2GRAY), (3, 3), 0)
    across, down = cv2.Sobel(grey, cv2.CV_32F, 1, 0), cv2.Sobel(grey, cv2.CV_32F, 0, 1)
    strength = np.hypot(across, down)
    angle = np.mod(np.arctan2(down, across), np.pi) / np.pi * DIRECTIONS
    share = strength / max(float(np.quantile(strength, 0.95)), 1e-3)
    votes: FloatArray = soft_bins(angle, DIRECTIONS, circular=True) * np.minimum(share, 1)[..., None]
    return votes * np.float32(DIRECTION_SHARE)


def soft_bins(position: npt.NDArray[np.float32], bins: int, circular: bool) -> FloatArray:
    """(..., bins) weights of the two bins nearest to each position (in bins, 0 to `bins`), summing to 1."""
    away = np.abs(position[..., None] - np.arange(bins, dtype=np.float32))
    if circular:
        away = np.minimum(away, bins - away)
    return np.clip(1 - away, 0, 1)

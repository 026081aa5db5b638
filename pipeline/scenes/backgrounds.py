"""Procedural pictures of empty rooms and streets: a textured wall with doors and pictures, a floor in perspective."""

from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
import numpy.typing as npt

from pipeline.types import ImageArray

Canvas = npt.NDArray[np.float32]  # (H, W, 3) BGR, 0 to 255
Style = Literal["lobby", "street", "hall"]
STYLES: tuple[Style, ...] = ("lobby", "street", "hall")


@dataclass(frozen=True, slots=True)
class Room:
    """What a camera looks at. Colours are BGR, lengths px.

    Attributes:
        floor_y: where the wall meets the floor. horizon_y: where the floor's lines meet.
    """

    style: Style
    width_px: int
    height_px: int
    horizon_y: float
    floor_y: int


def render_background(room: Room, rng: np.random.Generator) -> ImageArray:
    """(H, W, 3) uint8 BGR, neutral light; the same generator state gives the same picture."""
    canvas = np.zeros((room.height_px, room.width_px, 3), np.float32)
    wall = {"lobby": _plaster, "street": _bricks, "hall": _panels}[room.style]
    floor = {"lobby": _tiles, "street": _paving, "hall": _planks}[room.style]
    wall(canvas[: room.floor_y], rng)
    _furnish(canvas, room, rng)
    floor(canvas, room, rng)
    _shade_corner(canvas, room)
    canvas *= _light(canvas.shape[:2], rng)
    return np.asarray(np.clip(np.round(canvas), 0, 255), np.uint8)


def cloud(shape: tuple[int, int], cell_px: float, rng: np.random.Generator) -> npt.NDArray[np.float32]:
    """(H, W) smooth random field of mean 0 and about deviation 1, with blobs of `cell_px`."""
    rows, columns = (max(2, int(np.ceil(side / cell_px)) + 1) for side in shape)
    grid = rng.standard_normal((rows, columns)).astype(np.float32)
    return np.asarray(cv2.resize(grid, (shape[1], shape[0]), interpolation=cv2.INTER_CUBIC), np.float32)


def _grain(canvas: Canvas, cells: tuple[tuple[float, float], ...], rng: np.random.Generator) -> None:
    """Add texture in place: (size of the blobs in px, their strength in grey values) each."""
    for cell_px, strength in cells:
        canvas += (strength * cloud((canvas.shape[0], canvas.shape[1]), cell_px, rng))[:, :, None]


def _light(shape: tuple[int, int], rng: np.random.Generator) -> Canvas:
    """(H, W, 1) uneven light: soft patches and darker corners."""
    y, x = np.mgrid[-1 : 1 : shape[0] * 1j, -1 : 1 : shape[1] * 1j]  # type: ignore[misc]
    vignette = 1.04 - 0.14 * (x**2 + y**2)
    return np.asarray((vignette + 0.03 * cloud(shape, 160, rng))[:, :, None], np.float32)


def _plaster(wall: Canvas, rng: np.random.Generator) -> None:
    wall[:] = np.array([176, 190, 196], np.float32) + rng.uniform(-12, 12, 3).astype(np.float32)
    _grain(wall, ((2, 2.5), (9, 2.5), (60, 4)), rng)
    wall[-14:] *= 0.72  # skirting board


def _bricks(wall: Canvas, rng: np.random.Generator) -> None:
    base = np.array([104, 122, 160], np.float32) + rng.uniform(-10, 10, 3).astype(np.float32)
    height, length = 13, 34
    for row, top in enumerate(range(0, wall.shape[0], height)):
        offset = -(length // 2) * (row % 2)
        for left in range(offset, wall.shape[1], length):
            shade = 1 + 0.07 * rng.standard_normal()
            wall[top : top + height - 2, max(left, 0) : max(left + length - 2, 0)] = base * shade
    wall[wall.sum(axis=2) == 0] = (140, 148, 152)  # mortar
    _grain(wall, ((2, 4), (40, 4)), rng)


def _panels(wall: Canvas, rng: np.random.Generator) -> None:
    wall[:] = np.array([168, 164, 158], np.float32) + rng.uniform(-10, 10, 3).astype(np.float32)
    for left in range(int(rng.integers(20, 90)), wall.shape[1], 150):
        wall[:, left : left + 2] *= 0.75
    for top in range(int(rng.integers(30, 60)), wall.shape[0], 84):
        wall[top : top + 2] *= 0.8
    _grain(wall, ((3, 3), (25, 4)), rng)


def _furnish(canvas: Canvas, room: Room, rng: np.random.Generator) -> None:
    """A door and a few pictures or windows, side by side along the wall."""
    slots = rng.permutation(4)
    width = room.width_px / 4
    _door(canvas, room, int(slots[0] * width + rng.uniform(0.1, 0.2) * width), rng)
    for slot in slots[1:3]:
        _frame(canvas, room, int(slot * width + rng.uniform(0.1, 0.25) * width), rng)


def _door(canvas: Canvas, room: Room, left: int, rng: np.random.Generator) -> None:
    width, height = round(0.17 * room.width_px), round(0.62 * room.height_px)
    top = max(room.floor_y - height, 4)
    leaf = canvas[top : room.floor_y, left : left + width]
    leaf[:] = np.array([92, 116, 142], np.float32) * rng.uniform(0.8, 1.15)
    grain = cloud((leaf.shape[0], leaf.shape[1]), 4, rng)
    leaf += (5 * cv2.blur(grain, (1, 25)))[:, :, None]
    for edge in (leaf[:5], leaf[:, :5], leaf[:, -5:]):
        edge *= 0.8
    knob = (left + width - 16, (top + room.floor_y) // 2 + 12)
    cv2.circle(canvas, knob, 4, (170.0, 180.0, 185.0), -1, cv2.LINE_AA)


def _frame(canvas: Canvas, room: Room, left: int, rng: np.random.Generator) -> None:
    width, height = round(rng.uniform(0.13, 0.17) * room.width_px), round(rng.uniform(0.16, 0.24) * room.height_px)
    top = round(rng.uniform(0.12, 0.25) * room.floor_y)
    inside = canvas[top : top + height, left : left + width]
    inside[:] = rng.uniform(70, 190, 3).astype(np.float32)
    shape = (inside.shape[0], inside.shape[1])
    inside += np.stack([14 * cloud(shape, 22, rng) for _ in range(3)], axis=2)
    border = np.array([60, 70, 80], np.float32) * rng.uniform(0.8, 1.6)
    for edge in (inside[:4], inside[-4:], inside[:, :4], inside[:, -4:]):
        edge[:] = border


def _ground(room: Room) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Coordinates across and along the floor, both (rows, W), in units of the camera's height above it."""
    y = np.arange(room.floor_y, room.height_px)[:, None] - room.horizon_y
    x = np.arange(room.width_px)[None, :] - room.width_px / 2
    along = room.height_px / y
    return x / y, np.broadcast_to(along, (len(y), room.width_px))


def _joints(across: npt.NDArray[np.float64], along: npt.NDArray[np.float64], width: float) -> npt.NDArray[np.bool_]:
    """Where the lines of a unit grid run, `width` units wide."""
    return np.logical_or(across % 1 < width, along % 1 < width)


def _tiles(canvas: Canvas, room: Room, rng: np.random.Generator) -> None:
    floor = canvas[room.floor_y :]
    across, along = _ground(room)
    u, v = across * 2.2, along * 2.2
    checker = (np.floor(u) + np.floor(v)) % 2
    floor[:] = np.where(checker[:, :, None] > 0, (150.0, 158.0, 164.0), (132.0, 138.0, 144.0))
    floor[_joints(u, v, 0.03)] = (118, 120, 122)
    _grain(floor, ((2, 2), (30, 4)), rng)


def _paving(canvas: Canvas, room: Room, rng: np.random.Generator) -> None:
    floor = canvas[room.floor_y :]
    across, along = _ground(room)
    row = np.floor(along * 3)
    u = across * 2.0 + 0.5 * (row % 2)
    stone = rng.uniform(0.9, 1.08, (64, 64))
    shade = stone[row.astype(int) % 64, np.floor(u).astype(int) % 64]
    floor[:] = np.array([128, 132, 134]) * shade[:, :, None]
    floor[_joints(u, along * 3, 0.05)] *= 0.78
    _grain(floor, ((1.5, 5), (40, 4)), rng)


def _planks(canvas: Canvas, room: Room, rng: np.random.Generator) -> None:
    floor = canvas[room.floor_y :]
    across, along = _ground(room)
    row = np.floor(along * 6)
    u = across * 0.8 + (row * 0.37) % 1
    stone = rng.uniform(0.86, 1.12, (64, 64))
    shade = stone[row.astype(int) % 64, np.floor(u).astype(int) % 64]
    floor[:] = np.array([84, 116, 150]) * shade[:, :, None]
    floor[_joints(u, along * 6, 0.03)] *= 0.8
    _grain(floor, ((2, 3), (50, 4)), rng)


def _shade_corner(canvas: Canvas, room: Room) -> None:
    """Wall and floor darken where they meet."""
    distance = np.abs(np.arange(room.height_px) - room.floor_y)
    canvas *= (1 - 0.22 * np.exp(-distance / 9.0))[:, None, None].astype(np.float32)

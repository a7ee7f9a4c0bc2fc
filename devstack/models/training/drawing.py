"""Draws scenes: pictures and clips as arrays of height, width and colour."""

import math
import random
from dataclasses import dataclass
from typing import Any

from devstack.models.training.captions import COLOURS, MOVES, PLACES, Scene

_FINER = 4
"""Drawn so many times larger and made smaller again: smooth edges."""

_RADII = (0.21, 0.26)
_JITTER = 0.015
_WAY = 0.22
"""How far from the middle a moving shape starts and ends."""

_EQUAL_AREA = {"circle": 1.0, "square": 0.9, "triangle": 1.2, "star": 1.15}
"""Shapes of one radius look equally large."""


@dataclass(frozen=True, slots=True)
class Pose:
    """Where a shape is and how large, as shares of the picture's side."""

    x: float
    y: float
    radius: float

    def moved(self, direction: tuple[int, int], share: float) -> "Pose":
        """Return where it is on its way through the middle; `share` goes from 0 to 1."""
        way = _WAY * (2 * share - 1)
        return Pose(self.x + direction[0] * way, self.y + direction[1] * way, self.radius)


def pose(scene: Scene, rng: random.Random) -> Pose:
    """Return a pose that the scene's words allow; the middle for what moves."""
    x, y = PLACES.get(scene.where, (0.5, 0.5))
    return Pose(
        x + rng.uniform(-_JITTER, _JITTER),
        y + rng.uniform(-_JITTER, _JITTER),
        rng.uniform(*_RADII),
    )


def picture(scene: Scene, at: Pose, side: int) -> Any:
    """Return the scene as an array of bytes."""
    import numpy as np
    from PIL import Image, ImageDraw

    canvas = Image.new("RGB", (side * _FINER, side * _FINER), COLOURS[scene.ground])
    radius = at.radius * _EQUAL_AREA[scene.shape]
    points = [
        ((at.x + radius * x) * side * _FINER, (at.y + radius * y) * side * _FINER)
        for x, y in outline(scene.shape)
    ]
    ImageDraw.Draw(canvas).polygon(points, fill=COLOURS[scene.colour])
    return np.asarray(canvas.reduce(_FINER))


def clip(scene: Scene, at: Pose, side: int, frames: int) -> Any:
    """Return frames in which the shape goes where it is said to go, or stands still."""
    import numpy as np

    if scene.where not in MOVES:
        return np.stack([picture(scene, at, side)] * frames)
    last = max(1, frames - 1)
    return np.stack(
        [
            picture(scene, at.moved(MOVES[scene.where], number / last), side)
            for number in range(frames)
        ]
    )


def outline(shape: str) -> list[tuple[float, float]]:
    """Return a shape's corners around 0, within a radius of 1; y grows downwards."""
    if shape == "square":
        return [(-1, -1), (1, -1), (1, 1), (-1, 1)]
    if shape == "triangle":
        return [(0, -0.9), (1, 0.8), (-1, 0.8)]
    corners = 10 if shape == "star" else 48
    radii = (1.0, 0.42) if shape == "star" else (1.0, 1.0)
    turns = [2 * math.pi * number / corners for number in range(corners)]
    return [
        (radii[number % 2] * math.sin(turn), -radii[number % 2] * math.cos(turn))
        for number, turn in enumerate(turns)
    ]


def as_tensor(pictures: list[Any]) -> Any:
    """Return pictures or clips as autoencoders take them: channels first, from -1 to 1."""
    import numpy as np
    import torch

    return torch.from_numpy(np.stack(pictures)).movedim(-1, 1).float() / 127.5 - 1

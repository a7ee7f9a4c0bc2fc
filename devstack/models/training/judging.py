"""Says what a picture shows, by its pixels alone: colours, shape and place."""

import functools
import math
from dataclasses import dataclass
from typing import Any

from devstack.models.training.captions import COLOURS, MOVES, PLACES, SHAPES, Scene
from devstack.models.training.drawing import Pose, picture

_LEAST = 0.01
"""The least share of the picture that counts as a shape."""

_MASK = 24
_STILL = 0.1
"""A way that is shorter, as a share of the picture's side, is no move."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What a picture shows; empty words where there is no shape."""

    ground: str
    colour: str = ""
    shape: str = ""
    centre: tuple[float, float] = (0.5, 0.5)

    def place(self) -> str:
        """Return the place that is nearest to the shape's centre."""
        return min(PLACES, key=lambda name: math.dist(PLACES[name], self.centre))


def seen(pixels: Any) -> Seen:
    """Return what an array of bytes shows."""
    import numpy as np

    names = list(COLOURS)
    nearest = _nearest(pixels)
    border = np.concatenate([nearest[:2].ravel(), nearest[-2:].ravel()])
    ground = _most(border)
    inside = np.bincount(nearest.ravel(), minlength=len(names))
    inside[ground] = 0
    colour = int(inside.argmax())
    if inside[colour] < _LEAST * nearest.size:
        return Seen(names[ground])
    mask = nearest == colour
    height, width = mask.shape
    rows, columns = np.nonzero(mask)
    centre = ((columns.mean() + 0.5) / width, (rows.mean() + 0.5) / height)
    return Seen(names[ground], names[colour], _shape(mask), centre)


def move(frames: Any) -> str:
    """Return which of `MOVES` a clip shows, or an empty word."""
    centres = [seen(frame).centre for frame in (frames[0], frames[-1])]
    x, y = (end - start for start, end in zip(*centres, strict=True))
    if math.hypot(x, y) < _STILL:
        return ""
    return max(MOVES, key=lambda name: MOVES[name][0] * x + MOVES[name][1] * y)


def _nearest(pixels: Any) -> Any:
    """Return for each pixel the number of the colour it is nearest to."""
    import numpy as np

    palette = np.array(list(COLOURS.values()), dtype="float32")
    return ((pixels[..., None, :].astype("float32") - palette) ** 2).sum(-1).argmin(-1)


def _most(numbers: Any) -> int:
    import numpy as np

    return int(np.bincount(numbers).argmax())


def _shape(mask: Any) -> str:
    cut = _cut(mask)
    return max(SHAPES, key=lambda shape: float((cut == _template(shape)).mean()))


@functools.cache
def _template(shape: str) -> Any:
    drawn = picture(Scene(shape, "black", "white", "in the middle"), Pose(0.5, 0.5, 0.3), 128)
    return _cut(drawn[..., 0] < 128)  # noqa: PLR2004 -- half way from black to white


def _cut(mask: Any) -> Any:
    """Return what is set, filling a small square."""
    import numpy as np
    from PIL import Image

    rows, columns = np.nonzero(mask)
    part = mask[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
    small = Image.fromarray((part * 255).astype("uint8")).resize(
        (_MASK, _MASK), Image.Resampling.BOX
    )
    return np.asarray(small) > 127  # noqa: PLR2004 -- more than half of it

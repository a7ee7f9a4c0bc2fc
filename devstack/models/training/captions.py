"""What the demo's models are asked for: coloured shapes, where they are and how they move.

Some combinations of shape, colour and background are held out: training never draws them, so that
a caption of one of them measures what was understood and not what was remembered.
"""

import itertools
import random
from dataclasses import dataclass

SEED = 7

COLOURS: dict[str, tuple[int, int, int]] = {
    "red": (220, 30, 40),
    "orange": (255, 140, 20),
    "yellow": (250, 225, 50),
    "green": (30, 150, 60),
    "blue": (35, 80, 215),
    "purple": (145, 50, 170),
    "black": (15, 15, 20),
    "white": (250, 250, 250),
}
SHAPES = ("circle", "square", "triangle", "star")
PLACES: dict[str, tuple[float, float]] = {
    "on the left": (0.3, 0.5),
    "on the right": (0.7, 0.5),
    "at the top": (0.5, 0.3),
    "at the bottom": (0.5, 0.7),
    "in the middle": (0.5, 0.5),
}
"""Where a shape's centre is, as shares of width and height."""

MOVES: dict[str, tuple[int, int]] = {
    "moves to the right": (1, 0),
    "moves to the left": (-1, 0),
    "moves up": (0, -1),
    "moves down": (0, 1),
}
"""Where a shape goes, with y downwards."""

_HELD_OUT = 40


@dataclass(frozen=True, slots=True)
class Scene:
    """One shape on a background; it stands at a place or moves through the middle."""

    shape: str
    colour: str
    ground: str
    where: str
    """One of `PLACES` or of `MOVES`."""

    def caption(self) -> str:
        """Return all that can be said of it."""
        return f"{self._shape()} {self.where}, {self.ground} background"

    def some_caption(self, rng: random.Random) -> str:
        """Return one of many ways to say it, or to say less; where it goes is always said."""
        moves = self.where in MOVES
        where = f" {self.where}" if moves or rng.random() < 0.9 else ""  # noqa: PLR2004
        ground = rng.choice(
            [f", {self.ground} background"] * 4
            + [f" on {_with_article(self.ground)} background", f", on {self.ground}", ""]
        )
        return f"{self._shape()}{where}{ground}"

    def _shape(self) -> str:
        return f"{_with_article(self.colour)} {self.shape}"


def held_out(wheres: tuple[str, ...] = tuple(PLACES)) -> list[Scene]:
    """Return the scenes that training never sees, each with one of the places or moves."""
    rng = random.Random(SEED)  # noqa: S311 -- the same for everyone on purpose
    scenes = rng.sample(_combinations(), _HELD_OUT)
    return [Scene(*scene, wheres[number % len(wheres)]) for number, scene in enumerate(scenes)]


def drawn_at_random(rng: random.Random, wheres: tuple[str, ...] = tuple(PLACES)) -> Scene:
    """Return a scene for training."""
    return Scene(*rng.choice(_SEEN), rng.choice(wheres))


def _combinations() -> list[tuple[str, str, str]]:
    """Return every shape, colour and background that can be told apart."""
    everything = itertools.product(SHAPES, COLOURS, COLOURS)
    return [scene for scene in everything if scene[1] != scene[2]]


def _with_article(word: str) -> str:
    return f"an {word}" if word[0] in "aeiou" else f"a {word}"


_SEEN = sorted(
    set(_combinations()) - {(scene.shape, scene.colour, scene.ground) for scene in held_out()}
)

"""The pieces of one answer, as far as anybody could still want them. Pure.

Offsets count as JavaScript does, in units of UTF-16: `answer.slice(0, offset) + text` is right
whatever came twice.
"""

from dataclasses import dataclass
from itertools import takewhile

MAX_TEXT = 2**20
"""Units of UTF-16 that are kept of an answer: some eight times what today's models can say."""

MAX_PIECES = 1000
"""Pieces that are told apart; of more, the older half becomes one piece."""


class Piece:
    """Text that came in one or more parts, the last of them with `number`."""

    __slots__ = ("number", "offset", "parts")

    def __init__(self, number: int, offset: int, parts: list[str]) -> None:
        self.number = number
        self.offset = offset
        self.parts = parts

    @property
    def text(self) -> str:
        """The parts as one."""
        if len(self.parts) > 1:
            self.parts = ["".join(self.parts)]
        return self.parts[0]


@dataclass(frozen=True, slots=True)
class Excerpt:
    """A piece as a reader gets it."""

    number: int
    offset: int
    text: str


class Transcript:
    """An answer that grows. Beyond its bounds the oldest text goes."""

    __slots__ = ("_kept", "_length", "_pieces", "lost_before")

    def __init__(self) -> None:
        self.lost_before = 0
        """Who has seen no event as late as this one has lost text."""
        self._pieces: list[Piece] = []
        self._length = 0
        self._kept = 0

    @property
    def begins_at(self) -> int:
        """Where in the answer the text that is kept begins."""
        return self._pieces[0].offset if self._pieces else 0

    @property
    def whole(self) -> str | None:
        """The answer so far; None when its beginning isn't kept any more."""
        return None if self.begins_at else "".join(piece.text for piece in self._pieces)

    def tell(self, number: int, text: str, given: int) -> None:
        """Add the next part; one after a piece that nobody was given yet becomes part of it.

        Args:
            number: of the event.
            text: the part.
            given: the latest event that any reader was given.
        """
        if self._pieces and self._pieces[-1].number > given:
            self._pieces[-1].number = number
            self._pieces[-1].parts.append(text)
        else:
            self._pieces.append(Piece(number, self._length, [text]))
        size = units(text)
        self._length += size
        self._kept += size
        if len(self._pieces) > MAX_PIECES:
            self._merge()
        while self._kept > MAX_TEXT and self._drop():
            pass

    def since(self, number: int, told: int) -> list[Excerpt]:
        """Return the pieces after that event, without the `told` units that the reader has."""
        newer = list(takewhile(lambda piece: piece.number > number, reversed(self._pieces)))
        return [_excerpt(piece, told) for piece in reversed(newer)]

    def _merge(self) -> None:
        older = self._pieces[: len(self._pieces) // 2]
        whole = "".join(piece.text for piece in older)
        self._pieces[: len(older)] = [Piece(older[-1].number, older[0].offset, [whole])]

    def _drop(self) -> bool:
        """Drop the older half of the oldest piece's parts; return False if only one is left."""
        oldest = self._pieces[0]
        gone = (len(oldest.parts) + (len(self._pieces) > 1)) // 2
        if not gone:
            return False
        dropped = sum(units(part) for part in oldest.parts[:gone])
        del oldest.parts[:gone]
        oldest.offset += dropped
        self._kept -= dropped
        self.lost_before = oldest.number
        if not oldest.parts:
            del self._pieces[0]
        return True


def units(text: str) -> int:
    """Return the length of a text as JavaScript has it."""
    return len(text) if text.isascii() else len(_encoded(text)) // 2


def _excerpt(piece: Piece, told: int) -> Excerpt:
    if told <= piece.offset:
        return Excerpt(piece.number, piece.offset, piece.text)
    rest = _encoded(piece.text)[2 * (told - piece.offset) :]
    return Excerpt(piece.number, told, rest.decode("utf-16-le", "surrogatepass"))


def _encoded(text: str) -> bytes:
    return text.encode("utf-16-le", "surrogatepass")

"""What may be said of an answer while it is written: nothing of the text that stops it. Pure."""

from collections.abc import Sequence


class Speech:
    """An answer that grows piece by piece and ends before the first of its stop strings."""

    def __init__(self, stops: Sequence[str] = ()) -> None:
        self._stops = stops
        # So much may be the beginning of a stop string, and waits for what follows.
        self._held = max(map(len, stops), default=1) - 1
        self._text = ""
        self._said = 0
        self.stopped = False

    @property
    def text(self) -> str:
        """The answer, without the stop string and what follows it."""
        return self._text

    def add(self, piece: str) -> str:
        """Take the next piece; return what may be said now."""
        searched = max(0, len(self._text) - self._held)
        self._text += piece
        found = [at for stop in self._stops if (at := self._text.find(stop, searched)) >= 0]
        if found:
            self._text = self._text[: min(found)]
            self.stopped = True
        return self._say(len(self._text) if self.stopped else len(self._text) - self._held)

    def rest(self) -> str:
        """Return what was held back; the answer has ended."""
        return self._say(len(self._text))

    def _say(self, until: int) -> str:
        said, self._said = self._said, max(self._said, until)
        return self._text[said : self._said]

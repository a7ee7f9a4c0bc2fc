"""One of several equal parts of a run."""

from handlers.base import Control


class Part:
    """Implements `Control` for part `number`, from 0, of `parts`."""

    def __init__(self, whole: Control, number: int, parts: int) -> None:
        self._whole = whole
        self._number = number
        self._parts = parts

    def step(
        self, current_step: str, fraction: float, step: int | None = None, steps: int | None = None
    ) -> None:
        """Report the part's step as one of the whole."""
        if step is not None and steps is not None:
            step, steps = self._number * steps + step, self._parts * steps
        self._whole.step(current_step, (self._number + fraction) / self._parts, step, steps)

    def tell(self, text: str) -> None:
        """Hand out the next piece of an answer."""
        self._whole.tell(text)

    def show(self, picture: bytes) -> None:
        """Hand out what is drawn so far of this part."""
        self._whole.show(picture)

    def check(self) -> None:
        """Raise `StoppedError` if the run shall stop."""
        self._whole.check()

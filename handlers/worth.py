"""Whether a batch is faster than its parts one after the other: tried, timed, decided. Pure.

On a GPU that one picture doesn't fill, a batch of two takes less than twice the time; on a full
one, or on a CPU, it takes as long or longer. Which it is depends on size, weights and device.
"""

_ENOUGH = 3
"""The first call of a new shape compiles and tunes kernels, and noise only ever adds: of so many
timings the shortest counts."""


class Worth:
    """Timings of one shape, by how many were computed together.

    Args:
        gain: a batch is worth it if it takes less than this share of its parts' time.
    """

    def __init__(self, gain: float = 0.97) -> None:
        self._gain = gain
        self._seconds: dict[int, list[float]] = {}
        self._most: int | None = None

    def wants(self, number: int) -> bool:
        """Say whether so many shall be computed together, to find out or since it is faster."""
        if number == 1 or (self._most is not None and number > self._most):
            return False
        if self.open(1) or self.open(number):
            return True
        return min(self._seconds[number]) < self._gain * number * min(self._seconds[1])

    def open(self, number: int) -> bool:
        """Say whether a timing of so many together would be news."""
        return len(self._seconds.get(number, ())) < _ENOUGH

    def note(self, number: int, seconds: float) -> None:
        """Take how long so many took together."""
        if self.open(number):
            self._seconds.setdefault(number, []).append(seconds)

    def refuse(self, number: int) -> None:
        """Never try so many together again: it failed."""
        self._most = number - 1 if self._most is None else min(number - 1, self._most)

    def expected_s(self) -> float:
        """Return the longest that a computation took; 0 before the first."""
        return max((max(seconds) for seconds in self._seconds.values()), default=0.0)

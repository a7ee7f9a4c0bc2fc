"""From what is expected to what is promised, by how earlier promises fared. Pure."""

from collections import deque
from dataclasses import dataclass, field

PROMISED_SHARE = 0.8
"""So large a share of jobs shall have ended by the moment that they were first told."""

FIRST_FACTOR = 1.25
"""By what is multiplied what is expected, until enough promises have been kept or broken."""

_WINDOW = 100
_ENOUGH = 10
_STEP = 0.05
_FACTOR_STEP = 0.1
_LEAST, _MOST = 0.5, 4.0


@dataclass
class Count:
    """Promises of which it is known what became of them."""

    promised: int = 0
    kept: int = 0

    @property
    def coverage(self) -> float | None:
        """The share of promises that were kept; None before there are any."""
        return self.kept / self.promised if self.promised else None


@dataclass
class Calibration(Count):
    """Turns expected seconds into promised ones.

    A promise is the expected time times a factor: a quantile of what jobs took of what was expected
    of them. Which quantile is corrected by the promises that were kept and broken: each broken one
    raises it and each kept one lowers it, so that in the long run the promised share is kept
    whatever the ratios are, also while they drift, and where many lie close together.
    """

    _ratios: deque[float] = field(default_factory=lambda: deque(maxlen=_WINDOW))
    _share: float = PROMISED_SHARE

    @property
    def factor(self) -> float:
        """By what expected seconds are multiplied."""
        if len(self._ratios) < _ENOUGH:
            return FIRST_FACTOR
        values = sorted(self._ratios)
        at = min(len(values) - 1, int(self._share * (len(values) - 1)))
        beyond_all = max(0.0, self._share - 1.0)
        return min(_MOST, max(_LEAST, values[at] * (1.0 + beyond_all)))

    def observe(self, expected_s: float, promised_s: float, took_s: float) -> None:
        """Take how long a job took of what was expected and promised when it was claimed."""
        kept = took_s <= promised_s
        if len(self._ratios) >= _ENOUGH:  # before, promises don't follow what was seen
            self._share = corrected(self._share, _STEP, kept=kept, least=0.5, most=1.5)
        self._ratios.append(took_s / max(0.1, expected_s))
        self.promised += 1
        self.kept += kept


@dataclass
class Correction(Count):
    """A factor for promises of which only is known whether they were kept."""

    factor: float = FIRST_FACTOR

    def observe(self, *, kept: bool) -> None:
        """Take whether a promise was kept."""
        self.promised += 1
        self.kept += kept
        self.factor = corrected(self.factor, _FACTOR_STEP, kept=kept, least=_LEAST, most=_MOST)


def corrected(value: float, step: float, *, kept: bool, least: float, most: float) -> float:
    """Move a value by a kept or a broken promise: they balance at the promised share."""
    moved = value + step * (PROMISED_SHARE - kept)
    return min(most, max(least, moved))

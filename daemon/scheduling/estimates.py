"""How many bytes weights and runs take: from the table first, then from what was seen. Pure.

Weights follow the largest of the last loads, where that is above the table. A run's reservation
follows, by (model, quality, size, batch):

1. the table, until `ENOUGH` runs alike were seen; more if one of them took more;
2. then the high quantile of what they took, with a margin;
3. never more than the model's budget leaves beside its weights.

Only a run that had the engine for itself says what it takes. Of runs beside one another the sum is
known: if it stayed within what they were promised, each did; else each has its share of the excess.
"""

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from daemon.scheduling.models import ModelSpec
from daemon.values import AdmissionRequest

ENOUGH = 8
"""Runs alike that must have been seen before they count for more than the table."""

WINDOW = 64
"""Peaks that are remembered for runs alike."""

LOADS = 8
"""Loads of a model whose measured weights count: one odd load isn't kept for ever."""

QUANTILE = 0.98
"""Of the remembered peaks: one odd run of the window doesn't decide, two do."""

MARGIN = 1.05
"""What a reservation is above the quantile: allocators round up, and prompts differ."""

OVERFLOW_RAISES = 1.25
"""A run that ran out of memory counts as one that took so much more than it was promised."""


class Likeness(NamedTuple):
    """What runs have in common that take the same memory."""

    model: str
    quality: str
    size: int
    batch: int

    @classmethod
    def of(cls, request: AdmissionRequest) -> "Likeness":
        """Return a request's."""
        return cls(request.model, request.quality, request.size, request.batch)


@dataclass(slots=True)
class Coverage:
    """How many measured runs there were, and how many stayed within their reservation."""

    runs: int = 0
    within: int = 0


@dataclass(slots=True)
class _Peaks:
    """What runs alike took beside the weights, bytes, and the reservation that follows."""

    seen: deque[int] = field(default_factory=lambda: deque(maxlen=WINDOW))
    learned: int = 0

    def add(self, *n_bytes: int) -> None:
        self.seen.extend(n_bytes)
        values = sorted(self.seen)
        at = min(len(values) - 1, int(QUANTILE * len(values)))
        self.learned = int(values[at] * MARGIN)


class Estimates:
    """What is expected of each model's weights and runs."""

    def __init__(self, models: Iterable[ModelSpec]) -> None:
        self._models = {model.name: model for model in models}
        self._weights = {name: model.weights_bytes for name, model in self._models.items()}
        self._loads: dict[str, deque[int]] = {name: deque(maxlen=LOADS) for name in self._models}
        self._table: dict[tuple[str, str], int] = {}
        self._peaks: dict[Likeness, _Peaks] = {}
        self.coverage: dict[tuple[str, str], Coverage] = {}
        self.version = 0
        """Counts changes of what is expected."""
        for name in self._models:
            self._recompute(name)

    def fixed(self) -> "Estimates":
        """Return the same expectations, for a look ahead that must not teach anything."""
        copy = _Fixed(())
        copy.__dict__.update(self.__dict__)
        return copy

    def weights(self, model: str) -> int:
        """Return the bytes to hold for a load of the model."""
        return self._weights[model]

    def activation(self, model: str, quality: str) -> int:
        """Return the bytes to reserve for a run of which nothing but its class is known."""
        return self._table[model, quality]

    def reservation(self, request: AdmissionRequest) -> int:
        """Return the bytes to reserve for a request's run."""
        if not self._peaks:
            return self._table[request.model, request.quality]
        return self._reservation(Likeness.of(request))

    def weights_measured(self, model: str, *measured_bytes: int) -> None:
        """Remember what loads took; only more than the table says changes what is expected."""
        loads = self._loads[model]
        loads.extend(measured_bytes)
        expected = max(self._models[model].weights_bytes, *loads, 0)
        if expected != self._weights[model]:
            self._weights[model] = expected
            self._recompute(model)

    def took(self, request: AdmissionRequest, n_bytes: int, promised: int) -> None:
        """Take what a run that had the engine for itself took beside the weights."""
        self._count(request, within=n_bytes <= promised)
        self._learn(Likeness.of(request), n_bytes)

    def shared(self, request: AdmissionRequest, excess: float, promised: int) -> None:
        """Take what runs beside one another took, as a share of what they all were promised."""
        self._count(request, within=excess <= 1)
        if excess > 1:
            self._learn(Likeness.of(request), int(promised * excess))

    def overflowed(self, request: AdmissionRequest, promised: int) -> None:
        """Take that a run ran out of memory."""
        self._count(request, within=False)
        self._learn(Likeness.of(request), int(promised * OVERFLOW_RAISES))

    def loads(self, model: str) -> tuple[int, ...]:
        """Return what the model's last loads took, bytes."""
        return tuple(self._loads[model])

    def peaks(self) -> dict[Likeness, tuple[int, ...]]:
        """Return what the last runs took beside the weights, bytes."""
        return {likeness: tuple(peaks.seen) for likeness, peaks in self._peaks.items()}

    def recall(self, likeness: Likeness, peaks: Sequence[int]) -> None:
        """Take peaks that were seen before, at least one, as if they were seen now."""
        self._learn(likeness, *peaks)

    def learned(self) -> dict[Likeness, int]:
        """Return the reservations that don't follow the table any more, bytes."""
        reservations = {each: self._reservation(each) for each in self._peaks}
        return {
            each: n_bytes
            for each, n_bytes in reservations.items()
            if n_bytes != self._table[each.model, each.quality]
        }

    def _learn(self, likeness: Likeness, *n_bytes: int) -> None:
        self._peaks.setdefault(likeness, _Peaks()).add(*n_bytes)
        self.version += 1

    def _count(self, request: AdmissionRequest, *, within: bool) -> None:
        coverage = self.coverage.setdefault((request.model, request.quality), Coverage())
        coverage.runs += 1
        coverage.within += within

    def _reservation(self, likeness: Likeness) -> int:
        table = self._table[likeness.model, likeness.quality]
        peaks = self._peaks.get(likeness)
        if peaks is None:
            return table
        learned = peaks.learned if len(peaks.seen) >= ENOUGH else max(table, peaks.learned)
        return min(learned, self._spare(likeness.model))

    def _spare(self, name: str) -> int:
        return max(0, self._models[name].budget_bytes - self._weights[name])

    def _recompute(self, name: str) -> None:
        model, spare = self._models[name], self._spare(name)
        for quality in model.qualities.values():
            # Capped, so that the stated concurrency stays inside the budget when the weights
            # turned out larger than the table says.
            self._table[name, quality.name] = min(
                model.activation_bytes(quality.name), spare // quality.concurrency
            )
        self.version += 1


class _Fixed(Estimates):
    """Expectations that nothing changes through this view of them."""

    def weights_measured(self, model: str, *measured_bytes: int) -> None:
        """Learn nothing."""

    def _learn(self, likeness: Likeness, *n_bytes: int) -> None:
        """Learn nothing."""

    def _count(self, request: AdmissionRequest, *, within: bool) -> None:
        """Count nothing."""

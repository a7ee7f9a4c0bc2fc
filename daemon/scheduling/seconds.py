"""How long runs and loads take: from the table first, then from what was seen. Seconds."""

import math
from collections import deque
from collections.abc import Iterable

from daemon.scheduling.models import ModelSpec

TABLE_COUNTS_AS = 4
"""The table's figure counts as so many observations, so that one odd run doesn't decide."""

WINDOW = 64
"""Observations that count: enough for a mean, few enough to follow a host that changes."""


class Seen:
    """The last durations of one kind of act, and their mean with the table's figure."""

    __slots__ = ("_sum", "_values", "expected_s", "table_s")

    def __init__(self, table_s: float) -> None:
        self.table_s = table_s
        self.expected_s = table_s
        self._values: deque[float] = deque(maxlen=WINDOW)
        self._sum = 0.0

    def observe(self, *seconds: float) -> None:
        """Take durations, the oldest first."""
        for each in seconds:
            if len(self._values) == WINDOW:
                self._sum -= self._values[0]
            self._values.append(each)
            self._sum += each
        total = self._sum + TABLE_COUNTS_AS * self.table_s
        self.expected_s = total / (len(self._values) + TABLE_COUNTS_AS)

    @property
    def values(self) -> tuple[float, ...]:
        """What was seen, the oldest first."""
        return tuple(self._values)

    def quantile(self, share: float) -> float:
        """Return what so large a share stayed below; the table's figure while nothing was seen."""
        if not self._values:
            return self.table_s
        values = sorted(self._values)
        return values[min(len(values) - 1, int(share * len(values)))]


class Fixed(Seen):
    """An expectation that nothing changes any more."""

    __slots__ = ()

    def observe(self, *seconds: float) -> None:
        """Learn nothing."""


RATE_OVER_S = 600.0
"""Arrivals count for this long, fading: what is asked for now differs from an hour ago."""


class ArrivalRate:
    """How often something arrives: a fading count over its time constant."""

    __slots__ = ("_at_s", "_count")

    def __init__(self) -> None:
        self._count = 0.0
        self._at_s = 0.0

    def arrived(self, now: float) -> None:
        """Count one arrival."""
        self._count = self.faded(now) + 1.0
        self._at_s = now

    def per_second(self, now: float) -> float:
        """Return arrivals per second lately."""
        return self.faded(now) / RATE_OVER_S

    def faded(self, now: float) -> float:
        """Return how many arrived, the older ones counting less."""
        return self._count * math.exp((self._at_s - now) / RATE_OVER_S)


class Durations:
    """Expected seconds of runs and of moves: between disk, the host's memory and a device."""

    def __init__(self, models: Iterable[ModelSpec]) -> None:
        models = tuple(models)
        self.runs: dict[tuple[str, str], Seen] = {
            (model.name, quality.name): Seen(quality.run_s)
            for model in models
            for quality in model.qualities.values()
        }
        self.loads: dict[str, Seen] = {model.name: Seen(model.load_s) for model in models}
        self.unloads: dict[str, Seen] = {model.name: Seen(1.0) for model in models}
        self.restores: dict[str, Seen] = {model.name: Seen(model.restore_s) for model in models}
        self.offloads: dict[str, Seen] = {model.name: Seen(model.restore_s) for model in models}

    def fixed(self) -> "Durations":
        """Return the same expectations, for a look ahead that must not teach anything."""
        copy = Durations(())
        copy.runs = {key: Fixed(each.expected_s) for key, each in self.runs.items()}
        copy.loads = {key: Fixed(each.expected_s) for key, each in self.loads.items()}
        copy.unloads = {key: Fixed(each.expected_s) for key, each in self.unloads.items()}
        copy.restores = {key: Fixed(each.expected_s) for key, each in self.restores.items()}
        copy.offloads = {key: Fixed(each.expected_s) for key, each in self.offloads.items()}
        return copy

    def moves(self, model: str) -> dict[str, Seen]:
        """Return a model's moves by their names."""
        return {
            "load": self.loads[model],
            "unload": self.unloads[model],
            "restore": self.restores[model],
            "offload": self.offloads[model],
        }

    def run_s(self, key: tuple[str, str]) -> float:
        """Return what a run of the class, (model, quality), is expected to take."""
        return self.runs[key].expected_s

    def load_s(self, model: str) -> float:
        """Return what a load from disk is expected to take."""
        return self.loads[model].expected_s

    def restore_s(self, model: str) -> float:
        """Return what a load from the host's memory is expected to take."""
        return self.restores[model].expected_s

    def offload_s(self, model: str) -> float:
        """Return what a move to the host's memory is expected to take."""
        return self.offloads[model].expected_s

    def unload_s(self, model: str) -> float:
        """Return what an unload is expected to take, until its bytes are free."""
        return self.unloads[model].expected_s

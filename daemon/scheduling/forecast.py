"""When what waits and runs will end: the live queue, played on in virtual time. Pure.

The shipped scheduler decides, on a copy of its state, with what it expects acts to take. Jobs that
the table still holds take part as far as they are counted, since they compete for the same devices.
What is expected is a mean; `calibration` turns it into a promise that a stated share keeps.

A long queue takes long to play on. It is played in steps of about a millisecond, between which the
caller may do something else: the copy doesn't change under it.
"""

from collections.abc import Generator, Mapping
from dataclasses import dataclass

from daemon.scheduling.commands import LoadModel, OffloadModel, UnloadModel
from daemon.scheduling.residency import Residency
from daemon.scheduling.scheduler import Scheduler
from daemon.scheduling.virtual import VirtualHost
from daemon.values import AdmissionRequest, Loaded

MOST_PER_CLASS = 64
"""Jobs of the table that take part, of each class: those beyond come later than anybody looks."""

SOON_S = 0.05
"""What is over its time ends in so many seconds."""

HORIZON_S = 4 * 3600.0
"""Nothing beyond is foretold."""


@dataclass(frozen=True)
class Forecast:
    """Expected moments, in seconds of the scheduler's clock."""

    made_s: float
    starts_s: Mapping[str, float]
    ends_s: Mapping[str, float]
    next_wait_s: Mapping[tuple[str, str], float]
    """What a job of a class would wait that came now: as long as the last one of the table."""
    table_ends_s: Mapping[tuple[str, str], tuple[float, ...]]
    """When jobs of the table end, by class (model, quality), in the order of the queue. There may
    be more jobs of a class than ends: they come later."""


Foresight = Generator[None, None, Forecast]
"""A forecast in the making: it yields after each step, and returns the forecast."""


def foresee(scheduler: Scheduler, now: float) -> Foresight:
    """Play the queue on, step by step; what lies beyond the horizon is left out."""
    ahead = _Ahead(scheduler.copy(), now)
    yield
    yield from ahead.play()
    return Forecast(now, ahead.starts_s, ahead.ends_s, ahead.next_wait_s(), ahead.table_ends_s())


def forecast_of(scheduler: Scheduler, now: float) -> Forecast:
    """Play the queue on at one go."""
    steps = foresee(scheduler, now)
    while True:
        try:
            next(steps)
        except StopIteration as end:
            forecast: Forecast = end.value
            return forecast


class _Ahead:
    """Implements `virtual.Script` by what the scheduler expects."""

    def __init__(self, scheduler: Scheduler, now: float) -> None:
        self._now = now
        self._state = scheduler.state
        self._host = VirtualHost(scheduler, self, now)
        self.starts_s: dict[str, float] = {}
        self.ends_s: dict[str, float] = {}
        self._in_table: dict[tuple[str, str], list[str]] = {}

    def play(self) -> Generator[None, None, None]:
        host, state, now = self._host, self._state, self._now
        for request_id, run in state.runs.items():
            ends_s = run.placement.ends_s.get(request_id, now)
            self.ends_s[request_id] = max(ends_s, now + SOON_S)
            host.end_at(self.ends_s[request_id], request_id)
        self._go_on_moving()
        host.carry_out(host.scheduler.submit_all(self._unclaimed(), now))
        yield
        while state.waiting and host.step(now + HORIZON_S):
            yield

    def _go_on_moving(self) -> None:
        """Let moves that are under way end when they are expected to."""
        host, state, durations = self._host, self._state, self._state.durations
        for place in state.placements.values():
            name, device = place.model.name, place.device
            match place.residency:
                case Residency.LOADING:
                    whole_s = (
                        durations.restore_s(name) if place.restoring else durations.load_s(name)
                    )
                    host.load_at(self._due(place.changed_s + whole_s), name, device)
                case Residency.OFFLOADING:
                    done_s = self._due(place.changed_s + durations.offload_s(name))
                    host.offload_at(done_s, name, device)
                case Residency.EVICTING:
                    gone_s = self._due(place.changed_s + durations.unload_s(name))
                    host.unload_at(gone_s, name, device)
                case _:
                    pass

    def _due(self, when_s: float) -> float:
        return max(when_s, self._now + SOON_S)

    def _unclaimed(self) -> list[AdmissionRequest]:
        """Return jobs of the table as requests."""
        requests: list[AdmissionRequest] = []
        for lane in self._state.lanes:
            model, quality = lane.key
            count, lane.unclaimed = min(lane.unclaimed, MOST_PER_CLASS), 0
            if count:
                names = [f"table {model} {quality} {number}" for number in range(count)]
                self._in_table[lane.key] = names
                requests += [
                    AdmissionRequest(name, model, quality, None, self._now) for name in names
                ]
        return requests

    def next_wait_s(self) -> dict[tuple[str, str], float]:
        return {
            key: max(0.0, self.starts_s[names[-1]] - self._now)
            for key, names in self._in_table.items()
            if names[-1] in self.starts_s
        }

    def table_ends_s(self) -> dict[tuple[str, str], tuple[float, ...]]:
        return {
            key: tuple(sorted(self.ends_s[name] for name in names if name in self.ends_s))
            for key, names in self._in_table.items()
        }

    def run_s(self, request_id: str) -> float:
        return self._state.durations.run_s(self._state.runs[request_id].lane.key)

    def move_s(self, command: LoadModel | OffloadModel | UnloadModel, *, restoring: bool) -> float:
        durations, model = self._state.durations, command.model
        match command:
            case LoadModel():
                return durations.restore_s(model) if restoring else durations.load_s(model)
            case OffloadModel():
                return durations.offload_s(model)
            case UnloadModel():
                return durations.unload_s(model)

    def loaded(self, model: str, device: int) -> Loaded:
        place = self._state.placements[model, device]
        return Loaded(self._state.estimates.weights(model), 0.0, place.offloads, place.savings)

    def started(self, request_id: str, device: int, now: float, ends_s: float) -> None:
        del device
        self.starts_s[request_id] = now
        self.ends_s[request_id] = ends_s

    def refused(self, request_id: str) -> None:
        self.starts_s.pop(request_id, None)

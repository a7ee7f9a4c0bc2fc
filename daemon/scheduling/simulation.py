"""The scheduler under virtual time: what would have happened to a trace. Pure.

The scheduler is the shipped one, with any policy; only the acts that it commands are replaced by
the seconds that they take. Deadlines are kept as the daemon keeps them.
"""

import heapq
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import count, groupby

from daemon.scheduling.commands import Command, LoadModel, RefuseRequest, StartRun, UnloadModel
from daemon.scheduling.models import DeviceSpec, ModelSpec
from daemon.scheduling.policy import Policy
from daemon.scheduling.scheduler import Scheduler
from daemon.scheduling.trace import Trace, TraceJob


@dataclass(frozen=True)
class Costs:
    """What acts take, in seconds."""

    load_s: Mapping[str, float]
    unload_s: float = 1.0


@dataclass(frozen=True)
class World:
    """A host: what is served, where, and what moves cost. By default as the models say."""

    models: Sequence[ModelSpec]
    devices: Sequence[DeviceSpec]
    costs: Costs

    @classmethod
    def of(cls, models: Sequence[ModelSpec], devices: Sequence[DeviceSpec]) -> "World":
        """Return a world whose loads take what the models expect."""
        return cls(models, devices, Costs({model.name: model.load_s for model in models}))

    def run(self, trace: Trace, policy: Policy) -> "Outcome":
        """Let a trace happen here; raises `StandstillError`."""
        return Simulation(self, policy).run(trace)


@dataclass(frozen=True, slots=True)
class Served:
    """What became of one job. Seconds of the trace's clock."""

    job: TraceJob
    device: int
    started_s: float
    ended_s: float

    @property
    def wait_s(self) -> float:
        """From its arrival to its start."""
        return self.started_s - self.job.arrives_s

    @property
    def flow_s(self) -> float:
        """From its arrival to its end."""
        return self.ended_s - self.job.arrives_s


@dataclass(frozen=True)
class Outcome:
    """What became of a trace."""

    served: Sequence[Served]
    refused: Sequence[str]
    """Ids of jobs that no device could take."""
    loads: int
    loading_s: float

    @property
    def cost(self) -> float:
        """The sum of weighted times from arrival to end, seconds; switches are in them."""
        return sum(each.job.weight * each.flow_s for each in self.served)

    @property
    def makespan_s(self) -> float:
        """When the last job ended."""
        return max((each.ended_s for each in self.served), default=0.0)

    def wait_s(self, share: float) -> float:
        """Return the wait that so large a share of the jobs stayed below."""
        waits = sorted(each.wait_s for each in self.served)
        return waits[min(len(waits) - 1, math.ceil(share * len(waits)) - 1)] if waits else 0.0


class StandstillError(AssertionError):
    """Jobs wait, and nothing will ever happen again: a policy's error."""


class Simulation:
    """One host's life in virtual time."""

    def __init__(self, world: World, policy: Policy) -> None:
        self._scheduler = Scheduler(
            world.models, world.devices, max_pass_over_s=math.inf, policy=policy
        )
        self._costs = world.costs
        self._now = 0.0
        self._events: list[tuple[float, int, Callable[[], list[Command]]]] = []
        self._numbers = count()
        self._jobs: dict[str, TraceJob] = {}
        self._served: list[Served] = []
        self._refused: list[str] = []
        self._loads = 0
        self._loading_s = 0.0

    def run(self, trace: Trace) -> Outcome:
        """Let the trace happen, to the end of its last job.

        Raises:
            StandstillError: jobs wait and nothing will happen any more.
        """
        self._jobs = {job.id: job for job in trace}
        in_order = sorted(trace, key=_arrival)
        for arrives_s, together in groupby(in_order, key=_arrival):
            requests = [job.request() for job in together]
            self._at(arrives_s, partial(self._scheduler.submit_all, requests, arrives_s))
        self._take(self._scheduler.tick(self._now))
        while self._events or self._scheduler.state.waiting:
            self._step()
        return Outcome(self._served, self._refused, self._loads, self._loading_s)

    def _step(self) -> None:
        deadline = self._scheduler.next_deadline(self._now)
        event_s = self._events[0][0] if self._events else math.inf
        if deadline is not None and deadline < event_s:
            self._now = deadline
            self._take(self._scheduler.tick(deadline))
        elif self._events:
            self._now, _, act = heapq.heappop(self._events)
            self._take(act())
        else:
            waiting = len(self._scheduler.state.waiting)
            raise StandstillError(f"{waiting} jobs wait for nothing at {self._now:g} s")

    def _take(self, commands: Sequence[Command]) -> None:
        for command in commands:
            match command:
                case StartRun(job_id, _, device):
                    job = self._jobs[job_id]
                    self._served.append(Served(job, device, self._now, self._now + job.run_s))
                    ended = partial(self._scheduler.run_ended, job_id, self._now + job.run_s)
                    self._at(self._now + job.run_s, ended)
                case LoadModel(model, device):
                    self._load(model, device)
                case UnloadModel(model, device):
                    gone_s = self._now + self._costs.unload_s
                    gone = partial(self._scheduler.unload_done, model, device, gone_s)
                    self._at(gone_s, gone)
                case RefuseRequest(job_id):
                    self._refused.append(job_id)

    def _load(self, model: str, device: int) -> None:
        seconds = self._costs.load_s[model]
        self._loads += 1
        self._loading_s += seconds
        weights = self._scheduler.state.estimates.weights(model)
        done_s = self._now + seconds
        self._at(done_s, partial(self._scheduler.load_done, model, device, weights, done_s))

    def _at(self, when_s: float, act: Callable[[], list[Command]]) -> None:
        heapq.heappush(self._events, (when_s, next(self._numbers), act))


def _arrival(job: TraceJob) -> float:
    return job.arrives_s

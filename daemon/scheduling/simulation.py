"""The scheduler under virtual time: what would have happened to a trace. Pure.

The scheduler is the shipped one, with any policy; only the acts that it commands are replaced by
the seconds that they take. Deadlines are kept as the daemon keeps them.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import groupby

from daemon.scheduling.commands import LoadModel, OffloadModel, UnloadModel
from daemon.scheduling.models import DeviceSpec, ModelSpec
from daemon.scheduling.policy import Policy
from daemon.scheduling.scheduler import Scheduler
from daemon.scheduling.trace import Trace, TraceJob
from daemon.scheduling.virtual import StandstillError, VirtualHost
from daemon.values import Loaded

__all__ = ["Costs", "Outcome", "Served", "Simulation", "StandstillError", "World"]


@dataclass(frozen=True)
class Costs:
    """What acts take, in seconds."""

    load_s: Mapping[str, float]
    unload_s: float = 1.0
    restore_s: Mapping[str, float] = field(default_factory=dict)
    """Of loads from the host's memory, and of the way there."""


@dataclass(frozen=True)
class World:
    """A host: what is served, where, and what moves cost. By default as the models say."""

    models: Sequence[ModelSpec]
    devices: Sequence[DeviceSpec]
    costs: Costs
    host_bytes: int = 0
    """Of the host's memory, for weights that wait."""

    @classmethod
    def of(
        cls, models: Sequence[ModelSpec], devices: Sequence[DeviceSpec], host_bytes: int = 0
    ) -> "World":
        """Return a world whose moves take what the models expect."""
        costs = Costs(
            {model.name: model.load_s for model in models},
            restore_s={model.name: model.restore_s for model in models},
        )
        return cls(models, devices, costs, host_bytes)

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


class Simulation:
    """One host's life in virtual time: implements `virtual.Script` by a trace."""

    def __init__(self, world: World, policy: Policy) -> None:
        scheduler = Scheduler(
            world.models,
            world.devices,
            max_pass_over_s=math.inf,
            host_bytes=world.host_bytes,
            policy=policy,
        )
        self._host = VirtualHost(scheduler, self)
        self._costs = world.costs
        self._offloads = world.host_bytes > 0
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
        host, scheduler = self._host, self._host.scheduler
        self._jobs = {job.id: job for job in trace}
        in_order = sorted(trace, key=_arrival)
        for arrives_s, together in groupby(in_order, key=_arrival):
            requests = [job.request() for job in together]
            host.at(arrives_s, partial(scheduler.submit_all, requests, arrives_s))
        host.carry_out(scheduler.tick(host.now))
        host.finish()
        return Outcome(self._served, self._refused, self._loads, self._loading_s)

    def run_s(self, request_id: str) -> float:
        """Return what the trace says."""
        return self._jobs[request_id].run_s

    def move_s(self, command: LoadModel | OffloadModel | UnloadModel, *, restoring: bool) -> float:
        """Return what the world says, and count loads."""
        if isinstance(command, UnloadModel):
            return self._costs.unload_s
        restore_s = self._costs.restore_s.get(command.model, 0.0)
        if isinstance(command, OffloadModel):
            return restore_s
        seconds = restore_s if restoring else self._costs.load_s[command.model]
        self._loads += 1
        self._loading_s += seconds
        return seconds

    def loaded(self, model: str, device: int) -> Loaded:
        """Return what was expected: weights don't surprise here."""
        del device
        weights = self._host.scheduler.state.estimates.weights(model)
        return Loaded(weights, 0.0, offloads=self._offloads)

    def started(self, request_id: str, device: int, now: float, ends_s: float) -> None:
        """Note what becomes of a job."""
        self._served.append(Served(self._jobs[request_id], device, now, ends_s))

    def refused(self, request_id: str) -> None:
        """Note a job that no device can take."""
        self._refused.append(request_id)


def _arrival(job: TraceJob) -> float:
    return job.arrives_s

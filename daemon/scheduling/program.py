"""The constraint program of `optimum`: its variables and constraints. Needs `simulate`."""

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from ortools.sat.python import cp_model

from daemon.scheduling.estimates import Estimates
from daemon.scheduling.models import DeviceSpec, ModelSpec
from daemon.scheduling.optimum import TICKS, Stay
from daemon.scheduling.simulation import Outcome, World
from daemon.scheduling.trace import Trace, TraceJob


@dataclass(frozen=True)
class _Residency:
    """The variables of one stay on a device that may be. Without a host's memory two are False."""

    model: str
    device: int
    used: Any
    begin: Any
    gone: Any
    restored: Any
    offloaded: Any


class Program:
    """The constraint model of one instance. Times are ticks."""

    def __init__(self, trace: Trace, world: World) -> None:
        self.model: Any = cp_model.CpModel()
        self._trace = trace
        self._models = {each.name: each for each in world.models}
        self._estimates = Estimates(world.models)
        costs = world.costs
        self._load = {name: _ticks(costs.load_s[name]) for name in self._models}
        self._unload = _ticks(costs.unload_s)
        self._restore = {name: _ticks(costs.restore_s.get(name, 0.0)) for name in self._models}
        self._end = self._horizon()
        self.starts = {
            job.id: self.model.new_int_var(_ticks(job.arrives_s), self._end, f"start {job.id}")
            for job in trace
        }
        self._choices: dict[str, list[tuple[Any, int]]] = {job.id: [] for job in trace}
        self._residencies: list[_Residency] = []
        self._waiting: list[tuple[Any, int]] = []
        """Intervals in the host's memory, and their bytes."""
        self._host_bytes = world.host_bytes
        for device in world.devices:
            self._add_device(device)
        if self._waiting:
            intervals, sizes = zip(*self._waiting, strict=True)
            self.model.add_cumulative(intervals, sizes, world.host_bytes)

    def _horizon(self) -> int:
        """Return when all is done if jobs run one by one, each after a load and before an unload.

        The best schedule ends no later: after the last arrival something goes on at any time, or
        what follows could be earlier, and each job has one run, and at most one stay.
        """
        last = max((_ticks(job.arrives_s) for job in self._trace), default=0)
        return last + sum(
            _ticks(job.run_s)
            + max(self._load[job.model], self._restore[job.model])
            + max(self._unload, self._restore[job.model] + self._unload)
            for job in self._trace
        )

    def _add_device(self, device: DeviceSpec) -> None:
        """Let jobs run on a device: residencies of each model, one after the other."""
        held: list[tuple[Any, int]] = []
        loads: list[Any] = []
        for name, spec in self._models.items():
            jobs = [each for each in self._trace if each.model == name]
            fitting = [each for each in jobs if self._fits(each, device)]
            if fitting:
                self._add_residencies(spec, fitting, device, held, loads)
        self.model.add_no_overlap(loads)
        self.model.add_cumulative(
            [interval for interval, _ in held], [size for _, size in held], device.usable_bytes
        )

    def _fits(self, job: TraceJob, device: DeviceSpec) -> bool:
        activation = self._estimates.activation(job.model, job.quality)
        return self._estimates.weights(job.model) + activation <= device.usable_bytes

    def _add_residencies(
        self,
        spec: ModelSpec,
        jobs: list[TraceJob],
        device: DeviceSpec,
        held: list[tuple[Any, int]],
        loads: list[Any],
    ) -> None:
        """Let a model be loaded for each of its jobs at most, in order."""
        runs: list[tuple[TraceJob, Any]] = []
        # What has room in the host's memory may be loaded for that alone, ahead of its job.
        most = 2 * len(jobs) if self._host_bytes else len(jobs)
        stays = [self._residency(spec.name, device.index, first=not at) for at in range(most)]
        for stay in stays:
            ready = self._add_load(stay, loads)
            size = self.model.new_int_var(0, self._end, "")
            whole = self.model.new_optional_interval_var(stay.begin, size, stay.gone, stay.used, "")
            held.append((whole, self._estimates.weights(spec.name)))
            runs += self._add_runs(stay, ready, jobs)
        for one, following in pairwise(stays):
            self.model.add_implication(following.used, one.used)
            self.model.add(following.begin >= one.gone).only_enforce_if(following.used)
        if self._host_bytes:
            for one, after in zip(stays, [*stays[1:], None], strict=True):
                self._add_host(one, after)
        self._residencies += stays
        self._add_limits(spec, runs, held)

    def _residency(self, name: str, device: int, *, first: bool) -> _Residency:
        model, host = self.model, self._host_bytes > 0
        begin, gone = (model.new_int_var(0, self._end, "") for _ in range(2))
        restored = model.new_bool_var("") if host and not first else False
        offloaded = model.new_bool_var("") if host else False
        return _Residency(name, device, model.new_bool_var(""), begin, gone, restored, offloaded)

    def _add_load(self, stay: _Residency, loads: list[Any]) -> Any:
        """Let a stay begin with a load, or with a restore; return when it is ready."""
        load, restore = self._load[stay.model], self._restore[stay.model]
        takes = load + (restore - load) * stay.restored
        ready = stay.begin + takes
        if self._host_bytes:  # the sum of two variables can't end an interval
            ready = self.model.new_int_var(0, self._end, "")
            self.model.add(ready == stay.begin + takes)
        loads.append(self.model.new_optional_interval_var(stay.begin, takes, ready, stay.used, ""))
        return ready

    def _add_runs(
        self, stay: _Residency, ready: Any, jobs: list[TraceJob]
    ) -> list[tuple[TraceJob, Any]]:
        """Let jobs run during a stay; one without a job is on its way to the host's memory."""
        model, runs, here = self.model, [], []
        leave = self._unload + (self._restore[stay.model] - self._unload) * stay.offloaded
        for job in jobs:
            start, run = self.starts[job.id], _ticks(job.run_s)
            chosen = model.new_bool_var("")
            model.add_implication(chosen, stay.used)
            model.add(start >= ready).only_enforce_if(chosen)
            model.add(start + run + leave <= stay.gone).only_enforce_if(chosen)
            self._choices[job.id].append((chosen, stay.device))
            here.append(chosen)
            runs.append((job, model.new_optional_fixed_size_interval_var(start, run, chosen, "")))
        model.add_bool_or([*here, stay.offloaded]).only_enforce_if(stay.used)
        model.add(ready + leave <= stay.gone).only_enforce_if(stay.used)
        return runs

    def _add_host(self, stay: _Residency, after: _Residency | None) -> None:
        """Let the weights wait in the host's memory, from the begin of the way there.

        1. The next stay may begin with a restore, at whose end they leave the host.
        2. Else they are unloaded from there, before the next stay begins.
        """
        model, restore = self.model, self._restore[stay.model]
        model.add_implication(stay.offloaded, stay.used)
        end, size = (model.new_int_var(0, self._end, "") for _ in range(2))
        waits = model.new_optional_interval_var(stay.gone - restore, size, end, stay.offloaded, "")
        self._waiting.append((waits, self._estimates.weights(stay.model)))
        if after is None:
            model.add(end >= stay.gone + self._unload).only_enforce_if(stay.offloaded)
            return
        model.add_implication(after.restored, stay.offloaded)
        model.add_implication(after.restored, after.used)
        model.add(end == after.begin + restore).only_enforce_if(after.restored)  # 1
        otherwise = [stay.offloaded, ~after.restored]
        model.add(end >= stay.gone + self._unload).only_enforce_if(otherwise)  # 2
        model.add(after.begin >= end).only_enforce_if([*otherwise, after.used])

    def _add_limits(
        self, spec: ModelSpec, runs: list[tuple[TraceJob, Any]], held: list[tuple[Any, int]]
    ) -> None:
        """Hold runs to concurrency and budget."""
        sizes = [self._estimates.activation(spec.name, job.quality) for job, _ in runs]
        intervals = [run for _, run in runs]
        held.extend(zip(intervals, sizes, strict=True))
        spare = spec.budget_bytes - self._estimates.weights(spec.name)
        self.model.add_cumulative(intervals, sizes, spare)
        self.model.add_cumulative(intervals, [1] * len(intervals), spec.max_concurrent)
        for quality in spec.qualities.values():
            of_quality = [run for job, run in runs if job.quality == quality.name]
            self.model.add_cumulative(of_quality, [1] * len(of_quality), quality.concurrency)

    def finish(self, known: Outcome | None) -> None:
        """Say that each job runs once, what is minimised, and where to start."""
        for choices in self._choices.values():
            self.model.add_exactly_one(chosen for chosen, _ in choices)
        for served in known.served if known else ():
            self.model.add_hint(self.starts[served.job.id], _ticks(served.started_s))
        self.model.minimize(
            sum(job.weight * (self.starts[job.id] + _ticks(job.run_s)) for job in self._trace)
        )

    def devices(self, solver: Any) -> dict[str, int]:
        """Return where the solution runs each job."""
        return {
            name: device
            for name, choices in self._choices.items()
            for chosen, device in choices
            if solver.boolean_value(chosen)
        }

    def stays(self, solver: Any) -> list[Stay]:
        """Return the stays of the solution."""
        return [
            Stay(
                each.model,
                each.device,
                solver.value(each.begin) / TICKS,
                solver.value(each.gone) / TICKS,
                bool(solver.value(each.restored)),
                bool(solver.value(each.offloaded)),
            )
            for each in self._residencies
            if solver.boolean_value(each.used)
        ]


def _ticks(seconds: float) -> int:
    ticks = round(seconds * TICKS)
    if abs(ticks / TICKS - seconds) > 1e-6:  # noqa: PLR2004  far less than a tick
        raise ValueError(f"{seconds} s is finer than a tenth")
    return ticks

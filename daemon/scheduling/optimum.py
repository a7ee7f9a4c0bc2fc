"""The exact optimum of small instances, by constraint programming. Needs the extra `simulate`.

The model is the simulation's world: a load takes seconds and holds the weights from its begin, one
load at a time on a device; a run holds its reservation beside the weights, within budgets and
concurrency; an unload gives the weights back at its end. What differs is that the solver knows all
jobs, and their seconds, from the start.
"""

from dataclasses import dataclass
from typing import Any

from daemon.scheduling.estimates import Estimates
from daemon.scheduling.models import DeviceSpec, ModelSpec
from daemon.scheduling.simulation import Costs, Outcome, World
from daemon.scheduling.trace import Trace, TraceJob

TICKS = 10
"""Of a second: a trace that is solved has its seconds in tenths."""


@dataclass(frozen=True, slots=True)
class Optimum:
    """The best cost that was found, and what no schedule can be better than."""

    cost: float
    bound: float
    starts_s: dict[str, float]

    @property
    def proven(self) -> bool:
        """Whether the two meet."""
        return self.cost <= self.bound + 0.5 / TICKS


class NoScheduleError(Exception):
    """The solver found no schedule within its time."""


def solve(
    trace: Trace, world: World, *, known: Outcome | None = None, limit_s: float = 60.0
) -> Optimum:
    """Return the optimum of sum(weight * (end - arrival)), seconds.

    Args:
        trace: up to about ten jobs; all of them must fit on some device.
        world: where, and what moves cost.
        known: a schedule to start from.
        limit_s: seconds to search; then `bound` may be below `cost`.

    Raises:
        NoScheduleError: none was found in time.
    """
    from ortools.sat.python import cp_model

    problem = _Problem(trace, {each.name: each for each in world.models}, world.costs)
    for device in world.devices:
        problem.add_device(device)
    problem.finish(known)
    solver = cp_model.CpSolver()
    solver.parameters.max_time_in_seconds = limit_s
    if solver.solve(problem.model) not in {cp_model.OPTIMAL, cp_model.FEASIBLE}:
        raise NoScheduleError(f"none in {limit_s:g} s for {len(trace)} jobs")
    arrived = sum(each.weight * each.arrives_s for each in trace)
    return Optimum(
        cost=solver.objective_value / TICKS - arrived,
        bound=solver.best_objective_bound / TICKS - arrived,
        starts_s={name: solver.value(start) / TICKS for name, start in problem.starts.items()},
    )


class _Problem:
    """The constraint model of one instance. Times are ticks."""

    def __init__(self, trace: Trace, models: dict[str, ModelSpec], costs: Costs) -> None:
        from ortools.sat.python import cp_model

        self.model: Any = cp_model.CpModel()
        self._trace = trace
        self._models = models
        self._estimates = Estimates(models.values())
        self._load = {name: _ticks(costs.load_s[name]) for name in models}
        self._unload = _ticks(costs.unload_s)
        self._end = self._horizon()
        self.starts = {
            job.id: self.model.new_int_var(_ticks(job.arrives_s), self._end, f"start {job.id}")
            for job in trace
        }
        self._choices: dict[str, list[Any]] = {job.id: [] for job in trace}

    def _horizon(self) -> int:
        """Return when all is done if jobs run one by one, each after a load and an unload."""
        last = max((_ticks(job.arrives_s) for job in self._trace), default=0)
        return last + sum(
            _ticks(job.run_s) + self._load[job.model] + self._unload for job in self._trace
        )

    def add_device(self, device: DeviceSpec) -> None:
        """Let jobs run on a device: residencies of each model, one after the other."""
        held: list[tuple[Any, int]] = []
        loads: list[Any] = []
        for name, spec in self._models.items():
            jobs = [each for each in self._trace if each.model == name]
            fitting = [each for each in jobs if self._fits(each, device)]
            if fitting:
                self._add_residencies(spec, fitting, held, loads)
        self.model.add_no_overlap(loads)
        self.model.add_cumulative(
            [interval for interval, _ in held], [size for _, size in held], device.usable_bytes
        )

    def _fits(self, job: TraceJob, device: DeviceSpec) -> bool:
        activation = self._estimates.activation(job.model, job.quality)
        return self._estimates.weights(job.model) + activation <= device.usable_bytes

    def _add_residencies(
        self, spec: ModelSpec, jobs: list[TraceJob], held: list[tuple[Any, int]], loads: list[Any]
    ) -> None:
        """Let a model be loaded at most once for each of its jobs, in order."""
        model, load = self.model, self._load[spec.name]
        runs: list[tuple[TraceJob, Any]] = []
        before = None
        for _ in jobs:
            used = model.new_bool_var("")
            begin, gone = (model.new_int_var(0, self._end, "") for _ in range(2))
            size = model.new_int_var(0, self._end, "")
            loads.append(model.new_optional_fixed_size_interval_var(begin, load, used, ""))
            whole = model.new_optional_interval_var(begin, size, gone, used, "")
            held.append((whole, self._estimates.weights(spec.name)))
            if before is not None:
                model.add_implication(used, before[0])
                model.add(begin >= before[1]).only_enforce_if(used)
            here = []
            for job in jobs:
                start = self.starts[job.id]
                chosen = model.new_bool_var("")
                model.add_implication(chosen, used)
                model.add(start >= begin + load).only_enforce_if(chosen)
                end = start + _ticks(job.run_s)
                model.add(end + self._unload <= gone).only_enforce_if(chosen)
                self._choices[job.id].append(chosen)
                here.append(chosen)
                run = model.new_optional_fixed_size_interval_var(
                    start, _ticks(job.run_s), chosen, ""
                )
                runs.append((job, run))
            model.add_bool_or(here).only_enforce_if(used)
            before = used, gone
        self._add_limits(spec, runs, held)

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
            self.model.add_exactly_one(choices)
        for served in known.served if known else ():
            self.model.add_hint(self.starts[served.job.id], _ticks(served.started_s))
        self.model.minimize(
            sum(job.weight * (self.starts[job.id] + _ticks(job.run_s)) for job in self._trace)
        )


def _ticks(seconds: float) -> int:
    return round(seconds * TICKS)

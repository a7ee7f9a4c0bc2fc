"""The exact optimum of small instances, by constraint programming. Needs the extra `simulate`.

The model is the simulation's world: a load takes seconds and holds the weights from its begin, one
load at a time on a device; a run holds its reservation beside the weights, within budgets and
concurrency; an unload gives the weights back at its end. Weights that leave may wait in the host's
memory, as far as there is some, and come back sooner. What differs is that the solver knows all
jobs, and their seconds, from the start.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from daemon.scheduling.bound import servable
from daemon.scheduling.simulation import Outcome, World
from daemon.scheduling.trace import Trace

TICKS = 10
"""Of a second: a trace that is solved has its seconds in tenths."""


@dataclass(frozen=True, slots=True)
class Stay:
    """Weights on a device, from the begin of their load until they have left. Seconds."""

    model: str
    device: int
    begins_s: float
    gone_s: float
    restored: bool
    """They came from the host's memory."""
    offloaded: bool
    """They left for the host's memory."""


@dataclass(frozen=True, slots=True)
class Optimum:
    """The best cost that was found, what no schedule can be better than, and the schedule."""

    cost: float
    bound: float
    starts_s: dict[str, float]
    devices: dict[str, int]
    """Where each job runs."""
    stays: Sequence[Stay]

    @property
    def proven(self) -> bool:
        """Whether the two meet."""
        return self.cost <= self.bound + 0.5 / TICKS


class NoScheduleError(Exception):
    """The solver found no schedule within its time, or there is none."""


def solve(
    trace: Trace, world: World, *, known: Outcome | None = None, limit_s: float = 60.0
) -> Optimum:
    """Return the optimum of sum(weight * (end - arrival)), seconds.

    Args:
        trace: up to about ten jobs, their seconds in tenths; all of them must fit on some device.
        world: where, and what moves cost, in tenths too.
        known: a schedule to start from.
        limit_s: seconds to search; then `bound` may be below `cost`.

    Raises:
        NoScheduleError: none was found in time, or a job fits on no device.
        ValueError: there are finer seconds than tenths: what is best would be a guess.
    """
    from ortools.sat.python import cp_model

    from daemon.scheduling.program import Program

    if len(fitting := servable(trace, world)) < len(trace):
        raise NoScheduleError(f"{len(trace) - len(fitting)} of the jobs fit on no device")
    program = Program(trace, world)
    program.finish(known)
    solver = cp_model.CpSolver()
    solver.parameters.max_time_in_seconds = limit_s
    if solver.solve(program.model) not in {cp_model.OPTIMAL, cp_model.FEASIBLE}:
        raise NoScheduleError(f"none in {limit_s:g} s for {len(trace)} jobs")
    arrived = sum(each.weight * each.arrives_s for each in trace)
    return Optimum(
        cost=solver.objective_value / TICKS - arrived,
        bound=solver.best_objective_bound / TICKS - arrived,
        starts_s={name: solver.value(start) / TICKS for name, start in program.starts.items()},
        devices=program.devices(solver),
        stays=program.stays(solver),
    )

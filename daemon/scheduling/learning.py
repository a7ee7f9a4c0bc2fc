"""What the end of a run teaches: how long such runs take, their memory, and leaks. Pure."""

from dataclasses import dataclass

from daemon.scheduling import moves
from daemon.scheduling.leaks import WEIGH_AFTER_RUNS
from daemon.scheduling.residency import Placement, Residency
from daemon.scheduling.state import Run, State


@dataclass(frozen=True, slots=True)
class Measured:
    """What was seen of a run.

    Attributes:
        completed: it came to its end; only then does it say how long such runs take.
        peak_bytes: the most that the engine held during the run, weights included.
        held_bytes: what the engine held after it, with no other run in it.
        overflowed: it ran out of memory.
    """

    completed: bool = True
    peak_bytes: int | None = None
    held_bytes: int | None = None
    overflowed: bool = False


NOT_MEASURED = Measured()


MUCH = 1.1
"""A run is charged for being long when it took more than so many times its class's seconds."""


def charge_for_length(state: State, run: Run, now: float) -> None:
    """Charge a run's user for what it took above its class's seconds, however it ended."""
    took_s, usual_s = now - run.started_s, run.lane.quality.run_s
    if took_s > MUCH * usual_s:
        state.shares.owe(run.request.user, took_s - usual_s)


def learn_from(state: State, run: Run, measured: Measured, now: float) -> None:
    """Learn from a run that is about to be forgotten.

    One that had the device for itself was promised all that there is, and may have saved memory:
    what it took says nothing of the others.
    """
    if measured.completed:
        state.durations.runs[run.lane.key].observe(now - run.started_s)
    placement = run.placement
    like_others = not run.lane.exclusive
    if measured.overflowed and like_others:
        state.estimates.overflowed(run.request, run.promised)
    if placement.residency is not Residency.RESIDENT or placement.load_number != run.load_number:
        return  # its engine isn't the one that is there now, with its weights and its neighbours
    told = measured.completed and not measured.overflowed
    if told and like_others and measured.peak_bytes is not None:
        _learn_peak(state, run, measured.peak_bytes)
    if measured.held_bytes is None:
        _weigh(placement, measured)
    elif placement.leak.observe(
        _beyond_grant(state, run, measured.held_bytes), placement.unweighed + 1
    ):
        moves.doom(state, placement)


def _weigh(placement: Placement, measured: Measured) -> None:
    """Count a run that ended beside others: what they all hold says nothing of leaks.

    After many of them the engine is to be idle once. Not one that took all its bytes at its load,
    and none that measures nothing.
    """
    others = placement.runs > 1
    if not others or measured.peak_bytes is None or placement.model.runs_included:
        return
    placement.unweighed += 1
    if placement.unweighed >= WEIGH_AFTER_RUNS * placement.model.max_concurrent:
        placement.weighing = True


def _beyond_grant(state: State, run: Run, held_bytes: int) -> int:
    """Return what an engine holds as leaks count it: filling what it was granted isn't one."""
    placement = run.placement
    if not placement.model.runs_included:
        return held_bytes
    return max(held_bytes, state.ledgers[placement.device].weights_of(placement.model.name))


def _learn_peak(state: State, run: Run, peak_bytes: int) -> None:
    """Take an engine's peak as what its runs took; see `estimates`."""
    placement = run.placement
    model, device = placement.model.name, placement.device
    took = max(0, peak_bytes - state.ledgers[device].weights_of(model))
    if not run.shared:
        state.estimates.took(run.request, took, run.promised)
    elif placement.most_reserved:
        state.estimates.shared(run.request, took / placement.most_reserved, run.promised)

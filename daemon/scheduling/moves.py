"""Moves of weights between disk, the host's memory and a device: what each does to the state. Pure.

The scheduler alone calls these. An engine that is gone gives everything back; one that is offloaded
keeps what it says it keeps.
"""

from dataclasses import replace

from daemon.scheduling.leaks import LeakWatch
from daemon.scheduling.residency import Change, Placement, Residency
from daemon.scheduling.state import State
from daemon.values import Loaded, Offloaded


def load(state: State, model: str, device: int, now: float) -> None:
    """Hold the bytes of a load that begins, from disk or from the host's memory."""
    placement = state.placements[model, device]
    if device in state.loading or device in state.exclusive:
        raise AssertionError(f"{model} can't load on device {device} beside what goes on there")
    restoring = placement.residency is Residency.HOST
    placement.advance(Change.LOAD)
    state.loading.add(device)
    _changed(state, placement, now)
    placement.restoring = restoring
    placement.in_vain = placement.load_number > 0 and placement.served == 0
    placement.load_number += 1
    placement.served = 0
    _charge(state, placement)
    weights, budget = state.estimates.weights(model), placement.model.budget_bytes
    state.ledgers[device].hold_weights(model, weights, budget)


def _charge(state: State, placement: Placement) -> None:
    """Charge a load to who is next for the model."""
    waiting = [lane for lane in state.lanes_by_model[placement.model.name] if lane.waiting]
    if waiting:
        durations, model = state.durations, placement.model.name
        seconds = durations.restore_s(model) if placement.restoring else durations.load_s(model)
        state.shares.charge(waiting[0].head().request.user, seconds)


def load_anew(state: State, model: str, device: int, now: float) -> None:
    """Begin a load again, from disk: the time of the first try is no load's."""
    placement = state.placements[model, device]
    placement.restoring = False
    _changed(state, placement, now)


def loaded(state: State, model: str, device: int, measured: Loaded, now: float) -> bool:
    """Settle a load; False when it took more than there is: it must be unloaded."""
    placement = state.placements[model, device]
    placement.advance(Change.LOADED)
    state.loading.remove(device)
    seen = state.durations.restores if placement.restoring else state.durations.loads
    seen[model].observe(now - placement.changed_s)
    return _settle(state, placement, measured, now)


def adopt(state: State, model: str, device: int, measured: Loaded, now: float) -> bool:
    """Hold the bytes of an engine that is there already; False where they don't fit.

    It isn't a load: nobody waited for it, and nothing is learned of how long loads take.
    """
    placement = state.placements[model, device]
    placement.advance(Change.LOAD)
    placement.advance(Change.LOADED)
    placement.load_number += 1
    budget = placement.model.budget_bytes
    expected = min(state.estimates.weights(model), max(0, state.ledgers[device].free_bytes))
    state.ledgers[device].hold_weights(model, expected, budget)
    return _settle(state, placement, measured, now)


def _settle(state: State, placement: Placement, measured: Loaded, now: float) -> bool:
    """Put what a load really took in the place of what was expected."""
    model, device = placement.model.name, placement.device
    _changed(state, placement, now)
    placement.idle_since_s = now
    placement.offloads, placement.savings = measured.offloads, measured.savings
    state.host.release(model, device)
    taken, budget = measured.weights_bytes, placement.model.budget_bytes
    if placement.model.runs_included:
        # Its runs may take the rest at any time, and nobody asks for them again.
        taken = max(taken, budget)
    if taken <= budget:
        state.estimates.weights_measured(model, taken)
    return state.ledgers[device].settle_weights(model, taken)


def offload(state: State, model: str, device: int, now: float) -> None:
    """Begin to move an idle model's weights to the host's memory."""
    placement = state.placements[model, device]
    _check_idle(placement)
    if not placement.offloads or placement.doomed:
        raise AssertionError(f"{model} on device {device} can't be offloaded")
    placement.advance(Change.OFFLOAD)
    state.host.hold(model, device, state.ledgers[device].weights_of(model))
    _changed(state, placement, now)


def offloaded(state: State, model: str, device: int, measured: Offloaded, now: float) -> None:
    """Give the device's bytes back: the weights are in the host's memory."""
    placement = state.placements[model, device]
    placement.advance(Change.OFFLOADED)
    state.durations.offloads[model].observe(now - placement.changed_s)
    state.ledgers[device].offload(model, measured.left_bytes)
    state.host.hold(model, device, measured.host_bytes)
    _changed(state, placement, now)


def evict(state: State, model: str, device: int, now: float) -> None:
    """Begin an unload of an idle model, to disk alone."""
    placement = state.placements[model, device]
    _check_idle(placement)
    placement.advance(Change.EVICT)
    _changed(state, placement, now)


def doom(state: State, placement: Placement) -> None:
    """Let an engine that leaks take no more runs; it goes as soon as it is idle."""
    if placement.doomed:
        return  # a run that began before it was noticed shows it again
    placement.doomed = True
    state.doomed.append(placement)
    state.reshaped(placement.device)


def lose(state: State, model: str, device: int, now: float) -> bool:
    """The engine died: the same as an unload, but with runs. False: it was going anyway."""
    placement = state.placements[model, device]
    if placement.residency is Residency.EVICTING:
        return False
    placement.advance(Change.EVICT)
    _changed(state, placement, now)
    return True


def gone(state: State, model: str, device: int, now: float, *, failed: bool = False) -> None:
    """Free everything that the model held: its engine is gone for certain."""
    placement = state.placements[model, device]
    if not failed:
        state.durations.unloads[model].observe(now - placement.changed_s)
    placement.advance(Change.FAILED if failed else Change.GONE)
    if failed:
        state.loading.remove(device)
    _changed(state, placement, now)
    placement.runs = 0
    placement.runs_by_quality.clear()
    placement.ends_s.clear()
    if placement.doomed:
        state.doomed.remove(placement)
    placement.offloads = placement.doomed = placement.restoring = False
    placement.leak = LeakWatch()
    placement.unweighed, placement.weighing = 0, False
    state.ledgers[device].release_model(model)
    state.host.release(model, device)


def retry_alone(state: State, model: str, device: int, now: float) -> bool:
    """Let the model's next request have a device for itself, since its load found too little.

    The memory was there by all accounts: whoever shares the device took more than it told. False:
    nobody did, or nobody waits that wasn't tried so before. No request is tried so twice, since
    alone a load fails for good.
    """
    alone = not state.warm_on[device]
    lanes = (each for each in state.lanes_by_model[model] if each.waiting and not each.exclusive)
    lane = next(lanes, None)
    if alone or lane is None:
        return False
    before = state.leave(lane.head().request.id)
    state.submit(replace(before.request, exclusive=True), now)
    after = state.waiting[before.request.id]
    after.submitted_s = before.submitted_s
    after.before = after.before.since(before.waits(now))
    return True


def _check_idle(placement: Placement) -> None:
    if placement.runs:
        raise AssertionError(
            f"{placement.model.name} on device {placement.device} has {placement.runs} runs"
        )


def _changed(state: State, placement: Placement, now: float) -> None:
    placement.changed_s = now
    state.reshaped(placement.device)

"""What to load before anybody asks: the models that are asked for most, while a device is idle. Pure."""

from daemon.scheduling.commands import Command, LoadModel, UnloadModel
from daemon.scheduling.models import ModelSpec
from daemon.scheduling.residency import PRESENT, Placement, Residency
from daemon.scheduling.state import State

FADED = 0.1
"""Fewer arrivals than this, faded over `RATE_OVER_S`, are no reason to load anything."""

CLEARLY = 2.0
"""So many times more expected loading must be saved before an idle model is replaced."""


def prefetch(state: State, device: int, now: float) -> Command | None:
    """Return the next load, or the eviction before it, on a device that nobody waits for.

    1. The models that are worth most to have there, within their whole budgets.
    2. The first of them that is nowhere and fits: load it.
    3. Else evict what is idle and worth clearly less.
    """
    ledger = state.ledgers[device]
    here = state.placements_on[device]
    if any(place.residency in _MOVING for place in here):
        return None
    for place in _worth_having(state, here, ledger.usable_bytes, now):  # 1
        name = place.model.name
        if state.present(name) or state.back_offs[name].active(now):
            continue
        present = [each for each in here if each.residency in PRESENT]
        excess = place.model.budget_bytes - ledger.usable_bytes
        excess += sum(each.model.budget_bytes for each in present)
        if excess <= 0:  # 2
            return LoadModel(name, device)
        value = _value(state, place.model, now)
        for each in ():#sorted(present, key=lambda each: _value(state, each.model, now)):  # 3
            idle = not each.runs and not state.waiting_of[each.model.name]
            if idle and _value(state, each.model, now) * CLEARLY < value:
                return UnloadModel(each.model.name, device)
    return None


_MOVING = frozenset({Residency.LOADING, Residency.EVICTING})


def _worth_having(
    state: State, here: list[Placement], usable: int, now: float
) -> list[Placement]:
    """Return the set of models with the most loading saved per byte, best first."""
    chosen: list[Placement] = []
    for place in sorted(here, key=lambda each: -_density(state, each.model, now)):
        budget = place.model.budget_bytes
        if _value(state, place.model, now) > 0 and budget <= usable:
            chosen.append(place)
            usable -= budget
    return chosen


def _density(state: State, model: ModelSpec, now: float) -> float:
    return _value(state, model, now) / max(1, model.budget_bytes)


def _value(state: State, model: ModelSpec, now: float) -> float:
    """Return the seconds of waiting for loads that having the model saves each second."""
    rate = state.arrivals[model.name]
    if rate.faded(now) < FADED:
        return 0.0
    return rate.per_second(now) * state.durations.load_s(model.name)

"""Other policies, to compare with: what queues in front of GPUs usually do. Pure.

All of them obey the same ledger, budgets and concurrency, and load one model at a time; they
differ in who is next and in who has to go.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace

from daemon.scheduling.claims import Claim
from daemon.scheduling.commands import Command, LoadModel, StartRun, UnloadModel
from daemon.scheduling.lanes import Lane
from daemon.scheduling.models import ModelSpec, QualitySpec
from daemon.scheduling.residency import Placement, Residency
from daemon.scheduling.room import lacks_only_bytes
from daemon.scheduling.state import State


class RivalPolicy:
    """Lanes in an order; models that are idle go, the one that was used longest ago first.

    Nobody's model goes while its runs do, and what is there is used before anything else is
    loaded: so each load serves somebody, and no two lanes evict each other's models for ever.

    Args:
        order: sorts lanes by who is next.
        strict: nobody starts before the first one has.
        serial: only the first lane that lacks its model or its bytes makes room for itself.
    """

    fair = False

    def __init__(
        self, order: Callable[[Lane], float], *, strict: bool = False, serial: bool = False
    ) -> None:
        self._order = order
        self._strict = strict
        self._serial = serial

    def fresh(self) -> "RivalPolicy":
        """Return itself: it works nothing out."""
        return self

    def next_command(self, state: State, now: float) -> Command | None:
        """Start the first that can, else make room for those that lack something, in order."""
        lanes = sorted((each for each in state.lanes if each.waiting), key=self._order)
        if self._strict:
            lanes = lanes[:1]
        starts = (_start(state, lane) for lane in lanes)
        if (start := next((each for each in starts if each is not None), None)) is not None:
            return start
        lacking = [lane for lane in lanes if _lacks_room(state, lane, now)]
        if self._serial:
            lacking = lacking[:1]
        steps = (self._make_room(state, lane) for lane in lacking)
        return next((step for step in steps if step is not None), None)

    def claims(self, state: State, now: float) -> Mapping[int, Claim]:
        """Return none: whoever finds room may start."""
        del state, now
        return {}

    def next_deadline(self, state: State, now: float) -> float | None:
        """Return when a back-off ends; nothing else changes by itself."""
        ends = [each.until_s for each in state.back_offs.values() if each.until_s > now]
        return min(ends, default=None)

    def _make_room(self, state: State, lane: Lane) -> Command | None:
        model = lane.model.name
        need = state.need(lane)
        places = state.placements_of[model]
        for place in places:
            if place.residency is Residency.RESIDENT and lacks_only_bytes(state, lane, place):
                return _evict(state, place, need)
        need += state.estimates.weights(model)
        cold = [place for place in places if place.residency is Residency.COLD]
        cold.sort(key=lambda place: -state.ledgers[place.device].free_bytes)
        for place in cold:
            if not _loading(state, place) and state.ledgers[place.device].free_bytes >= need:
                return LoadModel(model, place.device)
        steps = (_evict(state, place, need) for place in cold if not _loading(state, place))
        return next((step for step in steps if step is not None), None)


def _evict(state: State, place: Placement, need: int) -> Command | None:
    """Unload the model that was used longest ago, if idle ones hold enough."""
    ledger = state.ledgers[place.device]
    others = [each for each in state.placements_on[place.device] if each is not place]

    def held(residency: Residency) -> list[Placement]:
        return [each for each in others if each.residency is residency and not each.runs]

    leaving = sum(ledger.weights_of(each.model.name) for each in held(Residency.EVICTING))
    idle = held(Residency.RESIDENT)
    missing = need - ledger.free_bytes - leaving
    if missing <= 0 or sum(ledger.weights_of(each.model.name) for each in idle) < missing:
        return None
    oldest = min(idle, key=lambda each: each.idle_since_s)
    return UnloadModel(oldest.model.name, oldest.device)


def _lacks_room(state: State, lane: Lane, now: float) -> bool:
    """Whether its model isn't there, or is and lacks bytes; a taken slot is no such lack."""
    model = lane.model.name
    if state.present(model):
        return any(
            place.residency is Residency.RESIDENT and lacks_only_bytes(state, lane, place)
            for place in state.placements_of[model]
        )
    return not state.back_offs[model].active(now)


def _loading(state: State, place: Placement) -> bool:
    return any(other.residency is Residency.LOADING for other in state.placements_on[place.device])


def _start(state: State, lane: Lane) -> StartRun | None:
    for place in state.placements_of[lane.model.name]:
        if state.may_start(place, lane):
            return StartRun(lane.head().request.id, lane.model.name, place.device)
    return None


def _oldest(lane: Lane) -> float:
    return lane.head().request.created_s


def fifo() -> RivalPolicy:
    """Strictly in the order of arrival: one that can't start holds up all others."""
    return RivalPolicy(_oldest, strict=True)


def lru() -> RivalPolicy:
    """One load after the other in the order of arrival, the model used longest ago goes.

    As Ollama does it: who asks for a model that is there needs no turn.
    """
    return RivalPolicy(_oldest, serial=True)


def collate() -> RivalPolicy:
    """Whoever's model is there is served; any other may load as soon as what has to go is idle.

    As llama-swap does it, in the order of arrival.
    """
    return RivalPolicy(_oldest)


def shortest_first() -> RivalPolicy:
    """The class with the shortest runs for their weight first."""
    return RivalPolicy(lambda lane: lane.quality.run_s / lane.quality.weight)


_SLIVER = 4096
"""A pool's runs keep so small a part of their bytes, so that they still exclude one another."""


def partition(models: Iterable[ModelSpec]) -> list[ModelSpec]:
    """Return the models as pools of their own: each holds its whole budget as long as it is there.

    That is a worker process for each type, with its memory limit. Which runs fit into a budget
    side by side stays as it is.
    """
    return [_pool(model) for model in models]


def _pool(model: ModelSpec) -> ModelSpec:
    weights = model.budget_bytes - (model.budget_bytes - model.weights_bytes) // _SLIVER

    def footprint(quality: QualitySpec) -> int:
        return weights + (quality.footprint_bytes - model.weights_bytes) // _SLIVER

    qualities = {
        name: replace(quality, footprint_bytes=footprint(quality))
        for name, quality in model.qualities.items()
    }
    return replace(model, weights_bytes=weights, qualities=qualities)

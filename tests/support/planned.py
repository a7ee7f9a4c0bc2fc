"""A schedule that a solver has made, as a policy: the simulation then checks each step of it."""

from daemon.scheduling.claims import Claim
from daemon.scheduling.commands import Command, LoadModel, OffloadModel, StartRun, UnloadModel
from daemon.scheduling.optimum import Optimum
from daemon.scheduling.residency import Residency
from daemon.scheduling.simulation import Costs
from daemon.scheduling.state import State

NEARLY = 1e-6


class PlannedPolicy:
    """Commands what is due, as soon as the state allows it at that second."""

    fair = False

    def __init__(self, plan: Optimum, costs: Costs) -> None:
        self._due: list[tuple[float, Command]] = [
            (starts_s, StartRun(name, "", plan.devices[name]))
            for name, starts_s in plan.starts_s.items()
        ]
        for stay in plan.stays:
            self._due.append((stay.begins_s, LoadModel(stay.model, stay.device)))
            takes_s = costs.restore_s[stay.model] if stay.offloaded else costs.unload_s
            leave = OffloadModel if stay.offloaded else UnloadModel
            self._due.append((stay.gone_s - takes_s, leave(stay.model, stay.device)))
            later = [
                each
                for each in plan.stays
                if (each.model, each.device) == (stay.model, stay.device)
                and each.begins_s >= stay.gone_s - NEARLY
            ]
            comes_back = later and min(later, key=lambda each: each.begins_s).restored
            if stay.offloaded and not comes_back:
                self._due.append((stay.gone_s, UnloadModel(stay.model, stay.device)))
        self._due.sort(key=lambda each: each[0])

    def next_command(self, state: State, now: float) -> Command | None:
        """Return something that is due and can be done."""
        for at, (when_s, command) in enumerate(self._due):
            if when_s <= now + NEARLY and self._can(state, command):
                del self._due[at]
                return command
        return None

    def claims(self, state: State, now: float) -> dict[int, Claim]:
        """Return none."""
        del state, now
        return {}

    def next_deadline(self, state: State, now: float) -> float | None:
        """Return when the next thing is due."""
        del state
        return min((when_s for when_s, _ in self._due if when_s > now + NEARLY), default=None)

    def fresh(self) -> "PlannedPolicy":
        """Return itself."""
        return self

    def _can(self, state: State, command: Command) -> bool:
        match command:
            case StartRun(name, _, device):
                waiting = state.waiting.get(name)
                if waiting is None:
                    return False
                place = state.placements[waiting.request.model, device]
                return state.may_start(place, waiting.lane)
            case LoadModel(model, device):
                place = state.placements[model, device]
                free = state.ledgers[device].free_bytes >= state.estimates.weights(model)
                away = place.residency in {Residency.COLD, Residency.HOST}
                return away and free and device not in state.loading
            case OffloadModel(model, device) if state.host.free_bytes < state.estimates.weights(
                model
            ):
                return False
            case OffloadModel(model, device) | UnloadModel(model, device):
                place = state.placements[model, device]
                return place.residency in {Residency.RESIDENT, Residency.HOST} and not place.runs
        return False

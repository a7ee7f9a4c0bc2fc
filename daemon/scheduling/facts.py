"""What the scheduler knows, and the questions that a policy asks of it.

`state.State` adds the changes; nothing here changes anything.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from daemon.scheduling.estimates import Estimates
from daemon.scheduling.fairness import FairShares
from daemon.scheduling.lanes import Lane, Waiting
from daemon.scheduling.models import DeviceSpec, ModelSpec, QualitySpec
from daemon.scheduling.residency import BackOff, Placement, Residency
from daemon.scheduling.seconds import ArrivalRate, Durations
from daemon.scheduling.vram import HostLedger, Ledger
from daemon.values import AdmissionRequest, Waits


@dataclass(slots=True, eq=False)
class Run:
    """A started request: where it runs, in which load of the model, and what it was promised."""

    request: AdmissionRequest
    lane: Lane
    placement: Placement
    load_number: int
    started_s: float
    promised: int
    waited: Waits
    shared: bool = False
    """Others ran in the engine meanwhile."""


class Facts:
    """Everything at this moment. Bytes are integers, times are seconds of the caller's clock."""

    def __init__(
        self,
        models: Iterable[ModelSpec],
        devices: Iterable[DeviceSpec],
        *,
        fair: bool = True,
        host_bytes: int = 0,
    ) -> None:
        self.models = {model.name: model for model in models}
        self.estimates = Estimates(self.models.values())
        self.durations = Durations(self.models.values())
        self.shares = FairShares()
        self._fair = fair
        self.ledgers = {device.index: Ledger(device) for device in devices}
        self.host = HostLedger(host_bytes)
        self._open_placements()
        self._open_lanes()
        self.arrivals = {name: ArrivalRate() for name in self.models}
        self.back_offs = {name: BackOff() for name in self.models}
        self._count_changes_from_here()
        self.loading: set[int] = set()
        """Devices on which a model is being loaded."""
        self.doomed: list[Placement] = []
        """Placements whose engines leak."""
        self.exclusive: dict[int, str] = {}
        """The run that has a device for itself."""
        self.waiting: dict[str, Waiting] = {}
        self.waiting_of = dict.fromkeys(self.models, 0)
        self.runs: dict[str, Run] = {}

    def _open_placements(self) -> None:
        self.placements = {
            (name, device): Placement(model, device)
            for name, model in self.models.items()
            for device in self.ledgers
        }
        self.placements_of = {
            name: [self.placements[name, device] for device in self.ledgers] for name in self.models
        }
        self.placements_on = {
            device: [self.placements[name, device] for name in self.models]
            for device in self.ledgers
        }
        self.warm_on: dict[int, list[Placement]] = {device: [] for device in self.ledgers}
        """Of each device the placements that aren't cold: those that anything can be asked of."""
        self.present_of: dict[str, list[Placement]] = {name: [] for name in self.models}
        """Of each model the placements on which it is loaded, or being loaded."""

    def _open_lanes(self) -> None:
        self.lanes: list[Lane] = []
        self.lanes_by_model: dict[str, list[Lane]] = {name: [] for name in self.models}
        self._lanes: dict[tuple[str, str, bool, bool], Lane] = {}
        for model in self.models.values():
            for quality in model.qualities.values():
                for interactive in (True, False):
                    self._add_lane(model, quality, interactive=interactive)

    def _count_changes_from_here(self) -> None:
        self.changes = 0
        """Counts all changes: for what is worked out once."""
        self.versions = dict.fromkeys(self.ledgers, 0)
        """Counts changes of each device, and of who has work."""
        self.shapes = dict.fromkeys(self.ledgers, 0)
        """Counts only changes of what is on each device, not runs that begin or end."""
        self.shape = 0
        """Counts these on all devices, classes that run out of work on models that are there, and
        devices on which the last run ends: a switch may be worth it then that wasn't before."""

    def _add_lane(
        self, model: ModelSpec, quality: QualitySpec, *, interactive: bool, exclusive: bool = False
    ) -> Lane:
        lane = Lane(model, quality, interactive=interactive, exclusive=exclusive)
        self._lanes[model.name, quality.name, interactive, exclusive] = lane
        self.lanes.append(lane)
        self.lanes_by_model[model.name].append(lane)
        return lane

    def lane(self, model: str, quality: str, *, interactive: bool = False) -> Lane:
        """Return the lane of a class; raises KeyError for one that isn't served."""
        return self._lanes[model, quality, interactive, False]

    def serves(self, model: str, quality: str) -> bool:
        """Whether there is such a class."""
        return (model, quality, False, False) in self._lanes

    def need(self, lane: Lane) -> int:
        """Return the bytes that the lane's next run is promised.

        One that has the device for itself is promised all that there is: it needs as much as the
        table says, whatever was learned.
        """
        if lane.needed_at != self.changes:
            lane.needed_at = self.changes
            if lane.waiting and not lane.exclusive:
                lane.needed = self._need_of(lane.head())
            else:
                lane.needed = self.estimates.activation(*lane.key)
        return lane.needed

    def _need_of(self, waiting: Waiting) -> int:
        if waiting.needed_at != self.estimates.version:
            waiting.needed_at = self.estimates.version
            waiting.needed = self.estimates.reservation(waiting.request)
        return waiting.needed

    def has_work(self, model: str) -> bool:
        """Whether requests for the model wait, here or in the table."""
        for lane in self.lanes_by_model[model]:  # noqa: SIM110  asked many times a decision
            if lane.waiting or lane.unclaimed:
                return True
        return False

    def backlog_of(self, model: str) -> int:
        """Return how many requests for the model wait, here or in the table."""
        return sum([lane.waiting + lane.unclaimed for lane in self.lanes_by_model[model]])

    def waiting_in(self, model: str, quality: str) -> int:
        """Return how many requests of one class wait."""
        return sum(lane.waiting for lane in self.lanes_by_model[model] if lane.key[1] == quality)

    def present(self, model: str) -> bool:
        """Whether the model is loaded, or being loaded, on any device."""
        return bool(self.present_of[model])

    def resident(self, model: str) -> bool:
        """Whether the model is loaded on any device."""
        return any(
            placement.residency is Residency.RESIDENT for placement in self.placements_of[model]
        )

    def load_s(self, placement: Placement) -> float:
        """Return the seconds that a load onto the placement is expected to take from now."""
        if placement.residency is Residency.HOST:
            return self.durations.restore_s(placement.model.name)
        return self.durations.load_s(placement.model.name)

    def quickest_load_s(self, model: str) -> float:
        """Return the seconds that a load of the model takes where it takes the least, from now."""
        if Residency.HOST in [each.residency for each in self.placements_of[model]]:
            return min(self.durations.restore_s(model), self.durations.load_s(model))
        return self.durations.load_s(model)

    def ever_fits(self, model: str, quality: str) -> bool:
        """Whether a run of this class could be granted on an otherwise empty device."""
        weights = self.estimates.weights(model)
        need = weights + self.estimates.activation(model, quality)
        largest = max((ledger.usable_bytes for ledger in self.ledgers.values()), default=-1)
        return weights <= self.models[model].budget_bytes and need <= largest

    def slots(self, placement: Placement, lane: Lane) -> int:
        """Return how many more runs of the lane's class concurrency allows on the placement."""
        model, quality = placement.model, lane.quality
        by_quality = placement.runs_by_quality.get(quality.name, 0)
        return min(quality.concurrency - by_quality, model.max_concurrent - placement.runs)

    def free_slots(self, placement: Placement, lane: Lane) -> int:
        """Return how many more runs of the lane the placement could take at once now.

        Counts concurrency, budget and the device's free bytes; a model that is being loaded
        counts as if it were there.
        """
        if placement.closed or placement.device in self.exclusive:
            return 0
        if lane.exclusive:
            return 1 if self._has_it_whole(placement, lane) else 0
        slots, need = self.slots(placement, lane), self.need(lane)
        if slots > 0 and need:
            slots = min(slots, self.ledgers[placement.device].room_of(placement.model.name) // need)
        return max(0, slots)

    def alone(self, placement: Placement) -> bool:
        """Whether nothing but the model, with no run in it, is on the device."""
        return not placement.runs and all(
            each is placement for each in self.warm_on[placement.device]
        )

    def _has_it_whole(self, placement: Placement, lane: Lane) -> bool:
        """Whether a run would have the device for itself, and its bytes beside what others use."""
        room = self.ledgers[placement.device].room_of(placement.model.name)
        return self.alone(placement) and room >= self.need(lane)

    def _may_enter(self, placement: Placement, lane: Lane) -> bool:
        """Whether a run of the lane could start there now if it found its bytes."""
        return (
            placement.residency is Residency.RESIDENT
            and not placement.closed
            and placement.device not in self.exclusive
            and (
                self._has_it_whole(placement, lane)
                if lane.exclusive
                else self.slots(placement, lane) > 0
            )
        )

    def may_start(self, placement: Placement, lane: Lane) -> bool:
        """Whether a run of the lane could start on the placement now."""
        return placement.residency is Residency.RESIDENT and self.free_slots(placement, lane) > 0

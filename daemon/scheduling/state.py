"""All that the scheduler knows: lanes, placements, runs and ledgers, changed only through here.

A policy reads it and asks as often as it likes; only the scheduler calls what changes it, and only
`moves` what moves weights. Each change is checked by the ledgers and by the residency table, so
that no policy can break them.
"""

import copy
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from daemon.scheduling.estimates import Estimates
from daemon.scheduling.fairness import FairShares
from daemon.scheduling.lanes import Lane, Waiting
from daemon.scheduling.models import DeviceSpec, ModelSpec, QualitySpec
from daemon.scheduling.residency import PRESENT, BackOff, Placement, Residency
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


class State:
    """The facts. Bytes are integers, times are seconds of the caller's clock."""

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
        self.lanes: list[Lane] = []
        self.lanes_by_model: dict[str, list[Lane]] = {name: [] for name in self.models}
        self._lanes: dict[tuple[str, str, bool, bool], Lane] = {}
        for model in self.models.values():
            for quality in model.qualities.values():
                for interactive in (True, False):
                    self._add_lane(model, quality, interactive=interactive)
        self.arrivals = {name: ArrivalRate() for name in self.models}
        self.back_offs = {name: BackOff() for name in self.models}
        self.changes = 0
        """Counts all changes: for what is worked out once."""
        self.versions = dict.fromkeys(self.ledgers, 0)
        """Counts changes of each device, and of who has work."""
        self.shapes = dict.fromkeys(self.ledgers, 0)
        """Counts only changes of what is on each device, not runs that begin or end."""
        self.shape = 0
        """Counts these on all devices, classes that run out of work on models that are there, and
        devices on which the last run ends: a switch may be worth it then that wasn't before."""
        self.loading: set[int] = set()
        """Devices on which a model is being loaded."""
        self.doomed: list[Placement] = []
        """Placements whose engines leak."""
        self.exclusive: dict[int, str] = {}
        """The run that has a device for itself."""
        self.waiting: dict[str, Waiting] = {}
        self.waiting_of = dict.fromkeys(self.models, 0)
        self.runs: dict[str, Run] = {}

    def _add_lane(
        self, model: ModelSpec, quality: QualitySpec, *, interactive: bool, exclusive: bool = False
    ) -> Lane:
        lane = Lane(model, quality, interactive=interactive, exclusive=exclusive)
        self._lanes[model.name, quality.name, interactive, exclusive] = lane
        self.lanes.append(lane)
        self.lanes_by_model[model.name].append(lane)
        return lane

    # Questions.

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
        if lane.waiting and not lane.exclusive:
            return self.estimates.reservation(lane.head().request)
        return self.estimates.activation(*lane.key)

    def has_work(self, model: str) -> bool:
        """Whether requests for the model wait, here or in the table."""
        return any(lane.waiting or lane.unclaimed for lane in self.lanes_by_model[model])

    def waiting_in(self, model: str, quality: str) -> int:
        """Return how many requests of one class wait."""
        return sum(lane.waiting for lane in self.lanes_by_model[model] if lane.key[1] == quality)

    def present(self, model: str) -> bool:
        """Whether the model is loaded, or being loaded, on any device."""
        return any(placement.residency in PRESENT for placement in self.placements_of[model])

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
        if placement.doomed or placement.device in self.exclusive:
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
            each is placement or each.residency is Residency.COLD
            for each in self.placements_on[placement.device]
        )

    def _has_it_whole(self, placement: Placement, lane: Lane) -> bool:
        """Whether a run would have the device for itself, and its bytes beside what others use."""
        room = self.ledgers[placement.device].room_of(placement.model.name)
        return self.alone(placement) and room >= self.need(lane)

    def _may_enter(self, placement: Placement, lane: Lane) -> bool:
        """Whether a run of the lane could start there now if it found its bytes."""
        return (
            placement.residency is Residency.RESIDENT
            and not placement.doomed
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

    def copy(self) -> "State":
        """Return the same state, for a look ahead; expectations are shared or fixed."""
        shared = (self.estimates, *self.models.values())
        shared += tuple(
            quality for each in self.models.values() for quality in each.qualities.values()
        )
        shared += tuple(ledger.device for ledger in self.ledgers.values())
        memo: dict[int, object] = {id(each): each for each in shared}
        memo[id(self.durations)] = self.durations.fixed()
        return copy.deepcopy(self, memo)

    # Changes.

    def changed(self, device: int) -> None:
        """Note that a device isn't as it was."""
        self.changes += 1
        self.versions[device] += 1

    def reshaped(self, device: int) -> None:
        """Note that more of a device has changed than that a run began or ended."""
        self.changed(device)
        self.shapes[device] += 1
        self.shape += 1

    def _work_changed(self, lane: Lane) -> None:
        """Note that a class has got work, or has none any more: every device may be affected."""
        for device in self.versions:
            self.changed(device)
        if not lane.backlog and self.present(lane.model.name):
            self.shape += 1

    def count_unclaimed(self, counts: Mapping[tuple[str, str], int]) -> None:
        """Take how many jobs of each class, (model, quality), the table holds unclaimed."""
        self.changes += 1
        for (model, quality, interactive, exclusive), lane in self._lanes.items():
            if exclusive or interactive:
                continue  # the table's jobs are neither
            had_work = lane.backlog > 0
            lane.unclaimed = counts.get((model, quality), 0)
            if had_work != (lane.backlog > 0):
                self._work_changed(lane)

    def submit(self, request: AdmissionRequest, now: float) -> None:
        """Let a request wait in its lane; raises KeyError for a class that isn't served."""
        key = request.model, request.quality, request.interactive, request.exclusive
        lane = self._lanes.get(key)
        if lane is None:
            model = self.models[request.model]
            lane = self._add_lane(
                model,
                model.qualities[request.quality],
                interactive=request.interactive,
                exclusive=True,
            )
        share_s = self.durations.run_s(lane.key) / lane.quality.concurrency
        tag = self.shares.tag(request.user, share_s) if self._fair else 0.0
        had_work = lane.backlog > 0
        self.waiting[request.id] = lane.add(request, now, tag)
        lane.unclaimed = max(0, lane.unclaimed - 1)
        self.changes += 1
        if not had_work:
            self._work_changed(lane)
        self.waiting_of[request.model] += 1
        self.arrivals[request.model].arrived(now)

    def leave(self, request_id: str) -> Waiting:
        """Take a waiting request out, for whatever reason; raises KeyError if it doesn't wait."""
        waiting = self.waiting.pop(request_id)
        waiting.lane.remove(waiting)
        self.waiting_of[waiting.request.model] -= 1
        self.changes += 1
        if not waiting.lane.backlog:
            self._work_changed(waiting.lane)
        return waiting

    def start(self, request_id: str, device: int, now: float) -> Run:
        """Turn a waiting request into a run with a reservation."""
        lane, request = self.waiting[request_id].lane, self.waiting[request_id].request
        model = request.model
        placement, ledger = self.placements[model, device], self.ledgers[device]
        # Whoever has the device for himself holds all that the model's budget allows.
        promised = (
            max(0, ledger.room_of(model)) if lane.exclusive else self.estimates.reservation(request)
        )
        if not self._may_enter(placement, lane):
            raise AssertionError(f"{request_id} can't start: no slot of {model} on {device}")
        waiting = self.leave(request_id)
        ledger.reserve(request_id, model, promised)
        self.changed(device)
        self.shares.started(waiting.tag)
        run = Run(
            request, lane, placement, placement.load_number, now, promised, waiting.waits(now)
        )
        self._enter(placement, run, now)
        lane.run_started()
        self.runs[request_id] = run
        if lane.exclusive:
            self.exclusive[device] = request_id
            self.reshaped(device)
        return run

    def _enter(self, placement: Placement, run: Run, now: float) -> None:
        """Count a run in its engine, and note who overlaps whom."""
        reserved = self.ledgers[placement.device].reserved_by(placement.model.name)
        if placement.runs:
            run.shared = True
            for other in placement.ends_s:
                self.runs[other].shared = True
            placement.most_reserved = max(placement.most_reserved, reserved)
        else:
            placement.most_reserved = reserved
        placement.runs += 1
        placement.served += 1
        quality = run.lane.quality.name
        placement.runs_by_quality[quality] = placement.runs_by_quality.get(quality, 0) + 1
        placement.ends_s[run.request.id] = now + self.durations.run_s(run.lane.key)

    def expect_end(self, request_id: str, at_s: float) -> None:
        """Take when a run is expected to end, by its own pace."""
        run = self.runs.get(request_id)
        if run is not None and request_id in run.placement.ends_s:
            run.placement.ends_s[request_id] = at_s

    def end(self, request_id: str, now: float) -> Run:
        """Forget a run; raises KeyError if there is none.

        1. Its engine lives: the reservation is free.
        2. Its engine is being reaped: the bytes are free only when that is done.
        3. Its engine is gone: the bytes were freed then.
        """
        run = self.runs.pop(request_id)
        run.lane.run_ended(now)
        placement = run.placement
        self.changed(placement.device)
        if self.exclusive.get(placement.device) == request_id:
            del self.exclusive[placement.device]
            self.reshaped(placement.device)
        if placement.load_number != run.load_number:
            return run  # 3, and a successor was loaded
        if placement.residency is Residency.RESIDENT:  # 1
            self.ledgers[placement.device].release(request_id, placement.model.name)
        if placement.residency in {Residency.RESIDENT, Residency.EVICTING}:  # 1, 2
            placement.runs -= 1
            del placement.ends_s[request_id]
            placement.runs_by_quality[run.lane.quality.name] -= 1
            placement.idle_since_s = now
            if not any(each.runs for each in self.placements_on[placement.device]):
                self.shape += 1
        return run

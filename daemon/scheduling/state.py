"""All that the scheduler knows: lanes, placements, runs and ledgers, changed only through here.

A policy reads it and asks as often as it likes; only the scheduler calls what changes it. Each
change is checked by the ledger and by the residency table, so that no policy can break them.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from daemon.scheduling.fairness import FairShares
from daemon.scheduling.lanes import Lane, Waiting
from daemon.scheduling.models import DeviceSpec, Estimates, ModelSpec
from daemon.scheduling.residency import PRESENT, BackOff, Change, Placement, Residency
from daemon.scheduling.seconds import ArrivalRate, Durations
from daemon.scheduling.vram import Ledger
from daemon.values import AdmissionRequest


@dataclass(frozen=True, slots=True, eq=False)
class Run:
    """A started request: where it runs, and in which load of the model."""

    request: AdmissionRequest
    lane: Lane
    placement: Placement
    load_number: int
    started_s: float


class State:
    """The facts. Bytes are integers, times are seconds of the caller's clock."""

    def __init__(
        self, models: Iterable[ModelSpec], devices: Iterable[DeviceSpec], *, fair: bool = True
    ) -> None:
        self.models = {model.name: model for model in models}
        self.estimates = Estimates(self.models.values())
        self.durations = Durations(self.models.values())
        self.shares = FairShares()
        self._fair = fair
        self.ledgers = {device.index: Ledger(device) for device in devices}
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
        self.lanes = {
            (name, quality.name, interactive): Lane(model, quality, interactive=interactive)
            for name, model in self.models.items()
            for quality in model.qualities.values()
            for interactive in (True, False)
        }
        self.lanes_by_model: dict[str, list[Lane]] = {name: [] for name in self.models}
        for lane in self.lanes.values():
            self.lanes_by_model[lane.model.name].append(lane)
        self.arrivals = {name: ArrivalRate() for name in self.models}
        self.back_offs = {name: BackOff() for name in self.models}
        self.versions = dict.fromkeys(self.ledgers, 0)
        """Counts changes of each device, and of who has work: for what is worked out once."""
        self.loading: set[int] = set()
        """Devices on which a model is being loaded."""
        self.waiting: dict[str, Waiting] = {}
        self.waiting_of = dict.fromkeys(self.models, 0)
        self.runs: dict[str, Run] = {}

    # Questions.

    def lanes_of(self, model: str) -> Iterator[Lane]:
        """Return the model's lanes."""
        return (lane for lane in self.lanes.values() if lane.model.name == model)

    def has_work(self, model: str) -> bool:
        """Whether requests for the model wait, here or in the table."""
        return any(lane.waiting or lane.unclaimed for lane in self.lanes_by_model[model])

    def waiting_in(self, model: str, quality: str) -> int:
        """Return how many requests of one class wait."""
        lanes = self.lanes
        return lanes[model, quality, True].waiting + lanes[model, quality, False].waiting

    def present(self, model: str) -> bool:
        """Whether the model is loaded, or being loaded, on any device."""
        return any(placement.residency in PRESENT for placement in self.placements_of[model])

    def resident(self, model: str) -> bool:
        """Whether the model is loaded on any device."""
        return any(
            placement.residency is Residency.RESIDENT for placement in self.placements_of[model]
        )

    def ever_fits(self, model: str, quality: str) -> bool:
        """Whether a run of this class could be granted on an otherwise empty device."""
        weights = self.estimates.weights(model)
        need = weights + self.estimates.activation(model, quality)
        largest = max((ledger.usable_bytes for ledger in self.ledgers.values()), default=-1)
        return weights <= self.models[model].budget_bytes and need <= largest

    def free_slots(self, placement: Placement, quality: str) -> int:
        """Return how many more runs of this quality the placement could take at once now.

        Counts concurrency, budget and the device's free bytes; a model that is being loaded
        counts as if it were there.
        """
        model = placement.model
        slots = min(
            model.qualities[quality].concurrency - placement.runs_by_quality.get(quality, 0),
            model.max_concurrent - placement.runs,
        )
        activation = self.estimates.activation(model.name, quality)
        if slots > 0 and activation:
            room = self.ledgers[placement.device].room_of(model.name)
            slots = min(slots, room // activation)
        return max(0, slots)

    def may_start(self, placement: Placement, quality: str) -> bool:
        """Whether a run of this quality could start on the placement now."""
        return placement.residency is Residency.RESIDENT and self.free_slots(placement, quality) > 0

    # Changes.

    def count_unclaimed(self, counts: Mapping[tuple[str, str], int]) -> None:
        """Take how many jobs of each class, (model, quality), the table holds unclaimed."""
        for (model, quality, interactive), lane in self.lanes.items():
            had_work = lane.backlog > 0
            lane.unclaimed = 0 if interactive else counts.get((model, quality), 0)
            if had_work != (lane.backlog > 0):
                self._all_changed()

    def submit(self, request: AdmissionRequest, now: float) -> None:
        """Let a request wait in its lane."""
        lane = self.lanes[request.model, request.quality, request.interactive]
        share_s = self.durations.run_s(lane.key) / lane.quality.concurrency
        tag = self.shares.tag(request.user, share_s) if self._fair else 0.0
        if not lane.backlog:
            self._all_changed()
        self.waiting[request.id] = lane.add(request, now, tag)
        lane.unclaimed = max(0, lane.unclaimed - 1)
        self.waiting_of[request.model] += 1
        self.arrivals[request.model].arrived(now)

    def leave(self, request_id: str) -> Waiting:
        """Take a waiting request out, for whatever reason; raises KeyError if it doesn't wait."""
        waiting = self.waiting.pop(request_id)
        waiting.lane.remove(waiting)
        self.waiting_of[waiting.request.model] -= 1
        if not waiting.lane.backlog:
            self._all_changed()
        return waiting

    def _all_changed(self) -> None:
        """Note that a class has got work, or has none any more: every device may be affected."""
        for device in self.versions:
            self.versions[device] += 1

    def start(self, request_id: str, device: int, now: float) -> None:
        """Turn a waiting request into a run with a reservation."""
        waiting = self.leave(request_id)
        lane, request = waiting.lane, waiting.request
        model, quality = lane.key
        placement = self.placements[model, device]
        if not self.may_start(placement, quality):
            raise AssertionError(f"{request_id} can't start: no slot of {model} on {device}")
        need = self.estimates.activation(model, quality)
        self.ledgers[device].reserve(request_id, model, need)
        self.versions[device] += 1
        self.shares.started(waiting.tag)
        placement.runs += 1
        placement.served += 1
        by_quality = placement.runs_by_quality
        by_quality[quality] = by_quality.get(quality, 0) + 1
        placement.ends_s[request_id] = now + self.durations.run_s(lane.key)
        lane.run_started()
        self.runs[request_id] = Run(request, lane, placement, placement.load_number, now)

    def end(self, request_id: str, now: float) -> Run:
        """Forget a run; raises KeyError if there is none.

        1. Its engine lives: the reservation is free.
        2. Its engine is being reaped: the bytes are free only when that is done.
        3. Its engine is gone: the bytes were freed then.
        """
        run = self.runs.pop(request_id)
        run.lane.run_ended(now)
        placement = run.placement
        self.versions[placement.device] += 1
        if placement.load_number != run.load_number:
            return run  # 3, and a successor was loaded
        if placement.residency is Residency.RESIDENT:  # 1
            self.ledgers[placement.device].release(request_id, placement.model.name)
        if placement.residency in {Residency.RESIDENT, Residency.EVICTING}:  # 1, 2
            placement.runs -= 1
            del placement.ends_s[request_id]
            placement.runs_by_quality[run.lane.quality.name] -= 1
            placement.idle_since_s = now
        return run

    def load(self, model: str, device: int, now: float) -> None:
        """Hold the bytes of a load that begins."""
        placement = self.placements[model, device]
        if device in self.loading:
            raise AssertionError(f"{model} would load beside another load on device {device}")
        placement.advance(Change.LOAD)
        self.loading.add(device)
        self.versions[device] += 1
        placement.load_number += 1
        placement.served = 0
        placement.changed_s = now
        self._charge(model)
        weights, budget = self.estimates.weights(model), placement.model.budget_bytes
        self.ledgers[device].hold_weights(model, weights, budget)

    def _charge(self, model: str) -> None:
        """Charge a load to who is next for the model."""
        waiting = [lane for lane in self.lanes_by_model[model] if lane.waiting]
        if waiting:
            self.shares.charge(waiting[0].head().request.user, self.durations.load_s(model))

    def loaded(self, model: str, device: int, measured: int, now: float) -> bool:
        """Settle a load; False when it took more than there is: it must be unloaded."""
        placement = self.placements[model, device]
        placement.advance(Change.LOADED)
        self.loading.remove(device)
        self.versions[device] += 1
        self.durations.loads[model].observe(now - placement.changed_s)
        placement.changed_s = placement.idle_since_s = now
        if measured <= placement.model.budget_bytes:
            self.estimates.weights_measured(model, measured)
        return self.ledgers[device].settle_weights(model, measured)

    def evict(self, model: str, device: int, now: float) -> None:
        """Begin an unload of an idle model."""
        placement = self.placements[model, device]
        if placement.runs:
            raise AssertionError(f"{model} on device {device} has {placement.runs} runs")
        placement.advance(Change.EVICT)
        self.versions[device] += 1
        placement.changed_s = now

    def lose(self, model: str, device: int, now: float) -> bool:
        """The engine died: the same as an unload, but with runs. False: it was going anyway."""
        placement = self.placements[model, device]
        if placement.residency is Residency.EVICTING:
            return False
        placement.advance(Change.EVICT)
        self.versions[device] += 1
        placement.changed_s = now
        return True

    def gone(self, model: str, device: int, now: float, *, failed: bool = False) -> None:
        """Free everything that the model held: its engine is gone for certain."""
        placement = self.placements[model, device]
        if not failed:
            self.durations.unloads[model].observe(now - placement.changed_s)
        placement.changed_s = now
        self.versions[device] += 1
        placement.advance(Change.FAILED if failed else Change.GONE)
        if failed:
            self.loading.remove(device)
        placement.runs = 0
        placement.runs_by_quality.clear()
        placement.ends_s.clear()
        self.ledgers[device].release_model(model)

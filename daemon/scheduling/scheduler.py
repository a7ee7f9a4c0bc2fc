"""The scheduler: events in, commands out, no I/O and no clock.

Every request that is submitted ends in exactly one of started, refused, withdrawn. Slow work
(loads, unloads, runs) is commanded, carried out elsewhere and comes back as an event. Which
command comes next is the policy's choice; that it breaks nothing is checked by `State`.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import assert_never

from daemon.jobs import ErrorCode
from daemon.scheduling import moves
from daemon.scheduling.accounting import account
from daemon.scheduling.commands import (
    Command,
    LoadModel,
    OffloadModel,
    RefuseRequest,
    StartRun,
    UnloadModel,
)
from daemon.scheduling.demand import demand_of
from daemon.scheduling.learning import (
    NOT_MEASURED,
    Measured,
    charge_for_length,
    learn_from,
)
from daemon.scheduling.models import DeviceSpec, ModelSpec
from daemon.scheduling.policy import IndexPolicy, Policy
from daemon.scheduling.refusals import Refusals
from daemon.scheduling.residency import Residency
from daemon.scheduling.snapshot import SchedulerSnapshot, snapshot_of
from daemon.scheduling.state import State
from daemon.values import AdmissionRequest, Demand, Loaded, Offloaded, Waits


class Scheduler:
    """Decides who runs where. `now` is seconds of the caller's clock and never goes back."""

    def __init__(
        self,
        models: Iterable[ModelSpec],
        devices: Iterable[DeviceSpec],
        *,
        max_pass_over_s: float,
        preload: Sequence[str] = (),
        host_bytes: int = 0,
        policy: Policy | None = None,
    ) -> None:
        self._policy = policy or IndexPolicy(max_pass_over_s, preload=preload)
        self.state = State(models, devices, fair=self._policy.fair, host_bytes=host_bytes)
        self._refusals = Refusals(self.state)
        self._draining = False

    # Events of requests.

    def submit(self, request: AdmissionRequest, now: float) -> list[Command]:
        """Take one request in: see `submit_all`."""
        return self.submit_all((request,), now)

    def submit_all(self, requests: Sequence[AdmissionRequest], now: float) -> list[Command]:
        """Take requests in that came together: what to load first depends on all of them."""
        refusals: list[Command] = []
        for each in requests:
            if self.knows(each.id):
                raise ValueError(f"request {each.id} was submitted before and hasn't ended")
            if (refusal := self._refusals.at_once(each, now)) is not None:
                refusals.append(refusal)
            else:
                self.state.submit(each, now)
        return [*refusals, *self._decide(now)]

    def withdraw(self, request_id: str, now: float) -> list[Command]:
        """Forget a waiting request; raises KeyError if it doesn't wait."""
        self.state.leave(request_id)
        return self._decide(now)

    def run_ended(
        self, request_id: str, now: float, measured: Measured = NOT_MEASURED
    ) -> list[Command]:
        """Take back what a run held; raises KeyError if there is no such run."""
        learn_from(self.state, run := self.state.runs[request_id], measured, now)
        charge_for_length(self.state, run, now)
        self.state.end(request_id, now)
        return self._decide(now)

    def expect_end(self, request_id: str, at_s: float) -> None:
        """Take when a run is expected to end, by its own pace; unknown ids are ignored."""
        self.state.expect_end(request_id, at_s)

    # Events of engines.

    def adopt(self, kept: Iterable[tuple[str, int, Loaded]], now: float) -> list[Command]:
        """Take in engines (model, device, what they hold) that are there already.

        Before anything else: what they hold must be known when the first decision is made. One
        that doesn't fit, where other models have other budgets now, is unloaded.
        """
        commands: list[Command] = []
        for model, device, loaded in kept:
            if not moves.adopt(self.state, model, device, loaded, now):
                moves.evict(self.state, model, device, now)
                commands.append(UnloadModel(model, device))
        return [*commands, *self._decide(now)]

    def load_done(self, model: str, device: int, loaded: Loaded, now: float) -> list[Command]:
        """The model is in the device's memory.

        1. It fits: the model is resident.
        2. It exceeds its budget: it is unloaded; that counts as a failed load.
        3. It exceeds only what was free: it is unloaded; the next load asks for enough.
        In each case requests that can't fit any more, now that more is known, are refused.
        """
        state, refused = self.state, []
        commands: list[Command] = []
        if moves.loaded(state, model, device, loaded, now):  # 1
            state.back_offs[model].succeeded()
        else:  # 2, 3
            moves.evict(state, model, device, now)
            commands.append(UnloadModel(model, device))
            if loaded.weights_bytes > state.models[model].budget_bytes:  # 2
                refused = self._refusals.over_budget(model, loaded.weights_bytes, now)
        return [*commands, *refused, *self._refusals.overflowing(model), *self._decide(now)]

    def load_lost(self, model: str, device: int, now: float) -> None:
        """The engine ended while its model came; another one loads it, from disk."""
        moves.load_anew(self.state, model, device, now)

    def load_failed(
        self, model: str, device: int, error_code: ErrorCode, message: str, now: float
    ) -> list[Command]:
        """The load failed and its engine is gone.

        1. It ran out of memory beside others: the next request is tried alone on a device.
        2. Otherwise everybody who waits for the model is answered.
        """
        moves.gone(self.state, model, device, now, failed=True)
        if error_code is ErrorCode.VRAM_OVERFLOW and moves.retry_alone(  # 1
            self.state, model, device, now
        ):
            return self._decide(now)
        refused = self._refusals.load_failed(model, error_code, message, now)
        return [*refused, *self._decide(now)]

    def offload_done(
        self, model: str, device: int, offloaded: Offloaded, now: float
    ) -> list[Command]:
        """The weights are in the host's memory, and the device has its bytes back."""
        moves.offloaded(self.state, model, device, offloaded, now)
        return self._decide(now)

    def unload_done(self, model: str, device: int, now: float) -> list[Command]:
        """The engine is gone and its bytes are free, as measured."""
        moves.gone(self.state, model, device, now)
        return self._decide(now)

    def engine_lost(self, model: str, device: int, now: float) -> list[Command]:
        """The engine died. Its bytes stay held until `unload_done`, which always follows."""
        moves.lose(self.state, model, device, now)
        return self._decide(now)

    def engine_gone(self, request_id: str, now: float) -> list[Command]:
        """A run found its engine gone; `engine_lost` comes too, or has come."""
        run = self.state.runs[request_id]
        placement = run.placement
        if (
            run.load_number != placement.load_number
            or placement.residency is not Residency.RESIDENT
        ):
            return []
        return self.engine_lost(placement.model.name, placement.device, now)

    def used_by_others(self, device: int, n_bytes: int, now: float) -> list[Command]:
        """Take how many bytes of a device others use."""
        ledger = self.state.ledgers[device]
        if ledger.outside_bytes == n_bytes:
            return []
        ledger.outside_bytes = n_bytes
        self.state.reshaped(device)
        return self._decide(now)

    def count_unclaimed(self, counts: Mapping[tuple[str, str], int], now: float) -> list[Command]:
        """Take how many jobs of each class, (model, quality), the table holds unclaimed."""
        self.state.count_unclaimed(counts)
        return self._decide(now)

    def tick(self, now: float) -> list[Command]:
        """Look again: a deadline has passed."""
        return self._decide(now)

    def drain(self) -> None:
        """Ask for no more jobs; what was submitted goes on."""
        self._draining = True

    def resume(self) -> None:
        """Ask for jobs again."""
        self._draining = False

    # Questions.

    def knows(self, request_id: str) -> bool:
        """Whether the request waits or runs."""
        return request_id in self.state.waiting or request_id in self.state.runs

    def demand(self, now: float) -> tuple[Demand, ...]:
        """Return the jobs that could be taken now; nothing while draining."""
        return () if self._draining else demand_of(self.state, self._policy, now)

    def next_deadline(self, now: float) -> float | None:
        """Return when `tick` must be called, later than `now`; None: only events matter."""
        return self._policy.next_deadline(self.state, now)

    def account(self, now: float) -> None:
        """Note what each lane waits for from now on, for `waited`; after events, before reading."""
        account(self.state, self._policy.claims(self.state, now), now)

    def waited(self, request_id: str) -> Waits:
        """Return why a run's request had waited, in seconds; raises KeyError if it doesn't run."""
        return self.state.runs[request_id].waited

    def loading(self, model: str) -> bool:
        """Say whether a model is being loaded anywhere."""
        places = self.state.placements_of[model]
        return any(place.residency is Residency.LOADING for place in places)

    def savings(self, request_id: str) -> int:
        """Return how far a run may go to save memory; raises KeyError if it doesn't run."""
        return self.state.runs[request_id].placement.savings

    def take_charges(self) -> dict[str, float]:
        """Return what users have taken beside their jobs' usual cost, once; seconds by user."""
        return self.state.shares.take_owed()

    def snapshot(self, now: float) -> SchedulerSnapshot:
        """Return what each device holds, what runs, what waits and why."""
        self.account(now)
        claims = self._policy.claims(self.state, now)
        return snapshot_of(self.state, claims, now, draining=self._draining)

    def copy(self) -> "Scheduler":
        """Return one that is in the same state, decides alike and learns nothing."""
        copy = Scheduler((), (), max_pass_over_s=0.0, policy=self._policy.fresh())
        copy.state = self.state.copy()
        copy._refusals = Refusals(copy.state)
        return copy

    # Decisions.

    def _decide(self, now: float) -> list[Command]:
        commands: list[Command] = []
        while (command := self._next(now)) is not None:
            self._apply(command, now)
            commands.append(command)
        return commands

    def _next(self, now: float) -> Command | None:
        """Return the next command; an engine that leaks goes as soon as it is idle."""
        for placement in self.state.doomed:
            if not placement.runs and placement.residency is Residency.RESIDENT:
                return UnloadModel(placement.model.name, placement.device)
        return self._policy.next_command(self.state, now)

    def _apply(self, command: Command, now: float) -> None:
        match command:
            case StartRun(request_id, _, device):
                self.state.start(request_id, device, now)
            case LoadModel(model, device):
                moves.load(self.state, model, device, now)
            case OffloadModel(model, device):
                moves.offload(self.state, model, device, now)
            case UnloadModel(model, device):
                moves.evict(self.state, model, device, now)
            case RefuseRequest(request_id):
                self.state.leave(request_id)
            case _:
                assert_never(command)

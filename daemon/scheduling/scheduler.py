"""The scheduler: events in, commands out, no I/O and no clock.

Every request that is submitted ends in exactly one of started, refused, withdrawn. Slow work
(loads, unloads, runs) is commanded, carried out elsewhere and comes back as an event. Which
command comes next is the policy's choice; that it breaks nothing is checked by `State`.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import assert_never

from daemon.jobs import ErrorCode
from daemon.scheduling.commands import Command, LoadModel, RefuseRequest, StartRun, UnloadModel
from daemon.scheduling.demand import demand_of
from daemon.scheduling.models import DeviceSpec, ModelSpec, gib
from daemon.scheduling.policy import IndexPolicy, Policy
from daemon.scheduling.snapshot import SchedulerSnapshot, snapshot_of
from daemon.scheduling.state import State
from daemon.values import AdmissionRequest, Demand


class Scheduler:
    """Decides who runs where. `now` is seconds of the caller's clock and never goes back."""

    def __init__(
        self,
        models: Iterable[ModelSpec],
        devices: Iterable[DeviceSpec],
        *,
        max_pass_over_s: float,
        preload: Sequence[str] = (),
        policy: Policy | None = None,
    ) -> None:
        self._policy = policy or IndexPolicy(max_pass_over_s, preload=preload)
        self.state = State(models, devices, fair=self._policy.fair)
        self._draining = False

    # Events of requests.

    def submit(self, request: AdmissionRequest, now: float) -> list[Command]:
        """Take one request in: see `submit_all`."""
        return self.submit_all((request,), now)

    def submit_all(self, requests: Sequence[AdmissionRequest], now: float) -> list[Command]:
        """Take requests in that came together: what to load first depends on all of them."""
        refusals = [
            refusal for each in requests if (refusal := self._take_in(each, now)) is not None
        ]
        return [*refusals, *self._decide(now)]

    def _take_in(self, request: AdmissionRequest, now: float) -> RefuseRequest | None:
        """Let a request wait, or refuse it at once when it can't be granted.

        1. A model or quality that isn't served: MODEL_LOAD_FAILED.
        2. More memory than there is or may be used: VRAM_OVERFLOW.
        3. The model is in load back-off and nowhere present: the error of the failed load.
        4. Otherwise it waits.
        """
        state, model, quality = self.state, request.model, request.quality
        if self.knows(request.id):
            raise ValueError(f"request {request.id} was submitted before and hasn't ended")
        if (model, quality, request.interactive) not in state.lanes:  # 1
            message = f"model {model} in quality {quality} isn't served by this worker"
            return RefuseRequest(request.id, ErrorCode.MODEL_LOAD_FAILED, message)
        if not state.ever_fits(model, quality):  # 2
            return self._overflow(request)
        back_off = state.back_offs[model]
        if back_off.active(now) and not state.present(model):  # 3
            wait = back_off.until_s - now
            message = f"{back_off.message} (next try to load in {wait:.0f} s)"
            return RefuseRequest(request.id, back_off.error_code, message)
        state.submit(request, now)  # 4
        return None

    def withdraw(self, request_id: str, now: float) -> list[Command]:
        """Forget a waiting request; raises KeyError if it doesn't wait."""
        self.state.leave(request_id)
        return self._decide(now)

    def run_ended(
        self,
        request_id: str,
        now: float,
        peak_bytes: int | None = None,
        *,
        completed: bool = True,
    ) -> list[Command]:
        """Take back what a run held; raises KeyError if there is no such run.

        Only what was completed says how long such runs take.
        """
        run = self.state.end(request_id, now)
        if completed:
            self.state.durations.runs[run.lane.key].observe(now - run.started_s)
        if peak_bytes is not None:
            self.state.estimates.observe(*run.lane.key, peak_bytes)
        return self._decide(now)

    # Events of engines.

    def load_done(
        self, model: str, device: int, weights_bytes_measured: int, now: float
    ) -> list[Command]:
        """The model is in memory and took so many bytes.

        1. They fit: the model is resident.
        2. They exceed its budget: it is unloaded; that counts as a failed load.
        3. They exceed only what was free: it is unloaded; the next load asks for enough.
        In each case requests that can't fit any more, now that more is known, are refused.
        """
        state, refused = self.state, []
        commands: list[Command] = []
        if state.loaded(model, device, weights_bytes_measured, now):  # 1
            state.back_offs[model].succeeded()
        else:  # 2, 3
            state.evict(model, device, now)
            commands.append(UnloadModel(model, device))
            budget = state.models[model].budget_bytes
            if weights_bytes_measured > budget:  # 2
                message = (
                    f"weights of model {model} took {gib(weights_bytes_measured)}, "
                    f"its budget is {gib(budget)}"
                )
                refused = self._load_failed(model, ErrorCode.VRAM_OVERFLOW, message, now)
        return [*commands, *refused, *self._refuse_overflowing(model), *self._decide(now)]

    def load_failed(
        self, model: str, device: int, error_code: ErrorCode, message: str, now: float
    ) -> list[Command]:
        """The load failed and its engine is gone: answer everybody who waits for the model."""
        self.state.gone(model, device, now, failed=True)
        refused = self._load_failed(model, error_code, message, now)
        return [*refused, *self._decide(now)]

    def unload_done(self, model: str, device: int, now: float) -> list[Command]:
        """The engine is gone and its bytes are free, as measured."""
        self.state.gone(model, device, now)
        return self._decide(now)

    def engine_lost(self, model: str, device: int, now: float) -> list[Command]:
        """The engine died. Its bytes stay held until `unload_done`, which always follows."""
        self.state.lose(model, device, now)
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

    def snapshot(self, now: float) -> SchedulerSnapshot:
        """Return what each device holds, what runs, what waits and why."""
        return snapshot_of(self.state, now, draining=self._draining)

    # Decisions.

    def _decide(self, now: float) -> list[Command]:
        commands: list[Command] = []
        while (command := self._policy.next_command(self.state, now)) is not None:
            self._apply(command, now)
            commands.append(command)
        return commands

    def _apply(self, command: Command, now: float) -> None:
        match command:
            case StartRun(request_id, _, device):
                self.state.start(request_id, device, now)
            case LoadModel(model, device):
                self.state.load(model, device, now)
            case UnloadModel(model, device):
                self.state.evict(model, device, now)
            case RefuseRequest(request_id):
                self.state.leave(request_id)
            case _:
                assert_never(command)

    def _load_failed(
        self, model: str, error_code: ErrorCode, message: str, now: float
    ) -> list[Command]:
        """Begin a back-off; without another present placement nobody can be served: refuse all."""
        self.state.back_offs[model].failed(error_code, message, now)
        if self.state.present(model):
            return []
        return self._refuse(
            [
                RefuseRequest(waiting.request.id, error_code, message)
                for lane in self.state.lanes_of(model)
                for waiting in lane
            ]
        )

    def _refuse_overflowing(self, model: str) -> list[Command]:
        return self._refuse(
            [
                self._overflow(waiting.request)
                for lane in self.state.lanes_of(model)
                if lane.waiting and not self.state.ever_fits(*lane.key)
                for waiting in lane
            ]
        )

    def _refuse(self, refusals: list[RefuseRequest]) -> list[Command]:
        for refusal in refusals:
            self.state.leave(refusal.request_id)
        return [*refusals]

    def _overflow(self, request: AdmissionRequest) -> RefuseRequest:
        model, quality = request.model, request.quality
        weights = self.state.estimates.weights(model)
        activation = self.state.estimates.activation(model, quality)
        largest = max((each.usable_bytes for each in self.state.ledgers.values()), default=0)
        message = (
            f"model {model} in quality {quality} needs {gib(weights)} of weights and "
            f"{gib(activation)} for the run; its budget is "
            f"{gib(self.state.models[model].budget_bytes)} and the largest device offers "
            f"{gib(largest)}"
        )
        return RefuseRequest(request.id, ErrorCode.VRAM_OVERFLOW, message)

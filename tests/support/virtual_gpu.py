"""A GPU host in virtual time, for tests of the scheduler: carries commands out and counts bytes.

Its own count of bytes, slots and loads is independent of the ledger's, so that an error there
doesn't hide itself.
"""

import heapq
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from typing import Any

from daemon.jobs import ErrorCode
from daemon.model_specs import specs_from
from daemon.scheduling.commands import (
    Command,
    LoadModel,
    OffloadModel,
    RefuseRequest,
    StartRun,
    UnloadModel,
)
from daemon.scheduling.learning import Measured
from daemon.scheduling.models import GIB, DeviceSpec, ModelSpec, QualitySpec
from daemon.scheduling.scheduler import Scheduler
from daemon.settings import load_settings
from daemon.values import AdmissionRequest, Loaded, Offloaded


def model(
    name: str, budget: float, weights: float, slots: int, **qualities: tuple[float, int]
) -> ModelSpec:
    """Return a model; sizes in GB, qualities as footprint and concurrency."""
    return ModelSpec(
        name=name,
        budget_bytes=int(budget * GIB),
        weights_bytes=int(weights * GIB),
        max_concurrent=slots,
        qualities={
            quality: QualitySpec(quality, int(footprint * GIB), at, (f"{name}_{quality}",))
            for quality, (footprint, at) in qualities.items()
        },
    )


SDXL = model("sdxl", 12, 6.6, 2, fast=(8, 2), high=(12, 1))
WAN = model("wan", 6, 2.8, 4, fast=(4, 4), high=(6, 2))
VIDEO = model("video", 20, 12, 1, fast=(16, 1), high=(20, 1))
CHAT = model("chat", 4, 3.2, 8, fast=(4, 8))
NOOP = model("noop", 0, 0, 256, fast=(0, 256))
ALL = (SDXL, WAN, VIDEO, CHAT, NOOP)

SHIPPED = specs_from(load_settings().models)
"""The default models, with the seconds that they are expected to take."""


def device(capacity: float, index: int = 0, reserve: float = 1.0) -> DeviceSpec:
    """Return a device; sizes in GB."""
    return DeviceSpec(index, int(capacity * GIB), int(reserve * GIB))


def request(
    name: str,
    model_name: str,
    quality: str = "fast",
    *,
    at: float = 0.0,
    interactive: bool = False,
    **more: Any,
) -> AdmissionRequest:
    """Return a request that was created at that second."""
    return AdmissionRequest(name, model_name, quality, None, at, interactive, **more)


@dataclass
class ShadowRun:
    """A run, and the bytes that it uses. A lost one's bytes belong to its dying engine."""

    model: str
    quality: str
    device: int
    n_bytes: int
    lost: bool = False
    exclusive: bool = False


@dataclass
class Shadow:
    """What is really on the devices, counted from the commands and the ends of their acts."""

    models: dict[str, ModelSpec]
    usable: dict[int, int]
    weights: dict[tuple[str, int], int] = field(default_factory=dict)
    """Of engines that aren't gone; a dying one keeps its runs' bytes too."""
    largest: dict[str, int] = field(default_factory=dict)
    """The largest weights that were measured within the budget."""
    outside: dict[int, int] = field(default_factory=dict)
    """What others use."""
    host_bytes: int = 0
    host: dict[tuple[str, int], int] = field(default_factory=dict)
    """Copies in the host's memory."""
    offloaded: set[tuple[str, int]] = field(default_factory=set)
    loading: set[tuple[str, int]] = field(default_factory=set)
    resident: set[tuple[str, int]] = field(default_factory=set)
    runs: dict[str, ShadowRun] = field(default_factory=dict)

    def start(self, each: AdmissionRequest, on: int, n_bytes: int) -> None:
        """Take the bytes that a run was promised; for itself it has the whole device."""
        assert (each.model, on) in self.resident, f"{each.id} starts on an absent {each.model}"
        assert not any(run.exclusive and run.device == on for run in self.runs.values())
        if each.exclusive:
            assert [key for key in self.weights if key[1] == on] == [(each.model, on)]
            assert not self._living(each.model, on)
        self.runs[each.id] = ShadowRun(
            each.model, each.quality, on, n_bytes, exclusive=each.exclusive
        )
        if n_bytes:
            self.check_promise(on)

    def load(self, name: str, on: int) -> None:
        assert (name, on) not in self.weights or (name, on) in self.offloaded
        assert not any(run.exclusive and run.device == on for run in self.runs.values())
        self.offloaded.discard((name, on))
        self.loading.add((name, on))
        expected = max(self.models[name].weights_bytes, self.largest.get(name, 0))
        grows = expected > self.weights.get((name, on), 0)
        self.weights[name, on] = max(expected, self.weights.get((name, on), 0))
        if grows:
            self.check_promise(on)

    def check_promise(self, on: int) -> None:
        """Whatever is newly promised is there, beside what others use."""
        held = sum(self._bytes(name, where) for name, where in self.weights if where == on)
        used = self.outside.get(on, 0)
        assert held + used <= self.usable[on], f"device {on}: {held} and {used} of others"

    def offload(self, name: str, on: int) -> None:
        assert (name, on) in self.resident
        assert not self._living(name, on), f"{name} is offloaded under its runs"
        self.resident.discard((name, on))
        self.host.setdefault((name, on), self.weights[name, on])
        assert sum(self.host.values()) <= self.host_bytes

    def offload_done(self, name: str, on: int, left: int) -> None:
        self.offloaded.add((name, on))
        self.weights[name, on] = min(left, self.weights[name, on])

    def loaded(self, name: str, on: int, measured: int) -> None:
        self.loading.remove((name, on))
        self.resident.add((name, on))
        self.host.pop((name, on), None)
        self.weights[name, on] = measured
        if measured <= self.models[name].budget_bytes:
            self.largest[name] = max(measured, self.largest.get(name, 0))

    def unload(self, name: str, on: int) -> None:
        assert not self._living(name, on), f"{name} is evicted under its runs"
        self.resident.discard((name, on))
        self.offloaded.discard((name, on))

    def lose(self, name: str, on: int) -> None:
        self.resident.discard((name, on))
        self.offloaded.discard((name, on))
        for run in self._living(name, on):
            self.weights[name, on] += run.n_bytes
            run.lost = True

    def gone(self, name: str, on: int) -> None:
        self.loading.discard((name, on))
        self.resident.discard((name, on))
        self.offloaded.discard((name, on))
        self.host.pop((name, on), None)
        del self.weights[name, on]

    def check(self, overrun: set[tuple[str, int]]) -> None:
        """Count again. `overrun` are models whose weights took more than anybody promised."""
        for on, usable in self.usable.items():
            here = [name for name, where in self.weights if where == on]
            assert len([1 for _, where in self.loading if where == on]) <= 1
            held = sum(self._bytes(name, on) for name in here)
            if not any((name, on) in overrun for name in here):
                assert held <= usable, f"device {on} holds {held} of {usable}"
            for name in here:
                self._check_model(name, on, within_budget=(name, on) not in overrun)

    def _check_model(self, name: str, on: int, *, within_budget: bool) -> None:
        spec, runs = self.models[name], self._living(name, on)
        assert len(runs) <= spec.max_concurrent
        for quality in spec.qualities.values():
            assert len([run for run in runs if run.quality == quality.name]) <= quality.concurrency
        if within_budget:
            assert self._bytes(name, on) <= spec.budget_bytes

    def _living(self, name: str, on: int) -> list[ShadowRun]:
        return [
            run
            for run in self.runs.values()
            if (run.model, run.device) == (name, on) and not run.lost
        ]

    def _bytes(self, name: str, on: int) -> int:
        return self.weights[name, on] + sum(run.n_bytes for run in self._living(name, on))


class VirtualGpu:
    """Runs a scheduler against virtual time. Every act takes the seconds that are set here."""

    load_s = 10.0
    unload_s = 1.0
    restore_s = 2.0
    offload_s = 1.0

    def __init__(
        self,
        models: Sequence[ModelSpec] = ALL,
        devices: Sequence[DeviceSpec] = (device(24),),
        *,
        max_pass_over_s: float = 60.0,
        host_gb: float = 0,
    ) -> None:
        self.scheduler = Scheduler(
            models,
            devices,
            max_pass_over_s=max_pass_over_s,
            host_bytes=int(host_gb * GIB),
        )
        self.now = 0.0
        self.log: list[tuple[float, Command]] = []
        self.started: dict[str, float] = {}
        self.ended: dict[str, float] = {}
        self.refused: dict[str, ErrorCode] = {}
        self.submitted: dict[str, AdmissionRequest] = {}
        self.failing: set[str] = set()
        self.shadow = Shadow(
            {each.name: each for each in models},
            {each.index: each.usable_bytes for each in devices},
            host_bytes=int(host_gb * GIB),
        )
        self.measured: dict[str, Measured] = {}
        """What is seen of a run at its end, where it isn't the usual."""
        self._offloads = host_gb > 0
        self._run_s: dict[str, float] = {}
        self._events: list[tuple[float, int, Callable[[], list[Command]]]] = []
        self._numbers = count()

    def submit(self, each: AdmissionRequest, *, run_s: float = 5.0) -> list[Command]:
        """Submit now; the run will take so many seconds."""
        self.submitted[each.id] = each
        self._run_s[each.id] = run_s
        return self._take(self.scheduler.submit(each, self.now))

    def submit_at(self, when: float, each: AdmissionRequest, *, run_s: float = 5.0) -> None:
        """Submit at that second."""
        self._at(when, lambda: self.submit(each, run_s=run_s))

    def advance(self, until: float) -> None:
        """Let everything happen that is due up to that second."""
        while True:
            deadline = self.scheduler.next_deadline(self.now)
            following = min(self._events[0][0] if self._events else until, deadline or until)
            if following > until or (following == until and not self._due(until, deadline)):
                break
            self.now = following
            if self._events and self._events[0][0] <= following:
                heapq.heappop(self._events)[2]()
            else:
                self._take(self.scheduler.tick(self.now))
        self.now = until

    def finish(self, limit_s: float = 1e6) -> None:
        """Go on until nothing waits and nothing runs; a standstill before that is an error."""
        while self._events or self.scheduler.state.waiting:
            deadline = self.scheduler.next_deadline(self.now)
            moments = [deadline] if deadline is not None else []
            moments += [self._events[0][0]] if self._events else []
            assert moments, f"standstill at {self.now}: {self.scheduler.snapshot(self.now)}"
            assert min(moments) < limit_s
            self.advance(min(moments))

    def commands(self) -> list[Command]:
        """Return the commands so far, without their times."""
        return [command for _, command in self.log]

    def _due(self, until: float, deadline: float | None) -> bool:
        return deadline == until or (bool(self._events) and self._events[0][0] <= until)

    def _at(self, when: float, act: Callable[[], list[Command]]) -> None:
        heapq.heappush(self._events, (when, next(self._numbers), act))

    def _take(self, commands: list[Command]) -> list[Command]:
        for command in commands:
            self.log.append((self.now, command))
            match command:
                case StartRun(name, _, on):
                    assert name not in self.started
                    self.started[name] = self.now
                    # A model without memory is promised nothing.
                    run = self.scheduler.state.runs.get(name)
                    self.shadow.start(self.submitted[name], on, run.promised if run else 0)
                    self._at(self.now + self._run_s[name], partial(self._end, name))
                case LoadModel(name, on):
                    restoring = (name, on) in self.shadow.offloaded
                    self.shadow.load(name, on)
                    seconds = self.restore_s if restoring else self.load_s
                    self._at(self.now + seconds, partial(self._end_load, name, on))
                case UnloadModel(name, on):
                    self.shadow.unload(name, on)
                    self._at(self.now + self.unload_s, partial(self._gone, name, on))
                case OffloadModel(name, on):
                    self.shadow.offload(name, on)
                    self._at(self.now + self.offload_s, partial(self._offloaded, name, on))
                case RefuseRequest(name, code):
                    self.refused[name] = code
        self.shadow.check(set())
        for ledger in self.scheduler.state.ledgers.values():
            ledger.check()
        assert self.scheduler.tick(self.now) == [], "an event left something undecided"
        return commands

    def _end(self, name: str) -> list[Command]:
        self.ended[name] = self.now
        del self.shadow.runs[name]
        measured = self.measured.get(name, Measured())
        return self._take(self.scheduler.run_ended(name, self.now, measured))

    def _end_load(self, name: str, on: int) -> list[Command]:
        if name in self.failing:
            self.shadow.gone(name, on)
            code, message = ErrorCode.MODEL_LOAD_FAILED, f"{name} can't be read"
            return self._take(self.scheduler.load_failed(name, on, code, message, self.now))
        weights = self.shadow.models[name].weights_bytes
        self.shadow.loaded(name, on, weights)
        loaded = Loaded(weights, 0.0, offloads=self._offloads)
        return self._take(self.scheduler.load_done(name, on, loaded, self.now))

    def _offloaded(self, name: str, on: int) -> list[Command]:
        moved = Offloaded(GIB // 2, self.shadow.weights[name, on], 0.0)
        self.shadow.offload_done(name, on, moved.left_bytes)
        return self._take(self.scheduler.offload_done(name, on, moved, self.now))

    def _gone(self, name: str, on: int) -> list[Command]:
        self.shadow.gone(name, on)
        return self._take(self.scheduler.unload_done(name, on, self.now))


def started(gpu: VirtualGpu) -> list[str]:
    """Return the started requests in order."""
    return [each.request_id for each in gpu.commands() if isinstance(each, StartRun)]


def moves(gpu: VirtualGpu) -> list[str]:
    """Return loads and unloads, in short."""
    short = {LoadModel: "+", UnloadModel: "-", OffloadModel: "~"}
    return [
        f"{short[type(each)]}{each.model}{each.device or ''}"
        for each in gpu.commands()
        if isinstance(each, LoadModel | UnloadModel | OffloadModel)
    ]


def warm(*names: str, devices: tuple[DeviceSpec, ...] = (device(24),)) -> VirtualGpu:
    """Return a host on which the models are resident and idle for long, at second 1,000."""
    gpu = VirtualGpu(devices=devices)
    for name in names:
        gpu.submit(request(f"warm-{name}", name), run_s=1)
        gpu.advance(gpu.now + 20)
    gpu.advance(1000)
    gpu.log.clear()
    return gpu

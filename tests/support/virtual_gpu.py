"""A GPU host in virtual time, for tests of the scheduler: carries commands out.

A `Shadow` counts bytes, slots and loads beside it.
"""

import heapq
from collections.abc import Callable, Sequence
from functools import partial
from itertools import count
from typing import Any

from shadow import Shadow

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
    user: str | None = None,
    **more: Any,
) -> AdmissionRequest:
    """Return a request that was created at that second."""
    return AdmissionRequest(name, model_name, quality, user, at, **more)


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

    def others_use(self, gb: float, on: int = 0) -> list[Command]:
        """Let other programs use so many GB of a device from now on."""
        self.shadow.outside[on] = int(gb * GIB)
        return self._take(self.scheduler.used_by_others(on, int(gb * GIB), self.now))

    def others_use_at(self, when: float, gb: float, on: int = 0) -> None:
        """Let them from that second on."""
        self._at(when, lambda: self.others_use(gb, on))

    def tick(self) -> list[Command]:
        """Let the scheduler look at its devices."""
        return self._take(self.scheduler.tick(self.now))

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
        self.shadow.compare(self.scheduler.state)
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
        self.shadow.offload_done(name, on, moved.left_bytes, moved.host_bytes)
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

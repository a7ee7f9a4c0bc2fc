"""A host in virtual time: carries a scheduler's commands out by what they take. Pure."""

import heapq
import math
from collections.abc import Callable, Sequence
from functools import partial
from itertools import count
from typing import Protocol

from daemon.scheduling.commands import (
    Command,
    LoadModel,
    OffloadModel,
    RefuseRequest,
    StartRun,
    UnloadModel,
)
from daemon.scheduling.scheduler import Scheduler
from daemon.values import Loaded, Offloaded

Act = Callable[[], list[Command]]


class Script(Protocol):
    """What acts take, in seconds, and who hears of them."""

    def run_s(self, request_id: str) -> float:
        """Return what a run takes."""
        ...

    def move_s(self, command: LoadModel | OffloadModel | UnloadModel, *, restoring: bool) -> float:
        """Return what a move of weights takes; `restoring`: a load from the host's memory."""
        ...

    def loaded(self, model: str, device: int) -> Loaded:
        """Return what a load brings."""
        ...

    def started(self, request_id: str, device: int, now: float, ends_s: float) -> None:
        """Hear that a run starts, and when it will end."""
        ...

    def refused(self, request_id: str) -> None:
        """Hear that a request was refused."""
        ...


class StandstillError(AssertionError):
    """Jobs wait, and nothing will ever happen again: a policy's error."""


class VirtualHost:
    """Lets a scheduler live in virtual time. Deadlines are kept as the daemon keeps them."""

    def __init__(self, scheduler: Scheduler, script: Script, now: float = 0.0) -> None:
        self.scheduler = scheduler
        self.now = now
        self._script = script
        self._events: list[tuple[float, int, Act]] = []
        self._numbers = count()

    def at(self, when_s: float, act: Act) -> None:
        """Let something happen at that second; what it commands is carried out."""
        heapq.heappush(self._events, (when_s, next(self._numbers), act))

    def carry_out(self, commands: Sequence[Command]) -> None:
        """Begin what is commanded."""
        scheduler, script = self.scheduler, self._script
        for command in commands:
            match command:
                case StartRun(request_id, _, device):
                    ends_s = self.now + script.run_s(request_id)
                    script.started(request_id, device, self.now, ends_s)
                    self.end_at(ends_s, request_id)
                case LoadModel(model, device):
                    restoring = scheduler.state.placements[model, device].restoring
                    done_s = self.now + script.move_s(command, restoring=restoring)
                    self.load_at(done_s, model, device)
                case UnloadModel(model, device):
                    gone_s = self.now + script.move_s(command, restoring=False)
                    self.unload_at(gone_s, model, device)
                case OffloadModel(model, device):
                    self.offload_at(
                        self.now + script.move_s(command, restoring=False), model, device
                    )
                case RefuseRequest(request_id):
                    script.refused(request_id)

    def end_at(self, when_s: float, request_id: str) -> None:
        """Let a run end at that second."""
        self.at(when_s, partial(self.scheduler.run_ended, request_id, when_s))

    def load_at(self, when_s: float, model: str, device: int) -> None:
        """Let a load be done at that second."""
        loaded = self._script.loaded(model, device)
        self.at(when_s, partial(self.scheduler.load_done, model, device, loaded, when_s))

    def unload_at(self, when_s: float, model: str, device: int) -> None:
        """Let an engine be gone at that second."""
        self.at(when_s, partial(self.scheduler.unload_done, model, device, when_s))

    def offload_at(self, when_s: float, model: str, device: int) -> None:
        """Let a move to the host's memory be done at that second."""
        host_bytes = self.scheduler.state.host.held_by(model, device)
        moved = Offloaded(0, host_bytes, 0.0)
        self.at(when_s, partial(self.scheduler.offload_done, model, device, moved, when_s))

    def step(self, until_s: float = math.inf) -> bool:
        """Let the next thing happen, be it an event or a deadline; False: none until then."""
        deadline = self.scheduler.next_deadline(self.now)
        event_s = self._events[0][0] if self._events else math.inf
        if deadline is not None and deadline < event_s and deadline <= until_s:
            self.now = deadline
            self.carry_out(self.scheduler.tick(deadline))
        elif self._events and event_s <= until_s:
            self.now, _, act = heapq.heappop(self._events)
            self.carry_out(act())
        else:
            return False
        return True

    def finish(self) -> None:
        """Go on until nothing waits and nothing runs.

        Raises:
            StandstillError: requests wait and nothing will happen any more.
        """
        while self._events or self.scheduler.state.waiting:
            if not self.step():
                waiting = len(self.scheduler.state.waiting)
                raise StandstillError(f"{waiting} jobs wait for nothing at {self.now:g} s")

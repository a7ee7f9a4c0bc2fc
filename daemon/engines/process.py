"""The daemon's side of one engine process: load once, run many, end once.

Between its runs the weights may move to the host's memory and back, in the same process:

    load --> on the device <--> on the host
                  |                 |
                  +------ over -----+
"""

import asyncio
import itertools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from daemon.engine_ports import ProgressSink
from daemon.engines import protocol
from daemon.engines.answers import job_error, loaded_of, offloaded_of, output_of, step_of
from daemon.engines.lifetime import Lifetime
from daemon.engines.limits import EngineLimits
from daemon.engines.waiting import uninterrupted
from daemon.engines.watch import Watch
from daemon.jobs import ErrorCode, JobError
from daemon.values import (
    EngineEnd,
    EngineLostError,
    Loaded,
    Loss,
    Offloaded,
    RunOutput,
)
from handlers.base import ModelSpec

_FAILED_MOVE_GRACE_S = 2.0

_MoveEnd = protocol.Loaded | protocol.LoadFailed | protocol.Offloaded | protocol.OffloadFailed


@dataclass(slots=True)
class _OpenRun:
    end: "asyncio.Future[protocol.RunEnd | None]"
    """How it ended; None: the engine is gone."""
    progress: ProgressSink
    deadline: asyncio.TimerHandle | None = None


class EngineProcess:
    """Implements `ports.Engine` by a child process that holds one model."""

    def __init__(
        self,
        spec: ModelSpec,
        environment: Mapping[str, str],
        log: Callable[[str], None],
        limits: EngineLimits | None = None,
    ) -> None:
        self._spec = spec
        self._environment = environment
        self._log = log
        self._limits = limits or EngineLimits()
        self._lifetime = Lifetime(self._take, self._at_end, log)
        self._watch = Watch(self._limits.health, self._ping, self._hung)
        self._moved: asyncio.Future[_MoveEnd | None] | None = None
        self._on_device = False
        self._runs: dict[str, _OpenRun] = {}
        self._pings: dict[int, asyncio.Future[protocol.Pong | None]] = {}
        self._numbers = itertools.count(1)

    @property
    def group(self) -> int | None:
        """The process group's id; None before it is started."""
        child = self._lifetime.child
        return None if child is None else child.group

    @property
    def reason(self) -> str:
        """Why the engine ended or is ending, as a sentence."""
        return f"the {self._spec.model} engine {self._lifetime.cause or 'is running'}"

    @property
    def last_lines(self) -> list[str]:
        """The last lines of the engine's output."""
        child = self._lifetime.child
        return [] if child is None else list(child.last_lines)

    async def load(self) -> Loaded:
        """Start the process and load the model; see `ports.Engine`."""
        if self._lifetime.started or self._lifetime.over.is_set():
            raise EngineLostError(f"{self.reason}, and an engine loads only once")
        self._moved = asyncio.get_running_loop().create_future()
        self._lifetime.start(self._environment, protocol.Load(**self._spec.fields()))
        self._watch.start()
        return self._loaded(await self._move_end("load", self._moved))

    async def offload(self) -> Offloaded:
        """Move the weights to the host's memory; see `ports.Engine`."""
        self._check_alive()
        if self._runs or not self._on_device:
            raise ValueError(f"the {self._spec.model} engine can't offload now")
        self._on_device = False
        answer = await self._move("offload", protocol.Offload())
        if not isinstance(answer, protocol.Offloaded):
            raise self._broke("offload")
        return offloaded_of(answer)

    async def restore(self) -> Loaded:
        """Move the weights back; see `ports.Engine`."""
        self._check_alive()
        if self._on_device or self._moving:
            raise ValueError(f"the {self._spec.model} engine has nothing to restore now")
        return self._loaded(await self._move("restore", protocol.Restore()))

    async def run(
        self, run_id: str, handler: str, params: Mapping[str, Any], progress: ProgressSink
    ) -> RunOutput:
        """Run a handler; see `ports.Engine`."""
        self._check_alive()
        if run_id in self._runs or not self._on_device:
            raise ValueError(f"run {run_id} can't begin in the {self._spec.model} engine")
        try:
            frame = protocol.encode(protocol.Run(run_id, handler, params))
        except protocol.ProtocolError as error:
            raise JobError(ErrorCode.INVALID_PROMPT, f"the request can't be run: {error}") from None
        open_run = _OpenRun(asyncio.get_running_loop().create_future(), progress)
        self._runs[run_id] = open_run
        try:
            self._watch.begun(run_id, handler)
            self._lifetime.send(frame)
            end = await asyncio.shield(open_run.end)
        except asyncio.CancelledError:
            self.cancel(run_id)
            await uninterrupted(open_run.end)
            raise
        finally:
            if open_run.deadline is not None:
                open_run.deadline.cancel()
            self._watch.ended(run_id)
            del self._runs[run_id]
        if end is None:
            raise self._lost()
        return output_of(end)

    def cancel(self, run_id: str) -> None:
        """Ask a run to stop; an engine that doesn't stop it in time is killed."""
        open_run = self._runs.get(run_id)
        if open_run is None or open_run.deadline is not None or open_run.end.done():
            return
        self._lifetime.send(protocol.encode(protocol.Cancel(run_id)))
        open_run.deadline = asyncio.get_running_loop().call_later(
            self._limits.cancel_s,
            self._lifetime.kill,
            Loss.HUNG,
            f"did not stop a run within {self._limits.cancel_s:g} s and was killed",
        )

    async def memory(self) -> int:
        """Return the bytes that the engine holds now; raises `EngineLostError`."""
        self._check_alive()
        number = next(self._numbers)
        pong: asyncio.Future[protocol.Pong | None] = asyncio.get_running_loop().create_future()
        self._pings[number] = pong
        try:
            self._lifetime.send(protocol.encode(protocol.Ping(number)))
            answer = await pong
        finally:
            del self._pings[number]
        if answer is None:
            raise self._lost()
        return answer.memory_bytes

    async def stop(self, grace_s: float = 5.0) -> None:
        """End the process and its group; see `ports.Engine`."""
        await self._lifetime.stop("was stopped", grace_s)

    async def ended(self) -> EngineEnd:
        """Wait for the end; see `ports.Engine`."""
        await self._lifetime.lost.wait()
        return EngineEnd(self._lifetime.loss, self.reason)

    @property
    def _moving(self) -> bool:
        return self._moved is not None and not self._moved.done()

    async def _move(self, deed: str, order: protocol.Offload | protocol.Restore) -> _MoveEnd:
        self._moved = asyncio.get_running_loop().create_future()
        self._lifetime.send(protocol.encode(order))
        return await self._move_end(deed, self._moved)

    async def _move_end(self, deed: str, moved: "asyncio.Future[_MoveEnd | None]") -> _MoveEnd:
        """Wait for weights to be where they are wanted; a failure ends the process."""
        self._watch.move_begun(deed)
        try:
            async with asyncio.timeout(self._limits.load_s):
                answer = await asyncio.shield(moved)
        except TimeoutError:
            self._lifetime.kill(Loss.HUNG, f"did not {deed} within {self._limits.load_s:g} s")
            await self._lifetime.finished()
            if deed == "offload":
                raise self._lost() from None
            raise JobError(ErrorCode.MODEL_LOAD_FAILED, self.reason) from None
        except asyncio.CancelledError:
            self._lifetime.kill(Loss.STOPPED, f"was stopped during its {deed}")
            await self._lifetime.finished()
            raise
        if isinstance(answer, protocol.LoadFailed | protocol.OffloadFailed):
            await self._lifetime.stop(f"failed to {deed}", _FAILED_MOVE_GRACE_S)
            raise job_error(answer)
        if answer is None:
            raise self._lost()
        self._watch.move_ended()
        return answer

    def _loaded(self, answer: _MoveEnd) -> Loaded:
        if not isinstance(answer, protocol.Loaded):
            raise self._broke("load")
        self._on_device = True
        return loaded_of(answer)

    def _broke(self, deed: str) -> EngineLostError:
        self._lifetime.kill(Loss.CRASHED, f"gave a wrong answer to {deed}")
        return self._lost()

    def _lost(self) -> EngineLostError:
        return EngineLostError(self.reason, self._lifetime.loss)

    def _check_alive(self) -> None:
        if self._lifetime.cause or not self._lifetime.started:
            raise EngineLostError(self.reason, Loss.GONE)

    def _ping(self) -> None:
        self._lifetime.send(protocol.encode(protocol.Ping(next(self._numbers))))

    def _hung(self, why: str) -> None:
        self._lifetime.kill(Loss.HUNG, f"hung and was killed: {why}")

    def _take(self, message: protocol.FromEngine) -> None:
        self._watch.heard()
        match message:
            case protocol.Hello(version=version):
                if version != protocol.PROTOCOL_VERSION:
                    self._lifetime.kill(
                        Loss.CRASHED, f"speaks protocol {version}, not {protocol.PROTOCOL_VERSION}"
                    )
            case (
                protocol.Loaded()
                | protocol.LoadFailed()
                | protocol.Offloaded()
                | protocol.OffloadFailed()
            ):
                _answer(self._moved, message)
            case protocol.Step():
                self._report(message)
            case protocol.Fatal(cause=cause, poisoned=poisoned):
                self._lifetime.ends_itself(Loss.POISONED if poisoned else Loss.CRASHED, cause)
            case protocol.Pong(number=number, activity=activity):
                self._watch.measured(activity)
                _answer(self._pings.get(number), message)
            case protocol.Done() | protocol.RunFailed() | protocol.RunCancelled():
                open_run = self._runs.get(message.run_id)
                _answer(None if open_run is None else open_run.end, message)

    def _report(self, step: protocol.Step) -> None:
        if (open_run := self._runs.get(step.run_id)) is None:
            return
        self._watch.step(step.run_id, _words_of(step))
        try:
            open_run.progress(step_of(step))
        except Exception as error:  # noqa: BLE001 -- an onlooker's fault must not end the engine
            self._log(f"progress of run {step.run_id} was not taken: {error!r}")

    def _at_end(self) -> None:
        self._watch.stop()
        _answer(self._moved, None)
        for open_run in self._runs.values():
            _answer(open_run.end, None)
        for pong in self._pings.values():
            _answer(pong, None)


def _words_of(step: protocol.Step) -> str:
    count = "" if step.step is None else f" {step.step} of {step.steps}"
    return f"{step.current_step}{count}"


def _answer(future: "asyncio.Future[Any] | None", answer: protocol.FromEngine | None) -> None:
    """Give whoever waits an answer; None says that the engine is gone. The first one counts."""
    if future is not None and not future.done():
        future.set_result(answer)

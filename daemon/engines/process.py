"""The daemon's side of one engine process: load once, run many, end once."""

import asyncio
import itertools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from daemon.engines import protocol
from daemon.engines.lifetime import Lifetime
from daemon.engines.waiting import uninterrupted
from daemon.jobs import ErrorCode, JobError
from daemon.ports import ProgressSink
from daemon.values import (
    ArtifactFile,
    EngineLostError,
    Loaded,
    RunCancelledError,
    RunOutput,
    StepReport,
)
from handlers.base import ModelSpec

_FAILED_LOAD_GRACE_S = 2.0

RunEnd = protocol.Done | protocol.RunFailed | protocol.RunCancelled | None
"""How a run ended; None: the engine is gone."""


@dataclass(frozen=True, slots=True)
class EngineLimits:
    """How long an engine may take. Seconds.

    Attributes:
        load_s: to start and load; cold weights come from slow disks.
        cancel_s: to stop a run that is cancelled. One step of a film may take this long; an
            engine that doesn't stop is killed, with the other runs in it.
    """

    load_s: float = 900.0
    cancel_s: float = 60.0


@dataclass(slots=True)
class _OpenRun:
    end: "asyncio.Future[RunEnd]"
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
        self._answer: asyncio.Future[protocol.Loaded | protocol.LoadFailed | None] | None = None
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
        self._answer = asyncio.get_running_loop().create_future()
        self._lifetime.start(self._environment, protocol.Load(**self._spec.fields()))
        try:
            async with asyncio.timeout(self._limits.load_s):
                answer = await asyncio.shield(self._answer)
        except TimeoutError:
            self._lifetime.kill(f"did not load within {self._limits.load_s:g} s")
            await self._lifetime.finished()
            raise JobError(ErrorCode.MODEL_LOAD_FAILED, self.reason) from None
        except asyncio.CancelledError:
            self._lifetime.kill("was stopped while it loaded")
            await self._lifetime.finished()
            raise
        if isinstance(answer, protocol.LoadFailed):
            await self._lifetime.stop("failed to load", _FAILED_LOAD_GRACE_S)
            raise _job_error(answer)
        if answer is None:
            raise EngineLostError(self.reason)
        return Loaded(answer.weights_bytes, answer.seconds)

    async def run(
        self, run_id: str, handler: str, params: Mapping[str, Any], progress: ProgressSink
    ) -> RunOutput:
        """Run a handler; see `ports.Engine`."""
        if self._lifetime.cause or not self._lifetime.started:
            raise EngineLostError(self.reason)
        if run_id in self._runs:
            raise ValueError(f"run {run_id} is in the {self._spec.model} engine already")
        try:
            frame = protocol.encode(protocol.Run(run_id, handler, params))
        except protocol.ProtocolError as error:
            raise JobError(ErrorCode.INVALID_PROMPT, f"the request can't be run: {error}") from None
        open_run = _OpenRun(asyncio.get_running_loop().create_future(), progress)
        self._runs[run_id] = open_run
        try:
            self._lifetime.send(frame)
            end = await asyncio.shield(open_run.end)
        except asyncio.CancelledError:
            self.cancel(run_id)
            await uninterrupted(open_run.end)
            raise
        finally:
            if open_run.deadline is not None:
                open_run.deadline.cancel()
            del self._runs[run_id]
        return self._output_of(end)

    def cancel(self, run_id: str) -> None:
        """Ask a run to stop; an engine that doesn't stop it in time is killed."""
        open_run = self._runs.get(run_id)
        if open_run is None or open_run.deadline is not None or open_run.end.done():
            return
        self._lifetime.send(protocol.encode(protocol.Cancel(run_id)))
        open_run.deadline = asyncio.get_running_loop().call_later(
            self._limits.cancel_s,
            self._lifetime.kill,
            f"did not stop a run within {self._limits.cancel_s:g} s and was killed",
        )

    async def memory(self) -> int:
        """Return the bytes that the engine holds now; raises `EngineLostError`."""
        if self._lifetime.cause or not self._lifetime.started:
            raise EngineLostError(self.reason)
        number = next(self._numbers)
        pong: asyncio.Future[protocol.Pong | None] = asyncio.get_running_loop().create_future()
        self._pings[number] = pong
        try:
            self._lifetime.send(protocol.encode(protocol.Ping(number)))
            answer = await pong
        finally:
            del self._pings[number]
        if answer is None:
            raise EngineLostError(self.reason)
        return answer.memory_bytes

    async def stop(self, grace_s: float = 5.0) -> None:
        """End the process and its group; see `ports.Engine`."""
        await self._lifetime.stop("was stopped", grace_s)

    async def ended(self) -> str:
        """Wait for the end; see `ports.Engine`."""
        await self._lifetime.over.wait()
        return self.reason

    def _take(self, message: protocol.FromEngine) -> None:
        match message:
            case protocol.Hello(version=version):
                if version != protocol.PROTOCOL_VERSION:
                    self._lifetime.kill(
                        f"speaks protocol {version}, not {protocol.PROTOCOL_VERSION}"
                    )
            case protocol.Loaded() | protocol.LoadFailed():
                _answer(self._answer, message)
            case protocol.Step():
                self._report(message)
            case protocol.Fatal(cause=cause):
                self._lifetime.cause = self._lifetime.cause or cause
            case protocol.Pong(number=number):
                _answer(self._pings.get(number), message)
            case protocol.Done() | protocol.RunFailed() | protocol.RunCancelled():
                open_run = self._runs.get(message.run_id)
                _answer(None if open_run is None else open_run.end, message)

    def _report(self, step: protocol.Step) -> None:
        if (open_run := self._runs.get(step.run_id)) is None:
            return
        report = StepReport(step.current_step, step.fraction, step.step, step.steps)
        try:
            open_run.progress(report)
        except Exception as error:  # noqa: BLE001 -- an onlooker's fault must not end the engine
            self._log(f"progress of run {step.run_id} was not taken: {error!r}")

    def _at_end(self) -> None:
        _answer(self._answer, None)
        for open_run in self._runs.values():
            _answer(open_run.end, None)
        for pong in self._pings.values():
            _answer(pong, None)

    def _output_of(self, end: RunEnd) -> RunOutput:
        match end:
            case protocol.Done():
                files = [
                    ArtifactFile(file.kind, file.content_type, file.extension, file.data)
                    for file in end.files
                ]
                return RunOutput(end.fields, files, end.peak_bytes, end.timings)
            case protocol.RunFailed():
                raise _job_error(end)
            case protocol.RunCancelled():
                raise RunCancelledError
            case None:
                raise EngineLostError(self.reason)


def _job_error(failure: protocol.LoadFailed | protocol.RunFailed) -> JobError:
    try:
        return JobError(ErrorCode(failure.error_code), failure.message)
    except ValueError:
        # A code that the row's check constraint doesn't know would lose the error itself.
        return JobError(ErrorCode.GENERATION_FAILED, failure.message)


def _answer(future: "asyncio.Future[Any] | None", answer: protocol.FromEngine | None) -> None:
    """Give whoever waits an answer; None says that the engine is gone. The first one counts."""
    if future is not None and not future.done():
        future.set_result(answer)

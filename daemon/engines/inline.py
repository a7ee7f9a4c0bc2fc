"""An engine without a process, for the fake runner: benchmarks of the queue and pure tests.

It keeps the contract of `ports.Engine` but for what only a process can do: it can't be killed, so
a run that ignores its cancellation holds up `stop`. Without threads, runs go on the event loop
itself: for those that take no time, so that only the queue around them is measured.
"""

import asyncio
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from daemon.engine_ports import ProgressSink
from daemon.engines.waiting import uninterrupted
from daemon.jobs import ErrorCode, JobError
from daemon.values import (
    ArtifactFile,
    EngineEnd,
    EngineLostError,
    Loaded,
    Loss,
    Offloaded,
    RunCancelledError,
    RunOutput,
    StepReport,
)
from handlers import failures, registry
from handlers.base import ModelSpec, Runner, RunResult, StoppedError

_Moved = TypeVar("_Moved")


class InlineEngine:
    """Implements `ports.Engine` by threads of this process."""

    def __init__(self, spec: ModelSpec, *, threads: bool = True) -> None:
        self._spec = spec
        self._threaded = threads
        self._threads = ThreadPoolExecutor(max(1, spec.max_concurrent), "inline-engine")
        self._runner: Runner | None = None
        self._wishes: dict[str, threading.Event] = {}
        self._idle = asyncio.Event()
        self._idle.set()
        self._over = asyncio.Event()

    async def load(self) -> Loaded:
        """Load the model; see `ports.Engine`."""
        loop = asyncio.get_running_loop()
        started = loop.time()
        self._runner = await self._move(lambda: registry.load_runner(self._spec))
        return self._loaded(self._runner, loop.time() - started)

    async def offload(self) -> Offloaded:
        """Move the weights; see `ports.Engine`."""
        loop = asyncio.get_running_loop()
        started = loop.time()
        host_bytes = await self._move(_loaded(self._runner).offload)
        return Offloaded(0, host_bytes, loop.time() - started)

    async def restore(self) -> Loaded:
        """Move the weights back; see `ports.Engine`."""
        loop = asyncio.get_running_loop()
        started, runner = loop.time(), _loaded(self._runner)
        await self._move(runner.restore)
        return self._loaded(runner, loop.time() - started)

    async def _move(self, move: Callable[[], _Moved]) -> _Moved:
        if self._over.is_set():
            raise self._lost()
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, move)
        except Exception as error:
            failure = failures.of_load(error, self._spec)
            raise JobError(ErrorCode(failure.error_code), failure.message) from error

    def _loaded(self, runner: Runner, seconds: float) -> Loaded:
        return Loaded(0, seconds, runner.offloads(), runner.savings())

    def _lost(self) -> EngineLostError:
        return EngineLostError(self._reason, Loss.GONE)

    async def run(
        self, run_id: str, handler: str, params: Mapping[str, Any], progress: ProgressSink
    ) -> RunOutput:
        """Run a handler; see `ports.Engine`."""
        if self._over.is_set() or self._runner is None:
            raise self._lost()
        if not self._threaded:
            return self._run_here(handler, params, progress)
        loop = asyncio.get_running_loop()
        wish = self._wishes[run_id] = threading.Event()
        self._idle.clear()
        control = _Control(loop, wish, progress)
        working = loop.run_in_executor(
            self._threads, registry.run_handler, handler, self._runner, params, control
        )
        try:
            result = await asyncio.shield(working)
        except asyncio.CancelledError:
            wish.set()
            await uninterrupted(working)
            working.exception()
            raise
        except StoppedError:
            raise RunCancelledError from None
        except Exception as error:
            failure = failures.of_run(error)
            raise JobError(ErrorCode(failure.error_code), failure.message) from error
        finally:
            del self._wishes[run_id]
            if not self._wishes:
                self._idle.set()
        return _output(result)

    def _run_here(
        self, handler: str, params: Mapping[str, Any], progress: ProgressSink
    ) -> RunOutput:
        control = _Control(asyncio.get_running_loop(), threading.Event(), progress)
        try:
            return _output(registry.run_handler(handler, _loaded(self._runner), params, control))
        except Exception as error:
            failure = failures.of_run(error)
            raise JobError(ErrorCode(failure.error_code), failure.message) from error

    def cancel(self, run_id: str) -> None:
        """Ask a run to stop at its next step."""
        if (wish := self._wishes.get(run_id)) is not None:
            wish.set()

    async def stop(self, grace_s: float = 5.0) -> None:
        """Stop the runs at their next step; `grace_s` is of no use without a process to kill."""
        del grace_s
        self._over.set()
        for wish in self._wishes.values():
            wish.set()
        await self._idle.wait()
        self._threads.shutdown(wait=False)

    async def ended(self) -> EngineEnd:
        """Wait for `stop`."""
        await self._over.wait()
        return EngineEnd(Loss.STOPPED, self._reason)

    @property
    def _reason(self) -> str:
        return f"the {self._spec.model} engine was stopped"


class _Control:
    """Implements `handlers.base.Control` for one run."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, wish: threading.Event, progress: ProgressSink
    ) -> None:
        self._loop = loop
        self._wish = wish
        self._progress = progress
        self._text = ""
        self._preview: bytes | None = None

    def step(
        self, current_step: str, fraction: float, step: int | None = None, steps: int | None = None
    ) -> None:
        self.check()
        report = StepReport(current_step, fraction, step, steps, self._text, self._preview)
        self._text, self._preview = "", None
        self._loop.call_soon_threadsafe(self._progress, report)

    def tell(self, text: str) -> None:
        self._text += text

    def show(self, picture: bytes) -> None:
        self._preview = picture

    def check(self) -> None:
        if self._wish.is_set():
            raise StoppedError


def _loaded(runner: Runner | None) -> Runner:
    if runner is None:
        raise AssertionError("run checks that the model is loaded")
    return runner


def _output(result: RunResult) -> RunOutput:
    files = [
        ArtifactFile(file.kind, file.content_type, file.extension, file.data)
        for file in result.files
    ]
    return RunOutput(result.fields, files, None, result.timings)

"""The model and its runs, inside the engine's process. Blocking work happens in threads."""

import asyncio
import logging
import os
import threading
import time
import traceback
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from daemon.engines import protocol
from daemon.engines.outbox import Outbox
from daemon.telemetry.redaction import redact
from handlers import failures, registry
from handlers.base import ModelSpec, RunError, Runner, RunResult, StoppedError
from handlers.memory import Meter

EXIT_BROKEN = 70
"""Exit status of an engine whose device no longer answers."""

_log = logging.getLogger("engine")
_Result = TypeVar("_Result")


class ModelSide:
    """One model, loaded once, and the runs in it."""

    def __init__(self, outbox: Outbox) -> None:
        self._outbox = outbox
        self._meter = Meter()
        self._runner: Runner | None = None
        self._threads: ThreadPoolExecutor | None = None
        self._wishes: dict[str, threading.Event] = {}
        self._working: set[asyncio.Task[None]] = set()

    def load(self, spec: ModelSpec) -> None:
        """Begin to load; the answer is posted."""
        self._threads = ThreadPoolExecutor(max(1, spec.max_concurrent), thread_name_prefix="run")
        self._begin(self._load(spec))

    def run(self, message: protocol.Run) -> None:
        """Begin a run; its end is posted."""
        self._wishes[message.run_id] = threading.Event()
        self._begin(self._run(message))

    def cancel(self, run_id: str) -> None:
        """Have a run stop at its next step."""
        if (wish := self._wishes.get(run_id)) is not None:
            wish.set()

    def answer(self, number: int) -> None:
        """Post the answer to a ping."""
        self._outbox.post(protocol.Pong(number, self._meter.held()))

    async def close(self) -> None:
        """Stop the runs at their next step and let the model go."""
        for wish in self._wishes.values():
            wish.set()
        if self._working:
            await asyncio.wait(self._working)
        if self._runner is not None:
            await asyncio.to_thread(self._runner.close)

    def _begin(self, work: Coroutine[Any, Any, None]) -> None:
        working = asyncio.create_task(work)
        self._working.add(working)
        working.add_done_callback(self._working.discard)

    async def _in_thread(self, work: Callable[[], _Result]) -> _Result:
        return await asyncio.get_running_loop().run_in_executor(self._threads, work)

    async def _load(self, spec: ModelSpec) -> None:
        started = time.monotonic()
        try:
            self._runner = await self._in_thread(lambda: registry.load_runner(spec))
        except BaseException as error:  # noqa: BLE001 -- libraries raise SystemExit too
            _log_failure(f"loading {spec.model} failed", error)
            failure = failures.of_load(error, spec)
            self._outbox.post(protocol.LoadFailed(failure.error_code, redact(failure.message)))
            return
        self._outbox.post(protocol.Loaded(self._meter.loaded(), time.monotonic() - started))

    async def _run(self, message: protocol.Run) -> None:
        end: protocol.FromEngine
        self._meter.begin()
        try:
            result = await self._in_thread(lambda: self._work(message))
            end = _done(message.run_id, result, self._meter.peak())
            self._outbox.post(end)
        except StoppedError:
            self._outbox.post(protocol.RunCancelled(message.run_id))
        except BaseException as error:  # noqa: BLE001 -- libraries raise SystemExit too
            _log_failure(f"run {message.run_id} failed", error)
            if failures.is_broken(error):
                await self._give_up(failures.sentence(error))
            failure = failures.of_run(error)
            self._outbox.post(
                protocol.RunFailed(message.run_id, failure.error_code, redact(failure.message))
            )
        finally:
            self._meter.end()
            del self._wishes[message.run_id]

    def _work(self, message: protocol.Run) -> RunResult:
        control = _Control(message.run_id, self._wishes[message.run_id], self._outbox)
        control.check()
        if self._runner is None:
            raise AssertionError("run before the model was loaded")
        return registry.run_handler(message.handler, self._runner, message.params, control)

    async def _give_up(self, cause: str) -> None:
        """End the process: every further run on this device would fail too."""
        self._outbox.post(protocol.Fatal(f"ended since its device is broken: {redact(cause)}"))
        await self._outbox.sent()
        os._exit(EXIT_BROKEN)


class _Control:
    """Implements `handlers.base.Control` for one run."""

    def __init__(self, run_id: str, wish: threading.Event, outbox: Outbox) -> None:
        self._run_id = run_id
        self._wish = wish
        self._outbox = outbox

    def step(
        self, current_step: str, fraction: float, step: int | None = None, steps: int | None = None
    ) -> None:
        self.check()
        within = min(1.0, max(0.0, fraction))
        self._outbox.step(protocol.Step(self._run_id, current_step, within, step, steps))

    def check(self) -> None:
        if self._wish.is_set():
            raise StoppedError


def _done(run_id: str, result: RunResult, peak_bytes: int | None) -> protocol.Done:
    files = [
        protocol.File(file.kind, file.content_type, file.extension, file.data)
        for file in result.files
    ]
    return protocol.Done(run_id, result.fields, files, peak_bytes, result.timings)


def _log_failure(what: str, error: BaseException) -> None:
    if isinstance(error, RunError):
        # Its sentence was written for this case: the way to it says nothing more.
        _log.warning("%s: %s", what, redact(error.message))
        return
    lines = "".join(traceback.format_exception(error))
    _log.error("%s\n%s", what, redact(lines))

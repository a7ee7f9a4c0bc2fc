"""The model and its runs, inside the engine's process. Blocking work happens in threads.

What a thread raises is turned into a message in that thread: a traceback keeps every tensor of its
frames alive, and nothing of a run that ran out of memory may stay.
"""

import asyncio
import os
import threading
import time
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import msgspec

from daemon.engines import protocol
from daemon.engines.activity import ActivityMeter
from daemon.engines.losses import EXIT_BROKEN
from daemon.engines.outbox import Outbox
from daemon.engines.telling import lines_of_run, log_failure
from daemon.telemetry.redaction import redact
from handlers import failures, registry
from handlers.base import (
    VRAM_OVERFLOW,
    ModelSpec,
    RunError,
    Runner,
    RunResult,
    StoppedError,
)
from handlers.memory import Meter

_Result = TypeVar("_Result")


class ModelSide:
    """One model, loaded once, and the runs in it."""

    def __init__(self, outbox: Outbox) -> None:
        self._outbox = outbox
        self._meter = Meter()
        self._activity = ActivityMeter()
        self._moving = False
        self._spec: ModelSpec | None = None
        self._runner: Runner | None = None
        self._threads: ThreadPoolExecutor | None = None
        self._wishes: dict[str, threading.Event] = {}
        self._working: set[asyncio.Task[None]] = set()

    def load(self, spec: ModelSpec) -> None:
        """Begin to load; the answer is posted."""
        self._threads = ThreadPoolExecutor(max(1, spec.max_concurrent), thread_name_prefix="run")
        self._spec = spec
        self._begin(self._answer(lambda: self._load(spec)))

    def offload(self) -> None:
        """Begin to move the weights to the host's memory; the answer is posted."""
        self._begin(self._answer(self._offload))

    def restore(self) -> None:
        """Begin to move the weights back to the device; the answer is posted."""
        self._begin(self._answer(self._restore))

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
        # Who looks in mid-load takes half of the engine's processes on a device for all of them.
        held_bytes = 0 if self._runner is None else self._meter.held()
        activity = self._activity.measure() if self._moving else None
        self._outbox.post(protocol.Pong(number, held_bytes, activity))

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

    async def _answer(self, move: Callable[[], protocol.FromEngine]) -> None:
        self._moving = True
        answer = await self._in_thread(move)
        self._moving = False
        if isinstance(answer, protocol.Fatal):
            await self._give_up(answer)
        self._outbox.post(answer)

    def _load(self, spec: ModelSpec) -> protocol.FromEngine:
        started = time.monotonic()
        try:
            runner = self._runner = registry.load_runner(spec)
        except BaseException as error:  # noqa: BLE001 -- libraries raise SystemExit too
            log_failure(f"loading {spec.model} failed", error)
            # Not the model's fault, perhaps: another engine may have broken the device.
            poisoned = failures.is_poisoned(error) and not isinstance(error, RunError)
            return _fatal(error) if poisoned else _load_failed(error, spec)
        return self._loaded(runner, self._meter.loaded(spec.budget_bytes), started)

    def _offload(self) -> protocol.FromEngine:
        started = time.monotonic()
        try:
            host_bytes = self._model().offload()
        except BaseException as error:  # noqa: BLE001 -- as in a load
            log_failure("offloading failed", error)
            if failures.is_broken(error):
                return _fatal(error)
            failure = failures.of_offload(error)
            return protocol.OffloadFailed(failure.error_code, redact(failure.message))
        left_bytes = self._meter.left(host_bytes)
        return protocol.Offloaded(left_bytes, host_bytes, time.monotonic() - started)

    def _restore(self) -> protocol.FromEngine:
        started = time.monotonic()
        try:
            runner = self._model()
            runner.restore()
        except BaseException as error:  # noqa: BLE001 -- as in a load
            log_failure("restoring failed", error)
            if failures.is_broken(error) or self._spec is None:
                return _fatal(error)
            return _load_failed(error, self._spec)
        return self._loaded(runner, self._meter.settled(), started)

    def _loaded(self, runner: Runner, held_bytes: int, started: float) -> protocol.Loaded:
        seconds = time.monotonic() - started
        return protocol.Loaded(held_bytes, seconds, runner.offloads(), runner.savings())

    async def _run(self, message: protocol.Run) -> None:
        self._meter.begin()
        try:
            end = await self._in_thread(lambda: self._work_as_run(message))
        finally:
            last = self._meter.end()
            del self._wishes[message.run_id]
        if isinstance(end, protocol.Fatal):
            await self._give_up(end)
            return
        if last:
            held_bytes = await self._in_thread(self._meter.settled)
            if not self._wishes:
                end = msgspec.structs.replace(end, held_bytes=held_bytes)
        elif isinstance(end, protocol.RunFailed) and end.error_code == VRAM_OVERFLOW:
            await self._in_thread(self._meter.release)
        try:
            self._outbox.post(end)
        except protocol.ProtocolError as error:
            self._outbox.post(_run_failed(message.run_id, error))

    def _work_as_run(self, message: protocol.Run) -> protocol.RunEnd | protocol.Fatal:
        with lines_of_run(message.run_id):
            return self._work(message)

    def _work(self, message: protocol.Run) -> protocol.RunEnd | protocol.Fatal:
        control = _Control(message.run_id, self._wishes[message.run_id], self._outbox)
        try:
            control.check()
            result = registry.run_handler(message.handler, self._model(), message.params, control)
            return _done(message.run_id, result, self._meter.peak())
        except StoppedError:
            return protocol.RunCancelled(message.run_id)
        except BaseException as error:  # noqa: BLE001 -- libraries raise SystemExit too
            log_failure(f"run {message.run_id} failed", error)
            return (
                _fatal(error) if failures.is_broken(error) else _run_failed(message.run_id, error)
            )

    def _model(self) -> Runner:
        if self._runner is None:
            raise AssertionError("the model isn't loaded")
        return self._runner

    async def _give_up(self, fatal: protocol.Fatal) -> None:
        """End the process: every further run on this device would fail too."""
        self._outbox.post(fatal)
        await self._outbox.sent()
        os._exit(EXIT_BROKEN)


class _Control:
    """Implements `handlers.base.Control` for one run."""

    def __init__(self, run_id: str, wish: threading.Event, outbox: Outbox) -> None:
        self._run_id = run_id
        self._wish = wish
        self._outbox = outbox
        self._text = ""
        self._preview: bytes | None = None

    def step(
        self, current_step: str, fraction: float, step: int | None = None, steps: int | None = None
    ) -> None:
        self.check()
        within = min(1.0, max(0.0, fraction))
        text, preview = self._text, self._preview
        self._text, self._preview = "", None
        self._outbox.step(
            protocol.Step(self._run_id, current_step, within, step, steps, text, preview)
        )

    def tell(self, text: str) -> None:
        self._text += text

    def show(self, picture: bytes) -> None:
        self._preview = picture

    def check(self) -> None:
        if self._wish.is_set():
            raise StoppedError


def _done(run_id: str, result: RunResult, peak_bytes: int | None) -> protocol.Done:
    files = [
        protocol.File(file.kind, file.content_type, file.extension, file.data)
        for file in result.files
    ]
    return protocol.Done(run_id, result.fields, files, peak_bytes, result.timings)


def _run_failed(run_id: str, error: BaseException) -> protocol.RunFailed:
    failure = failures.of_run(error)
    return protocol.RunFailed(run_id, failure.error_code, redact(failure.message))


def _load_failed(error: BaseException, spec: ModelSpec) -> protocol.LoadFailed:
    failure = failures.of_load(error, spec)
    return protocol.LoadFailed(failure.error_code, redact(failure.message))


def _fatal(error: BaseException) -> protocol.Fatal:
    cause, poisoned = redact(failures.sentence(error)), failures.is_poisoned(error)
    why = "its device is broken" if poisoned else "it can't go on"
    return protocol.Fatal(f"ended since {why}: {cause}", poisoned)

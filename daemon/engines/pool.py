"""The pool: carries out loads and unloads, and owns every engine from start to certain end.

One asyncio task per engine lives through the engine's whole life:

    start -> load -> report -> wait for the order to unload, or for death -> stop -> report

Bytes are reported free only after the process is gone and the device's memory is back.
"""

import asyncio
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Protocol, Self

import structlog

from daemon.jobs import ErrorCode, JobError
from daemon.ports import Engine, EngineFactory
from daemon.values import EngineLostError, Loaded

_log = structlog.get_logger(__name__)

RETRY_STOP_S = 1.0
"""Pause before an engine that couldn't be stopped is stopped again. Seconds."""


class EngineReports(Protocol):
    """Hears what became of loads, unloads and engines. Called on the event loop, never nested."""

    def load_done(self, model: str, device: int, loaded: Loaded) -> None:
        """The model is in memory."""
        ...

    def load_failed(self, model: str, device: int, error: JobError) -> None:
        """The load failed and its engine is gone."""
        ...

    def engine_lost(self, model: str, device: int, reason: str) -> None:
        """The engine ended by itself; `unload_done` follows when it is gone for certain."""
        ...

    def unload_done(self, model: str, device: int) -> None:
        """The engine is gone and the device has its memory back."""
        ...


MemoryBack = Callable[[int], Awaitable[None]]
"""Waits until the memory of engines that are gone is back on a device, as measured there."""


async def _at_once(_device: int) -> None:
    """Devices without a driver give memory back with the process."""


class _Held:
    """An engine, and whether it is to go."""

    def __init__(self, model: str, device: int, engine: Engine) -> None:
        self.model = model
        self.device = device
        self.engine = engine
        self.over = asyncio.Event()
        """Set by the order to unload or by the engine's death."""
        self.lost: str | None = None
        """Why the engine ended by itself."""


class EnginePool:
    """All engines of this daemon. `async with` owns them; leaving stops them all."""

    def __init__(
        self,
        factory: EngineFactory,
        *,
        memory_back: MemoryBack = _at_once,
        stop_grace_s: float = 5.0,
    ) -> None:
        self._factory = factory
        self._memory_back = memory_back
        self._stop_grace_s = stop_grace_s
        self._reports: EngineReports | None = None
        self._held: dict[tuple[str, int], _Held] = {}
        self._lives: set[asyncio.Task[None]] = set()
        self._group = asyncio.TaskGroup()
        self._closing = False

    def report_to(self, reports: EngineReports) -> None:
        """Say who hears of loads, unloads and deaths; before the first load."""
        self._reports = reports

    async def __aenter__(self) -> Self:
        await self._group.__aenter__()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._closing = True
        for life in self._lives:
            life.cancel()
        await self._group.__aexit__(kind, error, trace)

    def engine(self, model: str, device: int) -> Engine:
        """Return the engine that holds the model; raises KeyError where none does."""
        return self._held[model, device].engine

    def load(self, model: str, device: int) -> None:
        """Begin to load; `load_done` or `load_failed` is reported. Nothing while closing."""
        if self._closing:
            return
        held = _Held(model, device, self._factory(model, device))
        self._held[model, device] = held
        life = self._group.create_task(self._live(held), name=f"engine {model} on {device}")
        self._lives.add(life)
        life.add_done_callback(self._lives.discard)

    def unload(self, model: str, device: int) -> None:
        """Begin to unload; `unload_done` is reported. Nothing where the engine is going anyway."""
        if not self._closing:
            self._held[model, device].over.set()

    async def _live(self, held: _Held) -> None:
        """The whole life of one engine; however it ends, the engine is gone after it."""
        model, device = held.model, held.device
        try:
            loaded = await self._load(held)
            if isinstance(loaded, Loaded):
                self._to().load_done(model, device, loaded)
                await self._until_over(held)
                if held.lost is not None:
                    _log.warning("engine lost", model=model, device=device, reason=held.lost)
                    self._to().engine_lost(model, device, held.lost)
        except asyncio.CancelledError:
            await self._stop_at_exit(held)
            raise
        await self._reap(held)
        if isinstance(loaded, JobError):
            self._to().load_failed(model, device, loaded)
        else:
            self._to().unload_done(model, device)

    async def _load(self, held: _Held) -> Loaded | JobError:
        """Load, and turn every error into one that a row can show."""
        model, device = held.model, held.device
        _log.info("model loading", model=model, device=device)
        try:
            loaded = await held.engine.load()
        except JobError as error:
            failure = error
        except EngineLostError as error:
            message = f"the engine of {model} ended while loading: {error.reason}"
            failure = JobError(ErrorCode.MODEL_LOAD_FAILED, message)
        except Exception as error:  # noqa: BLE001 - see below
            # Whatever a start may raise costs one load, never the daemon.
            _log.exception("model load failed unexpectedly", model=model, device=device)
            failure = JobError(ErrorCode.MODEL_LOAD_FAILED, f"load of {model}: {error!r}")
        else:
            _log.info(
                "model loaded",
                model=model,
                device=device,
                weights_bytes=loaded.weights_bytes,
                seconds=round(loaded.seconds, 3),
            )
            return loaded
        _log.warning(
            "model load failed",
            model=model,
            device=device,
            error_code=failure.error_code,
            error=failure.message,
        )
        return failure

    async def _until_over(self, held: _Held) -> None:
        watch = self._group.create_task(self._watch(held))
        try:
            await held.over.wait()
        finally:
            watch.cancel()

    async def _watch(self, held: _Held) -> None:
        reason = await held.engine.ended()
        if not held.over.is_set():
            held.lost = reason
            held.over.set()

    async def _reap(self, held: _Held) -> None:
        """Stop the engine until it is gone, and wait for its memory."""
        while True:
            try:
                await held.engine.stop(self._stop_grace_s)
                await self._memory_back(held.device)
            except Exception:  # noqa: BLE001 - see below
                # Its bytes must not be used while it may live: try for as long as it takes.
                _log.exception("engine not gone yet", model=held.model, device=held.device)
                await asyncio.sleep(RETRY_STOP_S)
            else:
                break
        del self._held[held.model, held.device]
        _log.info("engine gone", model=held.model, device=held.device)

    async def _stop_at_exit(self, held: _Held) -> None:
        """Stop the engine; whoever cancels that too has no more patience, so it is killed."""
        try:
            await held.engine.stop(self._stop_grace_s)
        except asyncio.CancelledError:
            await held.engine.stop(0.0)

    def _to(self) -> EngineReports:
        if self._reports is None:
            raise RuntimeError("report_to wasn't called before the first load")
        return self._reports

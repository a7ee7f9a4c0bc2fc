"""The pool: carries out moves of weights, and owns every engine from start to certain end.

One asyncio task per engine lives through the engine's whole life:

    start -> load -> report -> wait for an order, or for death -> stop -> memory back -> report
                                ^                         |
                                +- report <- offload or restore

Orders are carried out one after the other. However an engine ends, one report says so. Bytes are
reported free only after the process is gone and the device's memory is back.

An engine that ends while its model comes to the device gets one successor: what killed it may have
had nothing to do with the model, as a device that another engine has just broken. A load that fails
by its own account is told at once.
"""

import asyncio
from collections.abc import Iterable
from types import TracebackType
from typing import Protocol, Self

import structlog

from daemon.engine_ports import Engine, EngineFactory, KeptEngine
from daemon.engines import moves
from daemon.engines.held import Held, Order
from daemon.engines.memory_back import AtOnce, MemoryBack
from daemon.jobs import JobError
from daemon.telemetry import context
from daemon.values import EngineEnd, Loaded, Offloaded

_log = structlog.get_logger(__name__)

RETRY_STOP_S = 1.0
"""Pause before an engine that couldn't be stopped is stopped again. Seconds."""


class EngineReports(Protocol):
    """Hears what became of moves and engines. Called on the event loop, never nested."""

    def load_done(self, model: str, device: int, loaded: Loaded) -> None:
        """The model is in the device's memory, from disk or from the host's memory."""
        ...

    def load_failed(self, model: str, device: int, error: JobError) -> None:
        """The load failed and its engine is gone."""
        ...

    def load_lost(self, model: str, device: int, end: EngineEnd) -> None:
        """The engine ended while its model came; the load goes on with another one."""
        ...

    def offload_done(self, model: str, device: int, offloaded: Offloaded) -> None:
        """The weights wait in the host's memory; the engine lives on."""
        ...

    def engine_lost(self, model: str, device: int, end: EngineEnd) -> None:
        """The engine ended by itself; `unload_done` follows when it is gone for certain."""
        ...

    def unload_done(self, model: str, device: int) -> None:
        """The engine is gone and the device has its memory back."""
        ...


class EnginePool:
    """All engines of this daemon. `async with` owns them; leaving stops them all."""

    def __init__(
        self,
        factory: EngineFactory,
        *,
        memory_back: MemoryBack | None = None,
        stop_grace_s: float = 5.0,
    ) -> None:
        self._factory = factory
        self._memory_back = memory_back or AtOnce()
        self._stop_grace_s = stop_grace_s
        self._reports: EngineReports | None = None
        self._held: dict[tuple[str, int], Held] = {}
        self._lives: set[asyncio.Task[None]] = set()
        self._group = asyncio.TaskGroup()
        self._closing = False

    def report_to(self, reports: EngineReports) -> None:
        """Say who hears of moves and deaths; before the first load."""
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

    def adopt(self, kept: KeptEngine) -> None:
        """Own an engine that was handed over; nothing is reported but its end."""
        held = Held(kept.model, kept.device, kept.engine)
        held.loaded, held.held_bytes = kept.loaded, kept.loaded.weights_bytes
        self._begin(held)

    def hand_over(self, wanted: Iterable[tuple[str, int]]) -> list[KeptEngine]:
        """Let go of those that are loaded and told nothing else; whoever calls must stop them.

        They must run nothing. The others stay, and end with the pool.
        """
        kept = []
        for key in wanted:
            held = self._held.get(key)
            if held is None or held.loaded is None or held.orders or held.end is not None:
                continue
            held.handed_over = True
            kept.append(KeptEngine(held.model, held.device, held.engine, held.loaded))
        return kept

    def engine(self, model: str, device: int) -> Engine:
        """Return the engine that holds the model; raises KeyError where none does."""
        return self._held[model, device].engine

    def load(self, model: str, device: int) -> None:
        """Begin to load, or to move back what was offloaded; `load_done` or `load_failed` follows.

        Nothing while closing.
        """
        if self._closing:
            return
        if (offloaded := self._held.get((model, device))) is not None:
            offloaded.order(Order.RESTORE)
            return
        self._begin(Held(model, device, self._factory(model, device)))

    def _begin(self, held: Held) -> None:
        model, device = held.model, held.device
        self._held[model, device] = held
        # Which model is loaded next isn't the matter of the job in whose turn that was decided.
        with context.lines_of(None):
            life = self._group.create_task(self._live(held), name=f"engine {model} on {device}")
        self._lives.add(life)
        life.add_done_callback(self._lives.discard)

    def offload(self, model: str, device: int) -> None:
        """Begin to move the weights to the host's memory; no run may be in the engine.

        `offload_done` follows, or `engine_lost` and `unload_done`. Nothing while closing.
        """
        if not self._closing:
            self._held[model, device].order(Order.OFFLOAD)

    def unload(self, model: str, device: int) -> None:
        """Begin to unload; `unload_done` is reported. Nothing where the engine is going anyway."""
        if not self._closing:
            self._held[model, device].order(Order.UNLOAD)

    async def _live(self, held: Held) -> None:
        """The whole life of one engine; however it ends, the engine is gone after it."""
        model, device = held.model, held.device
        try:
            failure: JobError | None = None
            if held.loaded is None:
                failure = await self._bring(held)
            if failure is None:
                failure = await self._serve(held)
        except asyncio.CancelledError:
            if not held.handed_over:
                await self._stop_at_exit(held)
            raise
        await self._reap(held, alive=failure is None and held.end is None)
        if isinstance(failure, JobError):
            self._to().load_failed(model, device, failure)
        else:
            self._to().unload_done(model, device)

    async def _serve(self, held: Held) -> JobError | None:
        """Carry out orders until the engine is to go; return why a restoring failed."""
        self._look_after(held)
        try:
            while True:
                match await self._next_order(held):
                    case Order.UNLOAD:
                        return None
                    case Order.OFFLOAD:
                        await self._offload(held)
                    case Order.RESTORE:
                        if (failure := await self._bring(held)) is not None:
                            return failure
                if held.end is not None:
                    _log.warning(
                        "engine lost",
                        model=held.model,
                        device=held.device,
                        loss=held.end.loss,
                        reason=held.end.reason,
                    )
                    self._to().engine_lost(held.model, held.device, held.end)
                    return None
        finally:
            held.look_away()

    async def _bring(self, held: Held) -> JobError | None:
        """Bring the model to the device; a failure waits until the engine is gone."""
        loaded = await moves.bring(held.engine, held.model, held.device, restoring=held.on_host)
        if isinstance(loaded, EngineEnd) and not self._closing:
            await self._replace(held, loaded)
            loaded = await moves.bring(held.engine, held.model, held.device)
        if not isinstance(loaded, Loaded):
            return moves.failure_of(loaded, held.model, held.device)
        if held.watch is None and held.on_host:
            self._look_after(held)  # the successor
        held.loaded, held.held_bytes, held.on_host = loaded, loaded.weights_bytes, False
        self._to().load_done(held.model, held.device, loaded)
        return None

    async def _replace(self, held: Held, end: EngineEnd) -> None:
        """Put a new engine in the place of one that ended while its model came."""
        _log.warning(
            "engine lost while loading: another one is tried",
            model=held.model,
            device=held.device,
            loss=end.loss,
            reason=end.reason,
        )
        self._to().load_lost(held.model, held.device, end)
        held.look_away()
        await self._end(held, alive=False)
        held.engine, held.end = self._factory(held.model, held.device), None

    async def _next_order(self, held: Held) -> Order | None:
        """Return the next order; None: the engine has ended, and nobody had ordered it to."""
        while not held.orders:
            if held.end is not None:
                return None
            await held.told.wait()
            held.told.clear()
        # Also with a dead engine: who has ordered something hears what became of that.
        return held.orders.popleft()

    async def _offload(self, held: Held) -> None:
        held.loaded = None
        held.on_host = True
        offloaded = await moves.offload(held.engine, held.model, held.device)
        if isinstance(offloaded, EngineEnd):
            held.end = offloaded
        else:
            held.held_bytes = offloaded.left_bytes
            self._to().offload_done(held.model, held.device, offloaded)

    def _look_after(self, held: Held) -> None:
        held.watch = self._group.create_task(self._watch(held))

    async def _watch(self, held: Held) -> None:
        end = await held.engine.ended()
        held.end = held.end or end
        held.told.set()

    async def _reap(self, held: Held, *, alive: bool) -> None:
        """Stop the engine until it is gone, wait for its memory, and forget it."""
        await self._end(held, alive=alive)
        del self._held[held.model, held.device]
        _log.info("engine gone", model=held.model, device=held.device)

    async def _end(self, held: Held, *, alive: bool) -> None:
        """Stop the engine until it is gone, and wait for its memory."""
        model, device, held.loaded = held.model, held.device, None
        before = await self._memory_back.used(model, device) if alive else None
        while True:
            try:
                await held.engine.stop(self._stop_grace_s)
            except Exception:  # noqa: BLE001 - see below
                # Its bytes must not be used while it may live: try for as long as it takes.
                _log.exception("engine not gone yet", model=model, device=device)
                await asyncio.sleep(RETRY_STOP_S)
            else:
                break
        await self._memory_back.wait(model, device, before, held.held_bytes)

    async def _stop_at_exit(self, held: Held) -> None:
        """Stop the engine; whoever cancels that too has no more patience, so it is killed."""
        try:
            await held.engine.stop(self._stop_grace_s)
        except asyncio.CancelledError:
            await held.engine.stop(0.0)

    def _to(self) -> EngineReports:
        if self._reports is None:
            raise RuntimeError("report_to wasn't called before the first load")
        return self._reports

"""The wake-up sources: each must hear a canary that is really sent through the database."""

import asyncio
import contextlib
import time
from collections.abc import Callable
from functools import partial

from daemon.connections import make_sources, make_store
from daemon.doctor.findings import Finding, failed, ok, skipped, warning
from daemon.ports import JobStore
from daemon.settings import Settings
from daemon.startup import StartupError
from daemon.values import SchemaMismatchError, StoreRejectedError, StoreUnavailableError
from daemon.wakeups.proof import ProvableSource

_READY_S = 12.0
"""A cold Realtime server takes some seconds to confirm."""
_TRIES = 3
"""Canaries: a cold server confirms before its feed exists."""

_ADVICE = {
    "listen": "LISTEN needs a direct or session-mode connection (port 5432), no transaction pooler",
    "realtime": (
        "is Realtime enabled for the project, and are the tables jobs and ourvidz_canary in the "
        "publication supabase_realtime? `ourvidz-worker migrate` adds them"
    ),
    "broadcast": (
        "is the topic ourvidz:jobs allowed by the policy on realtime.messages, which "
        "`ourvidz-worker migrate` makes? Or set wakeups.broadcast to false"
    ),
}


async def look(settings: Settings) -> list[Finding]:
    """Connect all sources, send canaries, and say who heard one after how long."""
    try:
        store = make_store(settings, pool_size=1)
    except StartupError as error:
        return [skipped("wake-ups", str(error))]
    try:
        sources = make_sources(settings)
    except StartupError as error:
        return [failed("wake-ups", str(error), _ADVICE["listen"])]
    if not sources:
        every = settings.wakeups.sweep_interval_blind_s
        seen = f"no source is configured: the table is looked at every {every:g} s"
        return [warning("wake-ups", seen, "set DATABASE_URL or SUPABASE_URL for wake-ups")]
    wake, news = asyncio.Event(), asyncio.Event()
    for source in sources:
        source.record.became_ready = source.record.heard_canary = news.set
    running = [asyncio.create_task(source.run(wake)) for source in sources]
    try:
        return await _hear(settings.wakeups.canary_within_s, store, sources, news)
    except (StoreUnavailableError, StoreRejectedError, SchemaMismatchError) as error:
        return [skipped("wake-ups", f"no canary can be sent: {error}")]
    finally:
        for each in running:
            each.cancel()
        await asyncio.gather(*running, return_exceptions=True)
        await store.aclose()


async def _hear(
    within_s: float, store: JobStore, sources: list[ProvableSource], news: asyncio.Event
) -> list[Finding]:
    # Whether one can be sent at all is known before anybody is waited for.
    await store.beat_canary(0.0)
    await _until(lambda: all(source.link.ready for source in sources), news, _READY_S)
    heard: dict[str, float] = {}
    broadcast = True
    for _ in range(_TRIES):
        sent_at = time.monotonic()
        canary = await store.beat_canary(0.0)
        broadcast = canary.broadcast
        waiting = [source for source in sources if _may_hear(source, heard, broadcast=broadcast)]
        await _until(partial(_all_heard, waiting, canary.serial), news, within_s)
        for source in waiting:
            at = source.record.heard_at(canary.serial)
            if at is not None:
                heard[source.name] = at - sent_at
        if all(source.name in heard for source in waiting):
            break
    return [_finding(source, heard, within_s, broadcast=broadcast) for source in sources]


def _may_hear(source: ProvableSource, heard: dict[str, float], *, broadcast: bool) -> bool:
    ready = source.link.ready and source.name not in heard
    return ready and (broadcast or source.name != "broadcast")


def _all_heard(sources: list[ProvableSource], serial: int) -> bool:
    return all(source.record.heard_at(serial) is not None for source in sources)


def _finding(
    source: ProvableSource, heard: dict[str, float], within_s: float, *, broadcast: bool
) -> Finding:
    name = f"wake-ups: {source.name}"
    advice = _ADVICE[source.name]
    if source.name in heard:
        return ok(name, f"heard a canary after {heard[source.name] * 1000:.0f} ms")
    if source.name == "broadcast" and not broadcast:
        return skipped(name, "this database has no realtime.send: the other sources do it")
    if not source.link.ready:
        error = source.state().get("last_error") or f"still {source.link.state}"
        return failed(name, f"not listening after {_READY_S:g} s: {error}", advice)
    return failed(
        name, f"listens, but heard none of {_TRIES} canaries within {within_s:g} s each", advice
    )


async def _until(reached: Callable[[], bool], news: asyncio.Event, within_s: float) -> None:
    """Wait until it is so, or the time is over."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(within_s):
            while not reached():
                news.clear()
                await news.wait()

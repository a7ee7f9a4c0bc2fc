"""The database as a worker uses it: reached, migrated, with the rights, and its clock.

The same calls over a direct connection and over REST; all of them are empty and change nothing.
"""

import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

from daemon.connections import make_store
from daemon.doctor.clocks import clock_finding
from daemon.doctor.findings import Finding, failed, ok, skipped
from daemon.migrate import SCHEMA_VERSION
from daemon.ports import JobStore
from daemon.settings import Settings
from daemon.startup import StartupError
from daemon.values import (
    SchemaMismatchError,
    StoreRejectedError,
    StoreUnavailableError,
    WorkerIdentity,
)

_RIGHTS = (
    "run the worker as the role ourvidz_worker: SUPABASE_WORKER_TOKEN made by `ourvidz-worker "
    "token`, a login `in role ourvidz_worker`, or a service role key"
)

_KEY = "set SUPABASE_KEY to a key of this project (its settings, API keys)"


async def look(settings: Settings, clock: Callable[[], float]) -> list[Finding]:
    """Return what was found of the database that the settings name."""
    try:
        store = make_store(settings, pool_size=1)
    except StartupError as error:
        advice = "set DATABASE_URL, or SUPABASE_URL with SUPABASE_KEY"
        return [failed("database", str(error), advice)]
    direct = settings.database.dsn is not None
    try:
        found = await _store_findings(store, "direct connection" if direct else "REST")
    finally:
        await store.aclose()
    if direct and found[0].verdict == "ok":
        found.append(await _clock(settings, clock))
    return found


async def _store_findings(store: JobStore, way: str) -> list[Finding]:
    began = time.perf_counter()
    try:
        await store.check_schema()
    except StoreUnavailableError as error:
        return [failed("database", str(error), _reach(way)), *_unseen("the database isn't reached")]
    except SchemaMismatchError as error:
        return [
            ok("database", f"reached by {way}"),
            failed("schema", str(error), "see docs/operations.md, Set up the database"),
            skipped("rights", "the schema isn't this worker's"),
        ]
    except StoreRejectedError as error:
        advice = _KEY if "api key" in str(error).lower() else _RIGHTS
        return [failed("database", f"it refuses: {error}", advice), *_unseen("it refuses")]
    took_ms = (time.perf_counter() - began) * 1000
    return [
        ok("database", f"reached by {way}, connected and answered in {took_ms:.0f} ms"),
        ok("schema", f"version {SCHEMA_VERSION}, as this worker needs it"),
        await _rights(store),
    ]


async def _rights(store: JobStore) -> Finding:
    """Call each function of the worker's way, with nothing to do."""
    worker = WorkerIdentity("doctor", uuid4())
    calls: dict[str, Callable[[], Awaitable[Any]]] = {
        "claim": lambda: store.claim(worker, uuid4(), [], 12),
        "renew": lambda: store.renew([], 12),
        "progress": lambda: store.progress([]),
        "finish": lambda: store.finish([]),
        "queue": store.queue_summary,
    }
    refused = []
    for name, call in calls.items():
        try:
            await call()
        except (StoreRejectedError, StoreUnavailableError) as error:
            refused.append(f"{name}: {error}")
    if refused:
        return failed("rights", "; ".join(refused), _RIGHTS)
    backlog = await store.queue_summary()
    queued, running = sum(b.queued for b in backlog), sum(b.processing for b in backlog)
    return ok("rights", f"may claim, renew, report and finish; {queued} queued, {running} running")


async def _clock(settings: Settings, clock: Callable[[], float]) -> Finding:
    import asyncpg

    if settings.database.dsn is None:
        raise AssertionError("This can't happen because only a direct connection is asked.")
    connection = await asyncpg.connect(settings.database.dsn.get_secret_value(), timeout=10)
    try:
        before = clock()
        theirs: datetime = await connection.fetchval("select clock_timestamp()")
        after = clock()
    finally:
        await connection.close()
    middle = (before + after) / 2
    return clock_finding("the database's", theirs.astimezone(UTC).timestamp() - middle)


def _reach(way: str) -> str:
    setting = "DATABASE_URL" if way == "direct connection" else "SUPABASE_URL"
    return f"is {setting} right, does the server run, and may this host reach it?"


def _unseen(why: str) -> list[Finding]:
    return [skipped("schema", why), skipped("rights", why)]

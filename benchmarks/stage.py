"""What every benchmark stands on: a PostgreSQL of its own, migrated, and a printed table."""

import asyncio
import contextlib
import json
import statistics
import tempfile
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import asyncpg

from daemon.migrate import migrate
from daemon.settings import Settings, load_settings, merged
from devstack.postgres import Postgres

FAKE_MODEL = {
    "runner": "fake",
    "path": "",
    "budget_gb": 4,
    "weights_gb": 0.001,
    "max_concurrent": 256,
    "footprint_gb": {"fast": 1},
    "concurrency": {"fast": 256},
    # On the event loop: what is measured is the queue, not a thread's switch.
    "options": {"inline": True, "threads": False},
}


@contextlib.asynccontextmanager
async def database() -> AsyncIterator[str]:
    """Run a migrated PostgreSQL in a temporary folder, fsync on, as it ships; yield its DSN."""
    with tempfile.TemporaryDirectory(prefix="ourvidz-bench-") as folder:
        Path(folder).chmod(0o755)
        async with Postgres(Path(folder) / "data", settings={"fsync": "on"}) as postgres:
            await migrate(postgres.dsn, report=lambda _: None)
            yield postgres.dsn


def fake_settings(dsn: str, folder: str, **overrides: Any) -> Settings:
    """Return settings of a worker whose chat model does nothing, in its own process."""
    given = {
        "worker_type": "chat",
        "database": {"dsn": dsn},
        "models": {"chat": FAKE_MODEL},
        "device": {"simulate_gb": 24},
        "preload": (),
        "artifacts": {"kind": "local", "folder": folder},
        "server": {"port": 0},
        "state_dir": folder,
        "max_held": 400,
        "log": {"level": "warning"},
    }
    return load_settings(None, merged(given, overrides))


async def insert_jobs(connection: "asyncpg.Connection[Any]", count: int, **metadata: Any) -> None:
    """Insert jobs of the fake model in one statement."""
    await connection.execute(
        "insert into jobs (job_type, metadata) select 'chat', $1 from generate_series(1, $2)",
        json.dumps({"prompt": "nothing", "fake": {"steps": 0}, **metadata}),
        count,
    )


def quantile(values: Sequence[float], share: float) -> float:
    """Return the value below which `share` of the values lie."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def milliseconds(values: Sequence[float]) -> str:
    """Say p50, p99 and mean of seconds in milliseconds."""
    p50, p99 = quantile(values, 0.5) * 1e3, quantile(values, 0.99) * 1e3
    return f"p50 {p50:.2f} ms   p99 {p99:.2f} ms   mean {statistics.mean(values) * 1e3:.2f} ms"


async def until(condition: Any, every_s: float = 0.005) -> None:
    """Wait until an asynchronous condition holds."""
    while not await condition():
        await asyncio.sleep(every_s)

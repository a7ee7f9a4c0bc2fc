"""From an idle insert to the start of its handler, on each wake-up source.

    python benchmarks/start_latency.py [INSERTS]

- floor: a bare asyncpg connection that listens, and claims with one plain statement on a bare table
- LISTEN: the whole daemon on a direct connection
- Realtime: the whole daemon on the local stack, through its REST and Realtime servers

Floor and daemon take turns insert by insert, so that both see the same machine. An insert is made
when everything is idle. The handler's start is when the engine's run is called, in the same process
and on the same clock as the insert's begin.
"""

import asyncio
import contextlib
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import asyncpg
from stage import FAKE_MODEL, database, fake_settings, insert_jobs, milliseconds

from daemon.app import run
from daemon.engines.inline import InlineEngine
from daemon.migrate import migrate
from daemon.settings import Settings, load_settings
from devstack.stack import Stack

_started: "asyncio.Queue[float]" = asyncio.Queue()
_run = InlineEngine.run


async def _timed_run(self: InlineEngine, *arguments: Any) -> Any:
    _started.put_nowait(time.perf_counter())
    return await _run(self, *arguments)


@contextlib.asynccontextmanager
async def worker(settings: Settings) -> AsyncIterator[None]:
    """Run the daemon for the block."""
    ready = asyncio.Event()
    running = asyncio.create_task(run(settings, on_ready=lambda _: ready.set()))
    waiting = asyncio.create_task(ready.wait())
    await asyncio.wait({running, waiting}, return_when=asyncio.FIRST_COMPLETED)
    if running.done():
        running.result()
    try:
        yield
    finally:
        running.cancel()
        await asyncio.wait([running])


class Floor:
    """LISTEN and one plain claim, with nothing around them."""

    def __init__(self, listener: Any, inserter: Any) -> None:
        self._listener = listener
        self._inserter = inserter
        self._heard = asyncio.Event()
        self._claim: Any = None

    @classmethod
    async def open(cls, dsn: str) -> "Floor":
        """Make the bare table, and listen."""
        listener, inserter = await asyncpg.connect(dsn), await asyncpg.connect(dsn)
        await inserter.execute(
            """
            create table bare_latency (id bigserial primary key, status text default 'queued');
            create index on bare_latency (id) where status = 'queued';
            create function bare_notify() returns trigger language plpgsql as
            $$ begin perform pg_notify('bare', ''); return null; end $$;
            create trigger bare_notify after insert on bare_latency
            for each statement execute function bare_notify();
            """
        )
        floor = cls(listener, inserter)
        await listener.add_listener("bare", lambda *_: floor._heard.set())
        floor._claim = await listener.prepare(
            "update bare_latency set status = 'processing' where id = (select id from "
            "bare_latency where status = 'queued' order by id limit 1 for update skip locked) "
            "returning id"
        )
        # A statement that is only prepared leaves the session busy: nothing would be heard.
        await floor._claim.fetch()
        return floor

    async def once(self) -> float:
        """Return the seconds from insert to claimed."""
        self._heard.clear()
        began = time.perf_counter()
        inserting = asyncio.create_task(
            self._inserter.execute("insert into bare_latency default values")
        )
        await self._heard.wait()
        await self._claim.fetch()
        seconds = time.perf_counter() - began
        await inserting
        return seconds


async def job(inserter: Any) -> float:
    """Insert one job; return the seconds to its handler's start; wait until it is finished."""
    began = time.perf_counter()
    inserting = asyncio.create_task(insert_jobs(inserter, 1))
    seconds = await _started.get() - began
    await inserting
    while await inserter.fetchval("select exists (select from jobs where status <> 'completed')"):
        await asyncio.sleep(0.002)
    return seconds


async def on_listen(inserts: int) -> None:
    """Measure floor and daemon in turns."""
    async with database() as dsn:
        floor, inserter = await Floor.open(dsn), await asyncpg.connect(dsn)
        with tempfile.TemporaryDirectory() as folder:
            async with worker(fake_settings(dsn, folder)):
                for _ in range(20):
                    await floor.once()
                    await job(inserter)
                pairs = [(await floor.once(), await job(inserter)) for _ in range(inserts)]
    floors, jobs = zip(*pairs, strict=True)
    print(f"floor     {milliseconds(floors)}")
    print(f"LISTEN    {milliseconds(jobs)}", flush=True)


async def on_realtime(inserts: int) -> None:
    """Measure the daemon on the local stack, with the worker's own key."""
    with tempfile.TemporaryDirectory(prefix="ourvidz-bench-") as folder:
        Path(folder).chmod(0o755)
        async with Stack(Path(folder) / "stack", fsync=True) as stack:
            await migrate(stack.dsn, report=lambda _: None)
            settings = load_settings(
                None,
                {
                    "worker_type": "chat",
                    "supabase": {
                        "url": stack.url,
                        "key": stack.anon_key,
                        "token": stack.worker_token,
                    },
                    "models": {"chat": FAKE_MODEL},
                    "device": {"simulate_gb": 24},
                    "server": {"port": 0},
                    "state_dir": folder,
                    "log": {"level": "warning"},
                    "wakeups": {"sweep_interval_s": 3600},
                },
            )
            inserter = await asyncpg.connect(stack.dsn)
            async with worker(settings):
                await asyncio.sleep(5)  # the sweeps after the subscription are over
                jobs = [await job(inserter) for _ in range(inserts)]
    print(f"Realtime  {milliseconds(jobs)}")


async def main(inserts: int) -> None:
    """Measure both ways."""
    await on_listen(inserts)
    await on_realtime(inserts)


if __name__ == "__main__":
    InlineEngine.run = _timed_run  # type: ignore[method-assign]  # the benchmark's stop-watch
    asyncio.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else 300))

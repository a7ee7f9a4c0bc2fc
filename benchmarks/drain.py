"""Drain rate: 10,000 no-op jobs through the whole daemon, beside two floors and pgqueuer.

    python benchmarks/drain.py [JOBS]

- floor: claim 50 and finish 50 in two plain statements on a bare table, one connection
- functions: claim_jobs and finish_jobs in batches of 50, one connection
- ourvidz-worker: the whole daemon: intake, leases, admission, engine, outbox
- pgqueuer: its queue manager with batches of 50, tuned

All on the same PostgreSQL in the same run, one after another.
"""

import asyncio
import json
import sys
import tempfile
import time
from datetime import timedelta
from typing import Any
from uuid import uuid4

import asyncpg
from stage import database, fake_settings, insert_jobs

BATCH = 50


async def floor(dsn: str, jobs: int) -> float:
    """Claim and finish on a bare table."""
    connection = await asyncpg.connect(dsn)
    await connection.execute(
        """
        create table bare (id bigserial primary key, status text default 'queued', result jsonb);
        create index on bare (id) where status = 'queued';
        """
    )
    await connection.execute("insert into bare select from generate_series(1, $1)", jobs)
    claim = await connection.prepare(
        """
        update bare set status = 'processing' where id = any(array(
            select id from bare where status = 'queued' order by id limit 50
            for update skip locked)) returning id
        """
    )
    finish = await connection.prepare(
        "update bare set status = 'completed', result = '{}' where id = any($1::bigint[])"
    )
    began = time.perf_counter()
    while rows := await claim.fetch():
        await finish.fetch([row["id"] for row in rows])
    seconds = time.perf_counter() - began
    await connection.close()
    return jobs / seconds


async def functions(dsn: str, jobs: int) -> float:
    """Claim and finish with the worker's own functions, and nothing around them."""
    connection = await asyncpg.connect(dsn)
    await insert_jobs(connection, jobs)
    await connection.execute("analyze jobs")
    demands = json.dumps([{"job_types": ["chat"], "count": BATCH}])
    claim = await connection.prepare("select * from claim_jobs('bench', $1, $2, $3, 12)")
    finish = await connection.prepare("select * from finish_jobs($1)")
    instance = uuid4()
    began = time.perf_counter()
    while rows := await claim.fetch(instance, uuid4(), demands):
        finishes = [
            {"claim_id": str(row["claim_id"]), "outcome": "completed", "result": {}, "timings": {}}
            for row in rows
        ]
        await finish.fetch(json.dumps(finishes))
    seconds = time.perf_counter() - began
    await connection.execute("truncate jobs cascade")
    await connection.close()
    return jobs / seconds


async def worker(dsn: str, jobs: int, **overrides: Any) -> float:
    """Run the daemon until every job is completed; `overrides` are further settings."""
    from daemon.app import run  # its import is not part of the other figures

    connection = await asyncpg.connect(dsn)
    await insert_jobs(connection, jobs)
    await connection.execute("analyze jobs")
    ready = asyncio.Event()
    with tempfile.TemporaryDirectory() as folder:
        settings = fake_settings(dsn, folder, **overrides)
        running = asyncio.create_task(run(settings, on_ready=lambda _: ready.set()))
        await ready.wait()
        began = time.perf_counter()
        while await connection.fetchval(
            "select exists (select from jobs where status in ('queued', 'processing'))"
        ):
            await asyncio.sleep(0.02)
        seconds = time.perf_counter() - began
        completed = await connection.fetchval(
            "select count(*) from jobs where status = 'completed'"
        )
        if completed != jobs:
            raise SystemExit(f"only {completed} of {jobs} jobs completed")
        running.cancel()
        await asyncio.wait([running])
    await connection.execute("truncate jobs cascade")
    await connection.close()
    return jobs / seconds


async def pgqueuer(dsn: str, jobs: int) -> float:
    """Run pgqueuer in drain mode."""
    from pgqueuer import PgQueuer
    from pgqueuer.db import AsyncpgPoolDriver
    from pgqueuer.models import Job
    from pgqueuer.queries import Queries
    from pgqueuer.types import QueueExecutionMode

    async with asyncpg.create_pool(dsn, min_size=4, max_size=8) as pool:
        driver = AsyncpgPoolDriver(pool)
        queries = Queries(driver)
        await queries.install()
        await queries.enqueue(["noop"] * jobs, [None] * jobs, [0] * jobs)
        queue = PgQueuer(driver)

        @queue.entrypoint("noop")
        async def noop(_: Job) -> None:
            pass

        began = time.perf_counter()
        await queue.qm.run(
            dequeue_timeout=timedelta(seconds=1),
            batch_size=BATCH,
            max_concurrent_tasks=4 * BATCH,
            mode=QueueExecutionMode.drain,
        )
        seconds = time.perf_counter() - began
        return jobs / seconds


async def main(jobs: int) -> None:
    """Measure all four, and print them."""
    async with database() as dsn:
        measures: list[tuple[str, Any]] = [
            ("floor", floor),
            ("functions", functions),
            ("ourvidz-worker", worker),
            ("pgqueuer", pgqueuer),
        ]
        rates = {}
        for name, measure in measures:
            rates[name] = await measure(dsn, jobs)
            share = rates[name] / rates["floor"]
            print(f"{name:<16}{rates[name]:>8.0f} jobs/s   {share:.2f} of the floor", flush=True)


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else 10_000))

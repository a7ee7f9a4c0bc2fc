"""A week of a real table, exported with the worker's rights and simulated by the command."""

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from uuid import uuid4

import pytest
import pytest_asyncio
from jobs_database import ALICE, BOB, JobsDatabase, opened, worker_dsn
from worker_calls import claim

from daemon.jobs import Completed, Finish
from daemon.migrate import migrate
from daemon.store.postgres import PostgresStore
from daemon.traces import read_trace
from devstack.postgres import Postgres

OVER_HTTP = "requests that came over HTTP alone leave no rows: they aren't in it"

pytestmark = pytest.mark.asyncio(loop_scope="session")


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Postgres]:
    """A server of its own."""
    async with Postgres(tmp_path_factory.mktemp("postgres")) as running:
        yield running


@pytest_asyncio.fixture(loop_scope="session")
async def database(server: Postgres) -> AsyncIterator[JobsDatabase]:
    """A migrated database without rows, with its real clock."""
    dsn = await server.create_database(f"simulate_{uuid4().hex[:8]}")
    await migrate(dsn, report=lambda _: None)
    async with opened(dsn) as found:
        yield found


async def simulate(dsn: str, *arguments: str) -> tuple[int, str, str]:
    """Run the command; return its status and what it said."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "daemon", "simulate", *arguments,
        env={"PATH": os.environ["PATH"], "DATABASE_URL": dsn},
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    out, err = await process.communicate()
    return process.returncode or 0, out.decode(), err.decode()


async def test_a_week_of_the_table_is_simulated(database: JobsDatabase, tmp_path: Path) -> None:
    """Measured seconds where there are some; the file that is written simulates alike."""
    old = "now() - interval '9 days'"
    await database.insert("video_high", user_id=ALICE)
    await database.owner.execute(f"update jobs set created_at = {old}")
    await database.insert("sdxl_image_fast", user_id=ALICE)
    dsn = await worker_dsn(database.dsn)
    store = PostgresStore(dsn, pool_size=1, statement_timeout_s=5)
    [job] = await claim(store, "sdxl_image_fast")
    await store.finish([Finish(job.claim_id, Completed({}), {"waiting": 3.0, "running": 21.5})])
    await store.aclose()
    await database.insert("chat", user_id=BOB, priority=2)
    await database.insert("wan_image_high", user_id=ALICE)

    path = tmp_path / "trace.jsonl"
    status, out, err = await simulate(dsn, "--from-database", "--json", "--export", str(path))
    again = await simulate("", "--trace", str(path), "--json")

    assert status == 0
    assert err == f"wrote 3 jobs to {path}\n{OVER_HTTP}\n"
    [row] = json.loads(out)
    assert set(row["classes"]) == {"chat fast", "sdxl fast", "wan high"}
    assert [
        (each.job_type, each.user, each.priority, each.run_s, each.completed)
        for each in read_trace(path)
    ] == [
        ("sdxl_image_fast", 1, 0, 21.5, True),
        ("chat", 2, 2, None, False),
        ("wan_image_high", 1, 0, None, False),
    ]
    assert again == (0, out, "")

    _, out, _ = await simulate(dsn, "--from-database", "--since", "2w")
    assert out.startswith("4 jobs in 216.0 h, of the last 2w\n")


async def test_a_database_that_cannot_serve_is_a_message(server: Postgres) -> None:
    """One that isn't migrated, and one that isn't there; the password is in neither."""
    bare = await server.create_database(f"bare_{uuid4().hex[:8]}")
    unmigrated = await simulate(bare, "--from-database")
    away = await simulate("postgres://worker:hush@127.0.0.1:1/none", "--from-database")

    assert unmigrated[:2] == away[:2] == (1, "")
    assert unmigrated[2].startswith("ourvidz-worker: ")
    assert "run `ourvidz-worker migrate`" in unmigrated[2]
    assert away[2].startswith("ourvidz-worker: the database can't be reached")
    assert "hush" not in away[2]

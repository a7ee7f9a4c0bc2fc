"""Seconds of queued work: what an autoscaler asks for."""

import json
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import asyncpg
import pytest
import yaml
from jobs_database import NOON, JobsDatabase

pytestmark = pytest.mark.asyncio(loop_scope="session")

SCALER = Path(__file__).parents[2] / "deploy" / "kubernetes" / "scaledobject.yaml"


async def seconds(database: JobsDatabase) -> dict[str, tuple[int, int, float, float]]:
    """Return queued, processing, a run's and all seconds by job type."""
    rows = await database.owner.fetch("select * from queued_seconds()")
    return {row["job_type"]: tuple(row)[1:] for row in rows}


async def claim(database: JobsDatabase, job_type: str) -> str:
    demands = json.dumps([{"job_types": [job_type], "count": 1}])
    return str(
        await database.owner.fetchval(
            "select claim_id from claim_jobs('w', $1, $2, $3, 12)", uuid4(), uuid4(), demands
        )
    )


async def complete(database: JobsDatabase, claim_id: str, **timings: Any) -> None:
    finish = {"claim_id": claim_id, "outcome": "completed", "timings": timings, "retry_in_s": 0}
    await database.owner.execute("select finish_jobs($1)", json.dumps([finish]))


async def test_an_empty_queue_is_no_work(database: JobsDatabase) -> None:
    """Finished jobs aren't any."""
    await database.insert("chat")
    await complete(database, await claim(database, "chat"), running=4.0)
    assert await seconds(database) == {}


async def test_each_job_counts_its_type_s_cost(database: JobsDatabase) -> None:
    """Until runs were seen; what isn't due yet doesn't count."""
    for job_type in ("chat", "chat", "video_high"):
        await database.insert(job_type)
    await database.insert("video_high", run_after=NOON + timedelta(minutes=5))
    assert await seconds(database) == {
        "chat": (2, 0, 10.0, 20.0),
        "video_high": (1, 0, 120.0, 120.0),
    }
    await database.pass_time(301)
    assert (await seconds(database))["video_high"] == (2, 0, 120.0, 240.0)


async def test_completed_runs_teach(database: JobsDatabase) -> None:
    """The average of the last hour's; a failed one and one without a figure say nothing."""
    for running in (2.0, 4.0):
        await database.insert("chat")
        await complete(database, await claim(database, "chat"), running=running)
    await database.insert("chat")
    await complete(database, await claim(database, "chat"), running="soon")
    await database.insert("chat")
    assert await seconds(database) == {"chat": (1, 0, 3.0, 3.0)}
    await database.pass_time(3601)
    assert await seconds(database) == {"chat": (1, 0, 10.0, 10.0)}


async def test_a_running_job_counts_what_is_left_of_it(database: JobsDatabase) -> None:
    """And never nothing: a worker that overruns isn't idle."""
    await database.insert("video_fast")
    await claim(database, "video_fast")
    await database.pass_time(45)
    assert await seconds(database) == {"video_fast": (0, 1, 60.0, 15.0)}
    await database.pass_time(500)
    assert await seconds(database) == {"video_fast": (0, 1, 60.0, 6.0)}


async def test_clients_may_not_ask(database: JobsDatabase) -> None:
    """The worker's role may, and an autoscaler's login that has it."""
    for role in ("anon", "authenticated"):
        async with database.session(role) as session:
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await session.fetch("select * from queued_seconds()")
    async with database.session("ourvidz_worker") as session:
        assert await session.fetch("select * from queued_seconds()") == []


async def test_the_autoscaler_s_query_is_one_number(database: JobsDatabase) -> None:
    """As the manifest has it, with the worker's rights, empty or not."""
    [manifest] = [
        each for each in yaml.safe_load_all(SCALER.read_text()) if each["kind"] == "ScaledObject"
    ]
    [trigger] = manifest["spec"]["triggers"]
    async with database.session("ourvidz_worker") as session:
        assert await session.fetchval(trigger["metadata"]["query"]) == 0
        await database.insert("video_high")
        await database.insert("chat")
        assert await session.fetchval(trigger["metadata"]["query"]) == 130

"""Events of jobs that don't run here, over HTTP."""

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any
from uuid import uuid4

import pytest
from event_stage import WITHIN_S, EventStage, block, parsed
from scripted import a_job
from scripted_desk import a_row

from daemon.job_run import JobRun
from daemon.jobs import Recorded, Released
from daemon.values import StoreUnavailableError


@pytest.fixture
async def stage() -> AsyncIterator[EventStage]:
    stage = EventStage()
    stage.step()
    yield stage
    if hasattr(stage, "client"):
        await stage.client.close()


async def test_a_job_that_leaves_is_followed_by_its_row(stage: EventStage, daemon: Any) -> None:
    """It went back to the queue, and another worker ends it: the same stream tells both."""
    row = a_row(id=stage.job.job.id)
    stage.table.has(row)
    await stage.serve(daemon)
    response = await stage.get()
    stage.feed.ended(stage.job, Released("stops"), Recorded.RECORDED)
    await block(response)
    told = [await block(response) for _ in range(3)]
    stage.table.has(replace(row, status="completed", result={"response": "Hi"}))

    rest = parsed(await asyncio.wait_for(response.text(), WITHIN_S))

    assert [lines[:2] for lines in told] == [
        ["id: 1", "event: step"],
        ["id: 2", "event: restarted"],
        ["id: 0", "event: step"],
    ]
    assert [(number, kind) for number, kind, _ in rest] == [(0, "end")]
    assert rest[0][2]["result"] == {"response": "Hi"}


async def test_a_job_that_nobody_has_is_followed_until_it_runs_here(
    stage: EventStage, daemon: Any
) -> None:
    """First by its row; from the first step on live, with the feed's numbers and its text."""
    stage.job = JobRun(a_job(), 0.0, lambda: 0.0)
    stage.table.has(a_row(id=stage.job.job.id))
    await stage.serve(daemon)
    response = await stage.get("", **{"Last-Event-ID": "7"})
    await block(response)
    queued = await block(response)
    stage.step("Hi")
    stage.end()

    told = parsed(await asyncio.wait_for(response.text(), WITHIN_S))

    assert queued[:2] == ["id: 0", "event: step"]
    assert json.loads(queued[2].removeprefix("data: "))["status"] == "queued"
    assert [(number, kind) for number, kind, _ in told] == [(1, "text"), (2, "step"), (3, "end")]


async def test_a_finished_job_answers_its_end_at_once(stage: EventStage, daemon: Any) -> None:
    """Whoever had it, and however long ago."""
    row = a_row(status="failed", error="no room", error_code="VRAM_OVERFLOW")
    stage.table.has(row)
    await stage.serve(daemon)

    response = await stage.client.get(f"/jobs/{row.id}/events")

    assert parsed(await response.text()) == [
        (0, "end", {"status": "failed", "error": "no room", "error_code": "VRAM_OVERFLOW"})
    ]


async def test_a_database_that_is_away_is_503(stage: EventStage, daemon: Any) -> None:
    """For jobs that don't run here; those that do are told of all the same."""
    stage.table.failure = StoreUnavailableError("gone")
    await stage.serve(daemon)
    stage.end()

    refused = await stage.client.get(f"/jobs/{uuid4()}/events")
    here = await stage.get()

    assert (refused.status, refused.headers["Retry-After"]) == (503, "5")
    assert (await refused.json())["error_code"] == "DATABASE_ERROR"
    assert parsed(await here.text())[-1][1] == "end"


async def test_stopping_ends_streams_of_rows_too(stage: EventStage, daemon: Any) -> None:
    """Also where the row is still being looked for."""
    row = a_row()
    stage.table.has(row)
    await stage.serve(daemon)
    stream = await stage.client.get(f"/jobs/{row.id}/events")
    await block(stream)
    await block(stream)
    stage.table.holds_back = asyncio.Event()
    searching = asyncio.create_task(stage.client.get(f"/jobs/{uuid4()}/events"))
    async with asyncio.timeout(WITHIN_S):
        while stage.counts != [1, 2]:
            await asyncio.sleep(0)

        await stage.server.close()

    assert await stream.text() == ""
    assert (await searching).status == 503

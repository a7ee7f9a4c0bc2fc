"""Queued rows are told when they should end: who, how often, and by whose forecast."""

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
import pytest_asyncio
from jobs_database import ALICE, BOB, JobsDatabase

pytestmark = pytest.mark.asyncio(loop_scope="session")

VIDEO = ["video_fast"]
CHAT = ["chat", "enhance", "generate"]


class Queue:
    """The table's queue, and the forecasts that workers make of it."""

    def __init__(self, database: JobsDatabase) -> None:
        self.database = database

    async def add(self, *job_types: str, **columns: Any) -> list[UUID]:
        """Insert jobs that have waited for a minute since."""
        jobs = [await self.database.insert(job_type, **columns) for job_type in job_types]
        await self.database.pass_time(60)
        return jobs

    async def foretell(
        self,
        *ends_s: float,
        each_s: float | None = None,
        job_types: list[str] = VIDEO,
        worker: str = "w",
        limit: int = 25,
    ) -> int:
        """Pass one class's forecast on; return how many rows were told."""
        forecasts = [{"job_types": job_types, "ends_s": ends_s, "each_s": each_s}]
        told = await self.database.owner.fetchval(
            "select told from foretell_queue($1, $2, $3, 2)",
            worker,
            json.dumps(forecasts if ends_s else []),
            limit,
        )
        return int(told)

    async def told(self, jobs: list[UUID]) -> list[float | None]:
        """Return in how many seconds each should end, as its row says."""
        moments = [(await self.database.row(job))["estimated_completion"] for job in jobs]
        return [moment and (moment - self.database.now).total_seconds() for moment in moments]


@pytest_asyncio.fixture(loop_scope="session")
async def queue(database: JobsDatabase) -> AsyncIterator[Queue]:
    """An empty queue of which nobody has foretold anything."""
    await database.owner.execute("truncate ourvidz.forecasts, ourvidz.foretold")
    yield Queue(database)


async def test_each_row_is_told_the_end_of_its_place(queue: Queue) -> None:
    """In the order in which they will be claimed; beyond the forecast, by what each one adds."""
    late = await queue.add("video_fast", "video_fast", "video_fast", "video_fast")
    [first] = await queue.add("video_fast", priority=50)
    touched = (await queue.database.row(first))["updated_at"]

    assert await queue.foretell(60, 120, 185, each_s=65) == 5
    assert await queue.told([first, *late]) == [60, 120, 185, 250, 315]
    assert (await queue.database.row(first))["updated_at"] > touched


async def test_beyond_the_forecast_nothing_is_made_up(queue: Queue) -> None:
    """Where nobody knows what each further job adds, and beyond four hours."""
    jobs = await queue.add("video_fast", "video_fast", "video_fast")
    assert await queue.foretell(60) == 1
    assert await queue.told(jobs) == [60, None, None]
    await queue.database.pass_time(30)

    assert await queue.foretell(30, each_s=14350) == 1
    assert await queue.told(jobs) == [30, 14380, None]


async def test_classes_have_queues_of_their_own(queue: Queue) -> None:
    """Job types of one class stand in one."""
    films = await queue.add("video_fast")
    texts = await queue.add("chat", "enhance")
    await queue.foretell(5, 6, job_types=CHAT, worker="other")
    await queue.database.pass_time(3)
    await queue.foretell(60)

    assert await queue.told([*films, *texts]) == [60, 2, 3]


async def test_only_news_is_written(queue: Queue) -> None:
    """What moved by more than ten seconds and a fifth of what is left."""
    near, far = await queue.add("video_fast", "video_fast")
    await queue.foretell(30, 600)
    for nearer, farther, told in ((39, 700, 0), (42, 700, 1), (42, 760, 1), (20, 760, 1)):
        await queue.database.owner.execute("truncate ourvidz.foretold")
        assert await queue.foretell(nearer, farther) == told, (nearer, farther)

    assert await queue.told([near, far]) == [20, 760]


async def test_what_is_written_is_bounded(queue: Queue) -> None:
    """At most so many at once, first those who know nothing, and not again within two seconds."""
    jobs = await queue.add(*["video_fast"] * 5)
    assert await queue.foretell(14000, each_s=10, limit=2) == 2
    assert await queue.told(jobs) == [14000, 14010, None, None, None]
    assert await queue.foretell(1, each_s=1, worker="other") == 0
    await queue.database.pass_time(3)

    # Both that were told are quite wrong by now, but the others know nothing.
    assert await queue.foretell(1, each_s=1, worker="other", limit=2) == 2
    known = [told is not None for told in await queue.told(jobs)]
    assert known == [True, True, True, True, False]


async def test_workers_end_the_queue_together(queue: Queue) -> None:
    """The nth job ends with the nth end of all of them, whoever tells it."""
    jobs = await queue.add(*["video_fast"] * 4)
    await queue.foretell(60, 120, limit=0)
    await queue.database.pass_time(5)
    await queue.foretell(30, 90, worker="other")

    assert await queue.told(jobs) == [30, 55, 90, 115]


async def test_a_worker_that_is_silent_is_left_out(queue: Queue) -> None:
    """And one that says that it ends nothing any more, at once."""
    jobs = await queue.add("video_fast", "video_fast")
    await queue.foretell(5, 10, worker="dead", limit=0)
    await queue.database.pass_time(21)
    await queue.foretell(7, 8, worker="drains", limit=0)
    await queue.foretell(worker="drains", limit=0)
    await queue.foretell(60, 120)

    assert await queue.told(jobs) == [60, 120]


async def test_who_is_not_to_be_claimed_yet_is_told_nothing(queue: Queue) -> None:
    """One that is being claimed, most likely; one that isn't due; one that is claimed."""
    [claimed] = await queue.add("video_fast")
    await claim(queue.database)
    [due] = await queue.add("video_fast")
    later = queue.database.now + timedelta(hours=1)
    [delayed] = await queue.add("video_fast", run_after=later)
    fresh = await queue.database.insert("video_fast")

    assert await queue.foretell(60, each_s=60) == 1
    assert await queue.told([claimed, due, delayed, fresh]) == [None, 60, None, None]


async def claim(database: JobsDatabase, job_type: str = "video_fast") -> Any:
    return await database.owner.fetchrow(
        "select * from claim_jobs('w', $1, $2, $3, 12)",
        uuid4(),
        uuid4(),
        json.dumps([{"job_types": [job_type], "count": 1}]),
    )


async def test_a_claim_keeps_what_the_row_was_told(queue: Queue) -> None:
    """Until the worker knows better; the claim says how much of it is left."""
    [job] = await queue.add("video_fast")
    await queue.foretell(60)
    await queue.database.pass_time(20)
    claimed = await claim(queue.database)
    assert (claimed["id"], claimed["foretold_s"]) == (job, 40)
    report = {"claim_id": str(claimed["claim_id"]), "percent": 0, "current_step": "waiting"}
    await report_progress(queue.database, report)
    assert await queue.told([job]) == [40]

    end = (queue.database.now + timedelta(seconds=90)).isoformat()
    await report_progress(queue.database, report | {"estimated_completion": end})
    assert await queue.told([job]) == [90]
    row = await queue.database.row(job)
    assert row["status"] == "processing"


async def report_progress(database: JobsDatabase, report: dict[str, Any]) -> None:
    await database.owner.execute("select report_progress($1)", json.dumps([report]))


async def test_a_row_that_nobody_foretold_says_nothing_at_its_claim(queue: Queue) -> None:
    """Neither does one that comes back to the queue."""
    [job] = await queue.add("video_fast")
    await queue.foretell(60)
    claimed = await claim(queue.database)
    released = {"claim_id": str(claimed["claim_id"]), "outcome": "released"}
    await queue.database.owner.execute("select finish_jobs($1)", json.dumps([released]))

    assert await queue.told([job]) == [None]
    assert (await claim(queue.database))["foretold_s"] is None


async def test_a_claim_never_passes_over_a_row_that_is_being_told(queue: Queue) -> None:
    """It waits for that moment; and while a claim goes on nobody is told."""
    [job] = await queue.add("video_fast")
    async with queue.database.session() as teller, queue.database.session() as claimer:
        forecast = json.dumps([{"job_types": VIDEO, "ends_s": [60], "each_s": None}])
        demand = json.dumps([{"job_types": VIDEO, "count": 1}])
        tells = "select told from foretell_queue('w', $1, 25, 2)"
        claims = "select id from claim_jobs('w', $1, $2, $3, 12)"
        async with teller.transaction():
            assert await teller.fetchval(tells, forecast) == 1
            claiming = asyncio.create_task(claimer.fetchval(claims, uuid4(), uuid4(), demand))
            await until_waiting(queue.database, claimer.get_server_pid())
            assert not claiming.done()
        assert await claiming == job

        [other] = await queue.add("video_fast")
        async with claimer.transaction():
            await claimer.fetchval(claims, uuid4(), uuid4(), json.dumps([]))
            assert await teller.fetchval(tells, forecast) == 0
        assert await queue.told([other]) == [None]


async def until_waiting(database: JobsDatabase, pid: int) -> None:
    """Return when that session waits for a lock."""
    waits = "select wait_event_type = 'Lock' from pg_stat_activity where pid = $1"
    async with asyncio.timeout(30):
        while not await database.owner.fetchval(waits, pid):
            await asyncio.sleep(0.01)


async def test_a_thousand_of_a_class_are_looked_at(queue: Queue) -> None:
    """Those beyond come later than anybody looks; and many users' rows stand in fair order."""
    await queue.database.owner.execute(
        "insert into jobs (job_type, user_id) "
        "select 'video_fast', case when n % 2 = 0 then $1::uuid else $2 end "
        "from generate_series(1, 1200) n",
        ALICE,
        BOB,
    )
    await queue.database.pass_time(60)

    assert await queue.foretell(1, each_s=1, limit=5000) == 1000
    order = await queue.database.owner.fetch(
        "select estimated_completion as at from jobs where estimated_completion is not null "
        "order by priority desc, fair_tag, created_at, id"
    )
    moments: list[datetime] = [row["at"] for row in order]
    assert moments == sorted(moments)

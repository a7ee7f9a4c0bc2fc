"""One reader of one job, from one worker to the next: no HTTP."""

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from typing import Any
from uuid import UUID, uuid4

import pytest
from feed_bench import FeedBench
from scripted_desk import ScriptedDesk, a_row

from daemon.feed import LINGER_S
from daemon.job_rows import JobRow
from daemon.jobs import Completed, Released
from daemon.server.desk import Desk
from daemon.server.errors import ApiError
from daemon.server.looks import Looks
from daemon.server.watching import Watching

WITHIN_S = 60.0


class Bench(FeedBench):
    """A feed, a table, and readers of both."""

    def __init__(self) -> None:
        super().__init__()
        self.table = ScriptedDesk()
        desk = Desk()
        desk.open(self.table, lambda _: None)
        self.looks = Looks(desk, interval_s=0.001)

    def watch(self, job_id: UUID, number: int = 0) -> Watching:
        return Watching(self.feed, self.looks, job_id, number)

    def has(self, **changes: Any) -> JobRow:
        row = a_row(**changes)
        self.table.has(row)
        return row


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    bench = Bench()
    yield bench
    await bench.looks.stop()


async def taken(watching: Watching) -> list[tuple[int, str]]:
    """Return numbers and kinds of what comes next."""
    async with asyncio.timeout(WITHIN_S):
        while True:
            if events := watching.take():
                return [(event.number, event.kind.value) for event in events]
            if watching.over:
                return []
            await watching.changed.wait()


async def until(there: Callable[[], object]) -> None:
    async with asyncio.timeout(WITHIN_S):
        while not there():
            await asyncio.sleep(0)


async def test_a_job_that_runs_here_costs_no_look(bench: Bench) -> None:
    """The database may be away: the feed knows more than the row."""
    run = bench.begin()
    with bench.watch(run.job.id) as watching:
        await watching.begin()
        assert await taken(watching) == [(1, "step")]
        bench.step(run, "Hi")
        assert await taken(watching) == [(2, "text"), (3, "step")]
        bench.end(run, Completed({}))
        assert await taken(watching) == [(4, "end")]

    assert watching.over
    assert bench.table.calls == []


async def test_a_queued_job_is_heard_as_soon_as_it_runs_here(bench: Bench) -> None:
    """The feed wakes its reader, who doesn't look at the row any more."""
    run = bench.run()
    bench.has(id=run.job.id)
    with bench.watch(run.job.id, number=3) as watching:
        await watching.begin()
        assert await taken(watching) == [(0, "step")]
        watching.changed.clear()
        bench.step(run, "Hi")
        assert watching.changed.is_set()
        assert await taken(watching) == [(1, "text"), (2, "step")]
        await until(lambda: bench.looks._looking is None)
        assert not bench.looks._looks


async def test_a_released_job_is_followed_wherever_it_goes(bench: Bench) -> None:
    """By its row while another worker has it; live again, and nothing twice, when it comes back."""
    run = bench.begin()
    row = bench.has(id=run.job.id)
    with bench.watch(run.job.id) as watching:
        assert await taken(watching) == [(1, "step")]
        bench.end(run, Released("stops"))
        assert await taken(watching) == [(2, "restarted")]
        assert await taken(watching) == [(0, "step")]
        bench.table.has(replace(row, status="processing", attempts=1, progress=50))
        assert await taken(watching) == [(0, "step")]
        bench.begin(id=run.job.id)
        assert await taken(watching) == [(3, "step")]
        await until(lambda: bench.looks._looking is None)
        bench.step(run, "stale")
        assert watching.take() == []


async def test_a_lost_job_is_followed_by_its_row(bench: Bench) -> None:
    """Its readers were let go before."""
    run = bench.begin()
    bench.has(id=run.job.id, status="completed", result={})
    with bench.watch(run.job.id) as watching:
        bench.end(run, None)
        # A reader who was late misses the step of a run that doesn't count any more.
        assert await taken(watching) == [(2, "restarted")]
        assert await taken(watching) == [(0, "end")]
        assert watching.over


async def test_a_job_that_is_forgotten_here_begins_with_new_numbers(bench: Bench) -> None:
    """Long after it went back it is claimed here again: all of the new run is told."""
    run = bench.begin()
    row = bench.has(id=run.job.id)
    with bench.watch(run.job.id) as watching:
        bench.end(run, Released("stops"))
        await taken(watching)
        assert await taken(watching) == [(0, "step")]
        bench.time += LINGER_S + 1
        bench.feed.forget_old()
        bench.table.has(replace(row, progress=1))
        assert await taken(watching) == [(0, "step")]
        again = bench.begin(id=run.job.id)
        bench.step(again, "Hi")
        assert await taken(watching) == [(2, "text"), (3, "step")]


async def test_who_has_had_the_end_is_told_nothing(bench: Bench) -> None:
    """His client comes back by itself; the stream ends at once."""
    run = bench.begin()
    bench.end(run, Completed({}))
    with bench.watch(run.job.id, number=2) as watching:
        await watching.begin()
        assert await taken(watching) == []

    assert watching.over
    assert bench.table.calls == []


async def test_an_unknown_job_is_404(bench: Bench) -> None:
    """As the row decides."""
    with bench.watch(uuid4()) as watching, pytest.raises(ApiError) as caught:
        await watching.begin()

    assert caught.value.status == 404


async def test_a_row_that_is_removed_ends_its_stream(bench: Bench) -> None:
    """Without an end: nobody knows how it would have ended."""
    row = bench.has()
    with bench.watch(row.id) as watching:
        await watching.begin()
        await taken(watching)
        bench.table.rows.clear()
        assert await taken(watching) == []
        assert watching.over


async def test_whoever_leaves_leaves_nothing_behind(bench: Bench) -> None:
    """Neither in the feed nor among those who look."""
    run = bench.begin()
    rows = [bench.has(), bench.has(id=run.job.id)]
    for job_id in (run.job.id, rows[0].id):
        with bench.watch(job_id) as one, bench.watch(job_id) as other:
            await one.begin()
            await other.begin()
            await taken(one)
            await taken(other)

    assert (bench.feed._awaited, bench.looks._looks) == ({}, {})
    assert bench.feed._journals[run.job.id].wakes == ()

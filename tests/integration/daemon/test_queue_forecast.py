"""Rows that nobody has claimed yet are told when they will be done, and seldom."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from uuid import UUID

import pytest
from daemon_process import Daemon
from eventually import eventually
from projects import Project

pytestmark = pytest.mark.asyncio(loop_scope="session")

StartDaemon = Callable[..., Daemon]

SLOW = {"OURVIDZ_MODELS__VIDEO__RUN_S__FAST": "600"}
"""Ends lie so far ahead that nothing of a slow machine is news."""

AUDIT = """
    create table told (id uuid, status text);
    create function note_told() returns trigger language plpgsql security definer as $$
    begin
        insert into public.told values (new.id, new.status);
        return null;
    end
    $$;
    create trigger zz_told after update on jobs for each row
    when (new.estimated_completion is distinct from old.estimated_completion
        and new.estimated_completion is not null)
    execute function note_told();
"""


@asynccontextmanager
async def audited(project: Project) -> AsyncIterator[Callable[[], "asyncio.Future[int]"]]:
    """Count what is written to queued rows of their ends."""
    await project.database.owner.execute(AUDIT)
    try:
        yield lambda: asyncio.ensure_future(
            project.database.owner.fetchval("select count(*) from told where status = 'queued'")
        )
    finally:
        await project.database.owner.execute("drop function note_told cascade; drop table told")


async def left_s(project: Project, job: UUID) -> float | None:
    """Return in how many seconds a row says that it will end."""
    end = (await project.database.row(job))["estimated_completion"]
    return None if end is None else float((end - datetime.now(UTC)).total_seconds())


async def calls(worker: Daemon) -> float:
    """Return how often a worker has passed its forecast on."""
    return (await worker.metrics()).get('ourvidz_store_call_seconds_count{call="foretell"}', 0.0)


async def test_queued_rows_are_told_their_ends_once(
    direct: Project, daemon: StartDaemon, tmp_path: Path
) -> None:
    """One behind the other; as long as nothing changes nothing is written again."""
    hold = tmp_path / "hold"
    async with daemon(direct, **SLOW) as worker, audited(direct) as written:
        running = await direct.insert("video_fast", hold=str(hold))
        await direct.until_running(running)
        queued = [await direct.insert("video_fast") for _ in range(4)]

        async def told() -> list[float] | None:
            ends = [await left_s(direct, job) for job in queued]
            return None if None in ends else [end for end in ends if end is not None]

        ends = await eventually(told, what="all are told an end")
        assert ends is not None
        steps = [later - sooner for sooner, later in pairwise(ends)]
        assert min(steps) > 500, ends
        # The first of them is held ahead, and told by its own worker.
        count = await written()
        assert count in {3, 4}
        told_rows = (await worker.get("/status"))[1]["forecast"]["told_rows"]
        before = await calls(worker)

        async def looked_again() -> bool:
            return await calls(worker) >= before + 2

        await eventually(looked_again)
        assert await written() == count
        assert told_rows == count
        hold.touch()
        await direct.until(running, "completed")


async def test_two_workers_tell_the_same(
    direct: Project, daemon: StartDaemon, tmp_path: Path
) -> None:
    """They end the queue together, and write no more than one would."""
    hold = tmp_path / "hold"
    settings = {**SLOW, "OURVIDZ_MODELS__CHAT__ENABLED": "false"}
    first, second = (daemon(direct, name, **settings) for name in ("one", "two"))
    async with first, second, audited(direct) as written:
        running = [await direct.insert("video_fast", hold=str(hold)) for _ in range(2)]
        for job in running:
            await direct.until_running(job)
        queued = [await direct.insert("video_fast") for _ in range(8)]

        async def both_tell() -> bool:
            count = await direct.database.owner.fetchval(
                "select count(*) from ourvidz.forecasts where classes <> '[]'"
            )
            ends = [await left_s(direct, job) for job in queued]
            return count == 2 and None not in ends and max(ends) < 3600  # type: ignore[type-var]

        await eventually(both_tell, what="each worker ends half of the queue")
        count = await written()
        assert count <= 2 * len(queued)
        hold.touch()
        for job in running:
            await direct.until(job, "completed")


async def test_it_can_be_switched_off(direct: Project, daemon: StartDaemon) -> None:
    """Where messages are dear; held jobs are told all the same."""

    async def told(worker: Daemon) -> int | None:
        rows: int | None = (await worker.get("/status"))[1]["forecast"]["told_rows"]
        return rows

    async with daemon(direct) as worker:
        assert await told(worker) == 0
    async with daemon(direct, OURVIDZ_LIVE__QUEUED_ENDS="false") as worker:
        assert await told(worker) is None

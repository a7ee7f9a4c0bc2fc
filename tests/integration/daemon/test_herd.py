"""Eight daemons hear of every job: each job is claimed once, and hints don't multiply queries."""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack

import pytest
from daemon_process import Daemon
from eventually import eventually
from projects import Project

pytestmark = pytest.mark.asyncio(loop_scope="session")

StartDaemon = Callable[..., Daemon]

DAEMONS = 8
JOBS = 1000
ALONE = 10
INLINE = {
    "OURVIDZ_MODELS__CHAT__OPTIONS__INLINE": "true",
    "OURVIDZ_WORKER_TYPE": "chat",
    "OURVIDZ_LOG__LEVEL": "info",
}
INSERT = """insert into jobs (job_type, metadata) values ('chat', '{"prompt": "a"}')"""


async def queries(daemons: Sequence[Daemon]) -> dict[str, int]:
    """Return what all daemons together have asked of the queue so far."""
    counters = [(await daemon.get("/status"))[1]["counters"] for daemon in daemons]
    return {name: int(sum(each[name] for each in counters)) for name in ("claims", "sweeps")}


async def none_left(project: Project) -> bool:
    left: int = await project.database.owner.fetchval(
        "select count(*) from jobs where status <> 'completed'"
    )
    return left == 0


async def test_a_burst_is_claimed_once_each(
    direct: Project, daemon: StartDaemon, record_property: Callable[[str, object], None]
) -> None:
    """1,000 rows, each committed by itself, and fewer queries than rows times daemons by far."""
    async with AsyncExitStack() as running:
        made = [daemon(direct, f"worker-{number}", **INLINE) for number in range(DAEMONS)]
        daemons = await asyncio.gather(*(running.enter_async_context(each) for each in made))
        before = await queries(daemons)
        for _ in range(JOBS):
            await direct.database.owner.execute(INSERT)
        await eventually(lambda: none_left(direct), 200)

        runs = await direct.database.owner.fetch("select job_id, outcome from job_runs")
        assert len(runs) == len({run["job_id"] for run in runs}) == JOBS
        assert {run["outcome"] for run in runs} == {"completed"}
        asked = {name: count - before[name] for name, count in (await queries(daemons)).items()}
        per_job = asked["claims"] / JOBS
        record_property("claims_per_job", per_job)
        # Without restraint it is about the number of daemons.
        assert per_job < DAEMONS / 2, asked


async def test_sources_dont_multiply_the_queries_of_a_row_that_comes_alone(
    project: Project, daemon: StartDaemon, record_property: Callable[[str, object], None]
) -> None:
    """Each worker looks once for the fastest source, and at most once for all the others."""
    async with AsyncExitStack() as running:
        made = [daemon(project, f"worker-{number}", **INLINE) for number in range(DAEMONS)]
        daemons = await asyncio.gather(*(running.enter_async_context(each) for each in made))

        async def all_proven() -> bool:
            states = [(await each.get("/status"))[1]["wakeups"] for each in daemons]
            return all(source["proven"] for state in states for source in state.values())

        await eventually(all_proven, 120)
        # The looks after each subscription are over.
        await asyncio.sleep(3.5)
        before = await queries(daemons)
        for _ in range(ALONE):
            await project.database.owner.execute(INSERT)
            await asyncio.sleep(1.0)
        asked = await queries(daemons)

        per_job = (asked["claims"] - before["claims"]) / ALONE
        record_property("claims_per_job", per_job)
        # Sweeps and the winner's look when it is free again are looks as well.
        sources = 1 if project.stack is None else 2
        assert per_job < DAEMONS * (sources + 1)
        await eventually(lambda: none_left(project))


async def test_a_hint_without_room_asks_nothing(direct: Project, daemon: StartDaemon) -> None:
    """A worker that can take no more looks again when it can, however many hints come."""
    async with daemon(direct, "busy", **INLINE, OURVIDZ_MAX_HELD="1") as busy:
        held = await direct.insert("chat", steps=2000, step_s=0.05)
        await direct.until_running(held)
        before = await queries([busy])
        for _ in range(200):
            await direct.database.owner.execute(INSERT)

        async def heard() -> bool:
            wakeups = (await busy.get("/status"))[1]["wakeups"]
            return int(wakeups["listen"]["hints"]) >= 200

        await eventually(heard)
        assert (await queries([busy]))["claims"] == before["claims"]
        await direct.database.owner.execute(
            "update jobs set status = 'cancelled' where id = $1", held
        )
        await eventually(
            lambda: direct.database.owner.fetchval(
                "select count(*) = 200 from jobs where status = 'completed'"
            ),
            60,
        )

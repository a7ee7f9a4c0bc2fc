"""Locks are taken in one order: whoever meets waits, and nobody waits in a circle."""

import asyncio
import json
import random
from typing import Any
from uuid import UUID, uuid4

import pytest
from jobs_database import JobsDatabase

pytestmark = pytest.mark.asyncio(loop_scope="session")

Connection = Any
CLAIM = "select id, claim_id from claim_jobs('w', $1, $2, $3, 12)"


async def claimed(connection: Connection, count: int) -> list[UUID]:
    """Claim and return the claims, ordered by their jobs' ids: the order of locks."""
    demands = json.dumps([{"job_types": ["chat"], "count": count}])
    rows = await connection.fetch(CLAIM, uuid4(), uuid4(), demands)
    return [row["claim_id"] for row in sorted(rows, key=lambda row: row["id"])]


def batch(*claims: UUID, outcome: str = "completed") -> str:
    return json.dumps([{"claim_id": str(claim), "outcome": outcome} for claim in claims])


def reports(*claims: UUID) -> str:
    percent = random.randint(0, 100)
    return json.dumps([{"claim_id": str(claim), "percent": percent} for claim in claims])


CALLS = {
    "finish": ("select * from finish_jobs($1)", batch),
    "progress": ("select * from report_progress($1)", reports),
    "renew": ("select * from renew_leases($1, 12)", lambda *claims: list(claims)),
}


async def waiting_for_a_lock(database: JobsDatabase, pid: int) -> None:
    """Return when a session waits for another."""
    while not await database.owner.fetchval("select cardinality(pg_blocking_pids($1)) > 0", pid):
        await asyncio.sleep(0)


@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize("second", CALLS)
@pytest.mark.parametrize("first", CALLS)
async def test_two_batches_in_opposite_orders_don_t_deadlock(
    database: JobsDatabase, first: str, second: str, turned: bool
) -> None:
    """One holds the lower row; the other, asking from above, holds nothing that it needs."""
    for _ in range(2):
        await database.insert()
    low, high = await claimed(database.owner, 2)
    (query_a, argument_a), (query_b, argument_b) = CALLS[first], CALLS[second]
    async with database.session() as a, database.session() as b:
        async with a.transaction():
            await a.fetch(query_a, argument_a(low))
            pair = (low, high) if turned else (high, low)
            other = asyncio.ensure_future(b.fetch(query_b, argument_b(*pair)))
            if {first, second} != {"progress", "renew"}:
                await waiting_for_a_lock(database, b.get_server_pid())
            await a.fetch(query_a, argument_a(high))
        assert len(await other) == 2


async def test_busy_workers_sweeps_and_owners_never_deadlock(database: JobsDatabase) -> None:
    """Four hundred random acts on twenty jobs, by eight sessions at once: each ends well."""
    ids = [await database.insert(max_attempts=10) for _ in range(20)]
    claims: list[UUID] = []
    dice = random.Random(7)

    async def act(connection: Connection) -> None:
        some = tuple(dice.sample(claims, min(len(claims), 5)))
        job_id = dice.choice(ids)
        match dice.randrange(7):
            case 0:
                claims.extend(await claimed(connection, 5))
            case 1:
                outcome = dice.choice(["completed", "released", "retry", "cancelled"])
                await connection.execute(*[CALLS["finish"][0], batch(*some, outcome=outcome)])
            case 2:
                await connection.execute(CALLS["progress"][0], reports(*some))
            case 3:
                await connection.execute(CALLS["renew"][0], list(some))
            case 4:
                await connection.execute("select sweep_jobs('w', $1, true)", uuid4())
            case 5:
                await connection.execute("select cancel_job($1)", job_id)
            case _:
                await connection.execute("update jobs set status = 'queued' where id = $1", job_id)

    async def busy() -> None:
        async with database.session() as connection:
            await connection.execute("set deadlock_timeout = '10ms'")
            for _ in range(50):
                await act(connection)

    await asyncio.gather(*(busy() for _ in range(8)))

    open_runs = await database.owner.fetchval(
        "select max(n) from (select count(*) as n from job_runs "
        "where ended_at is null group by job_id) runs"
    )
    assert open_runs in {None, 1}


async def test_claim_passes_by_what_others_are_claiming(database: JobsDatabase) -> None:
    """Rows locked by a slow claimer delay nobody, however many of the best they are."""
    for _ in range(60):
        await database.insert()
    async with database.session() as slow, database.session() as quick, slow.transaction():
        held = await claimed(slow, 50)
        await quick.execute("set lock_timeout = '1s'")
        taken = await claimed(quick, 5)

    assert len(held) == 50
    assert len(taken) == 5
    assert not set(held) & set(taken)


async def test_sweep_passes_by_what_is_being_finished(database: JobsDatabase) -> None:
    """A late finish that is on its way wins; the sweep neither waits nor takes the job."""
    await database.insert()
    [claim] = await claimed(database.owner, 1)
    await database.pass_time(60)
    async with database.session() as worker, database.session() as sweeper, worker.transaction():
        answer = await worker.fetchrow(CALLS["finish"][0], batch(claim))
        await sweeper.execute("set lock_timeout = '1s'")
        swept = await sweeper.fetchrow("select * from sweep_jobs('x', $1, false)", uuid4())

    assert (answer["state"], swept["rescued"]) == ("recorded", 0)

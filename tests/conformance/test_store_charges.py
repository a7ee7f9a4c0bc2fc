"""Charges: who has taken more than his jobs cost comes later, on every store."""

from uuid import UUID

import pytest
from jobs_database import ALICE, BOB, JobsDatabase
from worker_calls import claim

from daemon.ports import JobStore

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def tag_of(database: JobsDatabase, user: UUID | None, job_type: str = "chat") -> float:
    """Insert a job and return its place in the fair order, seconds."""
    job = await database.insert(job_type, user_id=user)
    return float((await database.row(job))["fair_tag"])


async def charges(database: JobsDatabase) -> int:
    """Return how many charges wait to be taken."""
    found: int = await database.owner.fetchval("select count(*) from ourvidz.charges")
    return found


async def test_a_charge_puts_the_next_job_behind_once(
    store: JobStore, database: JobsDatabase
) -> None:
    """Charges add up, are taken by one insert, and don't touch who wasn't charged."""
    await store.charge({ALICE: 8.0, BOB: 1.5})
    await store.charge({ALICE: 4.5})

    assert await tag_of(database, None) == 0
    assert await tag_of(database, ALICE) == 12.5
    # A chat costs ten seconds, and follows its user's last one.
    assert await tag_of(database, ALICE) == 22.5
    assert await tag_of(database, BOB) == 1.5
    assert await charges(database) == 0


async def test_others_are_claimed_before_who_was_charged(
    store: JobStore, database: JobsDatabase
) -> None:
    """As long as they have asked for less than the charge, in a queue that is there already."""
    await store.charge({ALICE: 25.0})
    for user in (None, ALICE, BOB, BOB, BOB, BOB):
        await database.insert("chat", user_id=user)
        await database.pass_time(1)

    claimed = [job.user_id for job in await claim(store, "chat", count=6)]

    assert claimed == [None, BOB, BOB, BOB, ALICE, BOB]


async def test_a_charge_ends_with_time(store: JobStore, database: JobsDatabase) -> None:
    """Who comes back a quarter of an hour later begins like anybody; old ones don't pile up."""
    await store.charge({ALICE: 100.0, BOB: 100.0})
    await database.pass_time(15 * 60)

    assert await tag_of(database, ALICE) == 0
    await store.charge({ALICE: 7.0})
    assert await charges(database) == 1


@pytest.mark.parametrize("seconds", [0.0, -5.0])
async def test_nobody_is_charged_less_than_nothing(
    store: JobStore, database: JobsDatabase, seconds: float
) -> None:
    """A clock that went back buys no place ahead."""
    await store.charge({ALICE: seconds})

    assert await charges(database) == 0


async def test_a_charge_is_an_hour_at_most(store: JobStore, database: JobsDatabase) -> None:
    """Whatever a worker believes."""
    await store.charge({ALICE: 1e12})

    assert await tag_of(database, ALICE) == 3600


async def test_an_open_insert_holds_nobody_up(store: JobStore, database: JobsDatabase) -> None:
    """Neither a second insert nor a charge waits for one; what it rolls back is owed again."""
    await store.charge({ALICE: 8.0})
    async with database.session() as other:
        await other.execute("begin")
        await other.execute("insert into jobs (job_type, user_id) values ('chat', $1)", ALICE)

        await database.owner.execute("set lock_timeout = '5s'")
        assert await tag_of(database, ALICE) == 0
        await store.charge({ALICE: 3.0})
        await other.execute("rollback")

    assert await tag_of(database, ALICE) == 10 + 8 + 3

"""Who may hear and send on the topics of jobs: asked as Realtime asks."""

from uuid import UUID, uuid4

import asyncpg
import pytest
from jobs_database import ALICE, BOB, CreateDatabase, JobsDatabase, opened

from daemon.migrate import migrate

pytestmark = pytest.mark.asyncio(loop_scope="session")

WRITE = "insert into realtime.messages (topic, extension) values ($1, $2)"


async def may_read(
    database: JobsDatabase, topic: str, role: str, user: UUID | None = None, kind: str = "broadcast"
) -> bool:
    """Say whether a row of the topic shows to somebody, and leave nothing behind."""
    async with database.session() as connection:
        question = connection.transaction()
        await question.start()
        await connection.execute(WRITE, topic, kind)
        await become(connection, topic, role, user)
        found = await connection.fetchval("select count(*) from realtime.messages")
        await question.rollback()
    return bool(found)


async def may_send(
    database: JobsDatabase, topic: str, role: str, user: UUID | None = None, kind: str = "broadcast"
) -> bool:
    """Say whether somebody may write a row of the topic and read it back."""
    async with database.session() as connection:
        question = connection.transaction()
        await question.start()
        try:
            await become(connection, topic, role, user)
            await connection.fetchval(f"{WRITE} returning id", topic, kind)
        except asyncpg.InsufficientPrivilegeError:
            return False
        finally:
            await question.rollback()
    return True


async def become(
    connection: "asyncpg.Connection[asyncpg.Record]", topic: str, role: str, user: UUID | None
) -> None:
    claims = f'{{"sub": "{user}", "role": "{role}"}}' if user else "{}"
    await connection.execute(
        "select set_config('realtime.topic', $1, true), set_config('role', $2, true), "
        "set_config('request.jwt.claims', $3, true)",
        topic,
        role,
        claims,
    )


async def test_an_owner_hears_his_jobs_and_no_others(database: JobsDatabase) -> None:
    """Nor does anybody without a token, or of another extension."""
    job = await database.insert(user_id=ALICE)
    nobodys = await database.insert(user_id=None)

    assert await may_read(database, f"job:{job}", "authenticated", ALICE)
    assert not await may_read(database, f"job:{job}", "authenticated", ALICE, "presence")
    assert not await may_read(database, f"job:{job}", "authenticated", BOB)
    assert not await may_read(database, f"job:{job}", "authenticated")
    assert not await may_read(database, f"job:{nobodys}", "authenticated", ALICE)
    assert not await may_read(database, f"job:{uuid4()}", "authenticated", ALICE)
    assert not await may_read(database, f"job:{job}", "anon")


async def test_who_may_read_a_row_need_not_be_its_owner(database: JobsDatabase) -> None:
    """An existing table may show rows to more people: a running job is its owner's alone."""
    job = await database.insert(user_id=ALICE)
    await database.owner.execute(
        "create policy wide on public.jobs for select to authenticated using (true)"
    )
    try:
        assert await may_read(database, f"job:{job}", "authenticated", ALICE)
        assert not await may_read(database, f"job:{job}", "authenticated", BOB)
    finally:
        await database.owner.execute("drop policy wide on public.jobs")


@pytest.mark.parametrize("topic", ["job:", "job:x", "jobs", "room:{}", "job:{}x", "xjob:{}", "{}"])
async def test_other_topics_are_not_touched(database: JobsDatabase, topic: str) -> None:
    """They are neither opened nor do they fail for their name."""
    job = await database.insert(user_id=ALICE)

    assert not await may_read(database, topic.format(job), "authenticated", ALICE)


async def test_the_worker_alone_sends(database: JobsDatabase) -> None:
    """Not even the owner may speak on his job's topic; the worker on no other."""
    topic = f"job:{await database.insert(user_id=ALICE)}"

    assert await may_send(database, topic, "ourvidz_worker")
    assert not await may_send(database, topic, "ourvidz_worker", kind="presence")
    assert not await may_send(database, "ourvidz:jobs", "ourvidz_worker")
    assert not await may_send(database, "room", "ourvidz_worker")
    assert not await may_send(database, topic, "authenticated", ALICE)
    assert not await may_send(database, topic, "anon")


async def test_without_realtime_there_is_nothing_to_do(create_database: CreateDatabase) -> None:
    """A database of its own is migrated all the same."""
    dsn = await create_database()

    await migrate(dsn, report=lambda _: None)

    async with opened(dsn) as database:
        assert await database.owner.fetchval("select to_regnamespace('realtime') is null")

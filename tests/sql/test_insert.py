"""What an insert may say, by whom, and what becomes of the rest."""

import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import asyncpg
import pytest
import pytest_asyncio
from jobs_database import ALICE, BOB, NOON, JobsDatabase

pytestmark = pytest.mark.asyncio(loop_scope="session")

Connection = Any
LONG_AGO = datetime(2001, 1, 1, tzinfo=UTC)


@pytest_asyncio.fixture(loop_scope="session")
async def browser(database: JobsDatabase) -> AsyncIterator[Connection]:
    """Alice's browser."""
    async with database.session("authenticated", ALICE) as connection:
        yield connection


async def test_browser_cannot_write_what_the_server_owns(
    browser: Connection, database: JobsDatabase
) -> None:
    """Every such column gets its default, whatever the browser sent."""
    job_id = await browser.fetchval(
        "insert into jobs (user_id, job_type, metadata, progress, current_step, result, error, "
        "error_code, attempts, max_attempts, created_at, started_at, completed_at, "
        "cancel_requested_at, estimated_completion, timings, fair_tag, priority, run_after) "
        "values ($1, 'chat', '{}', 99, 'done', '{}', 'e', 'c', -50, 1000, $2, $2, $2, $2, $2, "
        "'{}', -1000, 99, $2) returning id",
        ALICE, LONG_AGO,
    )  # fmt: skip

    row = dict(await database.row(job_id))
    expected = {
        "status": "queued", "progress": 0, "current_step": None, "result": None, "error": None,
        "error_code": None, "attempts": 0, "max_attempts": 10, "created_at": NOON,
        "started_at": None, "completed_at": None, "cancel_requested_at": None,
        "estimated_completion": None, "timings": None, "fair_tag": 0.0, "priority": 0,
        "run_after": NOON, "updated_at": NOON,
    }  # fmt: skip
    assert {name: row[name] for name in expected} == expected


@pytest.mark.parametrize("status", ["processing", "completed", "failed", "cancelled"])
async def test_browser_may_insert_only_queued_jobs(browser: Connection, status: str) -> None:
    """The refusal says what is expected."""
    with pytest.raises(asyncpg.InsufficientPrivilegeError, match="inserted with status"):
        await browser.execute(
            "insert into jobs (user_id, job_type, status) values ($1, 'chat', $2)", ALICE, status
        )


async def test_browser_may_insert_only_for_itself(browser: Connection) -> None:
    """Neither for somebody else, nor through enqueue_job; without a user it is its own."""
    with pytest.raises(asyncpg.InsufficientPrivilegeError, match="row-level security"):
        await browser.execute("insert into jobs (user_id, job_type) values ($1, 'chat')", BOB)
    with pytest.raises(asyncpg.InsufficientPrivilegeError, match="only be added for oneself"):
        await browser.execute("select enqueue_job('chat', '{}', 0, $1)", BOB)

    assert await browser.fetchval(
        "insert into jobs (job_type) values ('chat') returning user_id"
    ) == ALICE  # fmt: skip
    assert await browser.fetchval("select (enqueue_job('chat', '{}')).user_id") == ALICE


async def test_priority_of_browsers_never_passes_others(
    browser: Connection, database: JobsDatabase
) -> None:
    """A browser may make way; only the backend may push ahead, within bounds."""
    priorities = [
        await browser.fetchval("select (enqueue_job('chat', '{}', $1)).priority", wanted)
        for wanted in (50, -20, -900)
    ]
    pushed = await database.row(await database.insert(priority=900))

    assert priorities == [0, -20, -100]
    assert pushed["priority"] == 100


async def test_nobody_inserts_without_signing_in(database: JobsDatabase) -> None:
    """The anonymous role has no right to the table."""
    async with database.session("anon") as anonymous:
        with pytest.raises(asyncpg.InsufficientPrivilegeError, match="permission denied"):
            await anonymous.execute("insert into jobs (job_type) values ('chat')")
        with pytest.raises(asyncpg.InsufficientPrivilegeError, match="permission denied"):
            await anonymous.execute("select enqueue_job('chat', '{}')")


@pytest.mark.parametrize("role", ["authenticated", None])
async def test_unknown_job_type_is_stored_as_failed(
    database: JobsDatabase, role: str | None
) -> None:
    """The frontend watches the row: that is where it finds the error."""
    async with database.session(role, ALICE) as connection:
        job_id = await connection.fetchval(
            "insert into jobs (user_id, job_type) values ($1, 'paint') returning id", ALICE
        )

    row = await database.row(job_id)
    assert (row["status"], row["error"], row["error_code"], row["completed_at"]) == (
        "failed", 'unknown job type "paint"', "INVALID_PROMPT", NOON
    )  # fmt: skip


async def test_five_megabytes_of_metadata_are_refused(
    browser: Connection, database: JobsDatabase
) -> None:
    """The message names the size and the limit; half a megabyte passes."""
    with pytest.raises(asyncpg.InvalidParameterValueError, match=r"5000014 bytes.*524288 bytes"):
        await database.insert(metadata={"prompt": "x" * 5_000_000})
    with pytest.raises(asyncpg.InvalidParameterValueError, match="the limit is 524288"):
        await browser.execute(
            "insert into jobs (job_type, metadata) values ('chat', $1)",
            json.dumps({"prompt": "x" * 600_000}),
        )

    await database.insert(metadata={"prompt": "x" * 500_000})


@pytest.mark.parametrize(
    ("given", "stored"), [(None, 3), (-5, 1), (0, 1), (7, 7), (2_000_000_000, 10)]
)
async def test_attempts_are_bounded(database: JobsDatabase, given: Any, stored: int) -> None:
    """One to ten; nothing said is three."""
    job_id = await database.insert(max_attempts=given)
    assert (await database.row(job_id))["max_attempts"] == stored


async def test_job_is_delayed_at_most_a_week(database: JobsDatabase) -> None:
    """Further ahead is refused rather than run early; the past is now."""
    await database.insert(run_after=NOON + timedelta(days=7))
    with pytest.raises(asyncpg.InvalidParameterValueError, match="7 days"):
        await database.insert(run_after=NOON + timedelta(days=7, seconds=1))
    with pytest.raises(asyncpg.InvalidParameterValueError, match="7 days"):
        await database.owner.execute(
            "insert into jobs (job_type, run_after) values ('chat', 'infinity')"
        )

    past = await database.insert(run_after=LONG_AGO)
    assert (await database.row(past))["run_after"] == NOON


async def test_nothing_said_becomes_the_default(database: JobsDatabase) -> None:
    """Explicit nulls too, as some clients send for each column they know."""
    job_id = await database.insert(
        metadata=None, status=None, priority=None, run_after=None, created_at=None
    )

    row = await database.row(job_id)
    assert (row["metadata"], row["status"], row["priority"], row["run_after"]) == (
        "{}", "queued", 0, NOON
    )  # fmt: skip


async def test_client_cannot_move_the_clock(browser: Connection, database: JobsDatabase) -> None:
    """What a session sets for itself is ignored."""
    await browser.execute("set ourvidz.now = '2030-01-01'")
    await database.owner.execute("set ourvidz.now = '2030-01-01'")

    assert await browser.fetchval("select ourvidz_now()") == NOON
    assert await database.owner.fetchval("select ourvidz_now()") == NOON
    await database.owner.execute("reset ourvidz.now")


async def test_signed_in_user_enqueues_with_a_delay(
    browser: Connection, database: JobsDatabase
) -> None:
    """The function returns the row as it was stored."""
    row = await browser.fetchrow(
        "select * from enqueue_job('chat', '{\"prompt\": \"x\"}', p_run_after => $1)",
        NOON + timedelta(minutes=5),
    )

    assert (row["status"], row["user_id"], row["run_after"]) == (
        "queued", ALICE, NOON + timedelta(minutes=5)
    )  # fmt: skip
    assert (await database.row(UUID(str(row["id"]))))["metadata"] == '{"prompt": "x"}'

"""An operator's desk, alike over a direct connection and over REST."""

from collections.abc import AsyncIterator
from datetime import timedelta
from uuid import uuid4

import pytest
import pytest_asyncio
from jobs_database import ALICE, NOON, JobsDatabase

from daemon.credentials import Credentials
from daemon.store.operators import (
    Operators,
    PostgresOperators,
    Retried,
    SupabaseOperators,
    Wanted,
)
from daemon.values import StoreRejectedError
from devstack.stack import Stack

pytestmark = pytest.mark.asyncio(loop_scope="session")


@pytest_asyncio.fixture(params=["postgres", "supabase"], loop_scope="session")
async def operators(
    request: pytest.FixtureRequest, stack: Stack, worker_login: str
) -> AsyncIterator[Operators]:
    """Each implementation in turn, with the worker's rights alone."""
    desk: Operators
    if request.param == "postgres":
        desk = PostgresOperators(worker_login, timeout_s=10)
    else:
        desk = SupabaseOperators(
            stack.url, Credentials(stack.anon_key, stack.worker_token), timeout_s=10
        )
    yield desk
    await desk.aclose()


async def test_a_job_is_added_as_it_was_asked_for(
    operators: Operators, database: JobsDatabase
) -> None:
    """With its priority and its user; what the database can't hold is made fit."""
    job_id = await operators.add("chat", {"prompt": "a\0b \u2600"}, ALICE, 7)

    row = await database.row(job_id)
    assert (row["job_type"], row["user_id"], row["priority"]) == ("chat", ALICE, 7)
    assert row["metadata"] == '{"prompt": "a\ufffdb \u2600"}'


async def test_jobs_are_found(operators: Operators, database: JobsDatabase) -> None:
    """By all that can be asked, with results as JSON."""
    done = await database.insert(
        user_id=ALICE, status="completed", result='{"response": "yes"}', progress=100, priority=3
    )
    await database.insert("sdxl_image_fast", created_at=NOON - timedelta(hours=2))

    [job] = await operators.find(
        Wanted(("completed",), ("chat",), ALICE, NOON - timedelta(hours=1), (done,), 5)
    )

    assert (job.row.id, job.user_id, job.priority) == (done, ALICE, 3)
    assert (job.row.result, job.row.created_at) == ({"response": "yes"}, NOON)
    assert len(await operators.find(Wanted())) == 2


async def test_cancel_and_retry(operators: Operators, database: JobsDatabase) -> None:
    """Each says what the job is now; None: there is none."""
    job_id = await database.insert()

    assert await operators.retry(job_id) == Retried("queued", retried=False)
    assert await operators.cancel(job_id) == "cancelled"
    assert await operators.retry(job_id) == Retried("queued", retried=True)
    assert await operators.retry(uuid4()) is None
    assert await operators.cancel(uuid4()) is None


async def test_other_keys_are_refused(stack: Stack, database: JobsDatabase) -> None:
    """With the code by which the command line knows it."""
    desk = SupabaseOperators(stack.url, Credentials(stack.anon_key), timeout_s=10)
    with pytest.raises(StoreRejectedError, match=r"permission denied .*\(42501\)"):
        await desk.find(Wanted())
    await desk.aclose()

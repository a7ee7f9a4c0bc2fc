"""What the stores say when the database is away, refuses, or isn't ours."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from uuid import UUID, uuid4

import asyncpg
import httpx
import pytest
from aiohttp import web
from jobs_database import JobsDatabase, worker_dsn

from daemon.credentials import Credentials
from daemon.jobs import Completed, Finish, Recorded
from daemon.migrate import SCHEMA_VERSION, migrate
from daemon.ports import JobStore
from daemon.store.postgres import PostgresStore
from daemon.store.supabase import SupabaseStore
from daemon.values import (
    Demand,
    SchemaMismatchError,
    StoreRejectedError,
    StoreUnavailableError,
    WorkerIdentity,
)
from devstack.postgres import Postgres, free_port
from devstack.stack import Stack
from devstack.tokens import mint

pytestmark = pytest.mark.asyncio(loop_scope="session")

WORKER = WorkerIdentity("host:7861", UUID(int=1))
SECRET = "secret-of-worker"


async def test_refusal_of_somebodys_trigger_is_told_from_an_outage(
    store: JobStore, database: JobsDatabase
) -> None:
    """A trigger that rejects refuses the batch as a whole; without it the same call succeeds."""
    for _ in range(2):
        await database.insert()
    jobs = await store.claim(WORKER, uuid4(), [Demand(("chat",), 2)], 12)
    finishes = [Finish(job.claim_id, Completed({})) for job in jobs]
    await database.owner.execute(
        "create function refuse() returns trigger language plpgsql as "
        "$$ begin raise exception 'not on Sundays' using errcode = 'P0001'; end $$;"
        "create trigger refuse before update on jobs for each row "
        f"when (old.id = '{jobs[0].id}') execute function refuse()"
    )
    try:
        with pytest.raises(StoreRejectedError, match="not on Sundays"):
            await store.finish(finishes)
        assert {"processing"} == {(await database.row(job.id))["status"] for job in jobs}
    finally:
        await database.owner.execute("drop function refuse cascade")

    assert {job.claim_id: Recorded.RECORDED for job in jobs} == await store.finish(finishes)


async def test_other_schema_is_named(store: JobStore, database: JobsDatabase) -> None:
    """A database that is newer or not migrated is refused with what to do."""
    await database.owner.execute(
        "insert into ourvidz_migrations values ($1, 'later', '', now())", SCHEMA_VERSION + 1
    )
    try:
        with pytest.raises(SchemaMismatchError, match="install the newer"):
            await store.check_schema()
    finally:
        await database.owner.execute(
            "delete from ourvidz_migrations where version > $1", SCHEMA_VERSION
        )
    await database.owner.execute("alter function queue_summary rename to queue_summary_away")
    try:
        with pytest.raises(SchemaMismatchError, match="ourvidz-worker migrate"):
            await store.queue_summary()
    finally:
        await database.owner.execute("alter function queue_summary_away rename to queue_summary")


async def test_closed_store_is_unavailable(store: JobStore) -> None:
    """After closing every call says so at once."""
    await store.check_schema()
    await store.aclose()

    with pytest.raises(StoreUnavailableError, match="closed"):
        await store.check_schema()


async def test_store_recovers_when_its_connections_are_cut(
    store: JobStore, database: JobsDatabase
) -> None:
    """Killed connections cost at most one call each, and then all is well again."""
    await store.check_schema()
    await database.owner.execute(
        "select pg_terminate_backend(pid) from pg_stat_activity "
        "where usename <> 'postgres' and backend_type = 'client backend'"
    )
    answered = False
    for _ in range(20):
        try:
            await store.check_schema()
            answered = True
            break
        except StoreUnavailableError:
            continue

    assert answered


async def test_postgres_that_restarts_is_found_again(tmp_path: Path) -> None:
    """While the server is away calls say so, without the password; then they work again."""
    port = free_port()
    async with Postgres(tmp_path, port=port) as server:
        await migrate(server.dsn, report=lambda _: None)
        store = PostgresStore(await worker_dsn(server.dsn), pool_size=2, statement_timeout_s=5)
        await store.check_schema()
    with pytest.raises(StoreUnavailableError) as caught:
        await store.check_schema()
    assert SECRET not in str(caught.value)

    async with Postgres(tmp_path, port=port):
        await store.check_schema()
        await store.aclose()


@pytest.mark.parametrize(
    "dsn",
    [
        f"postgres://worker:{SECRET}@127.0.0.1:1/x",
        f"postgres://worker:p/{SECRET}@127.0.0.1/x",
        f"mysql://worker:{SECRET}@127.0.0.1/x",
        f"{SECRET}",
    ],
)
async def test_no_error_shows_the_connection_string(dsn: str) -> None:
    """Not in the text, and not in what the text was made from."""
    store = PostgresStore(dsn, pool_size=1, statement_timeout_s=2)

    with pytest.raises((StoreUnavailableError, StoreRejectedError)) as caught:
        await store.check_schema()

    assert SECRET not in str(caught.value)
    assert SECRET not in str(caught.value.__cause__)


async def test_password_that_is_wrong_is_a_refusal(stack: Stack, worker_login: str) -> None:
    """Waiting doesn't mend it."""
    store = PostgresStore(worker_login.replace(SECRET, "wrong"), pool_size=1, statement_timeout_s=5)

    with pytest.raises(StoreRejectedError, match="password authentication failed"):
        await store.check_schema()
    await store.aclose()


async def test_statement_that_hangs_is_given_up(database: JobsDatabase, worker_login: str) -> None:
    """A lock that somebody keeps costs the time-out and no more; the call may be repeated."""
    store = PostgresStore(worker_login, pool_size=1, statement_timeout_s=2)
    await store.check_schema()
    await database.insert()
    async with database.session() as other, other.transaction():
        await other.execute("lock table jobs in access exclusive mode")
        with pytest.raises(StoreUnavailableError, match="57014"):
            await store.claim(WORKER, uuid4(), [Demand(("chat",), 1)], 12)

    assert len(await store.claim(WORKER, uuid4(), [Demand(("chat",), 1)], 12)) == 1
    await store.aclose()


async def test_role_without_the_workers_rights_is_refused(stack: Stack) -> None:
    """A browser's key can't claim."""
    store = SupabaseStore(stack.url, Credentials(stack.anon_key), timeout_s=5)

    with pytest.raises(StoreRejectedError, match="42501"):
        await store.claim(WORKER, uuid4(), [Demand(("chat",), 1)], 12)
    await store.aclose()


async def test_service_key_works_too(stack: Stack, database: JobsDatabase) -> None:
    """The worker's own role is the documented choice, not the only one."""
    job_id = await database.insert()
    store = SupabaseStore(stack.url, Credentials(stack.service_role_key), timeout_s=5)

    [job] = await store.claim(WORKER, uuid4(), [Demand(("chat",), 1)], 12)

    assert job_id == job.id
    await store.aclose()


async def test_expired_token_is_said(stack: Stack) -> None:
    """The operator has to make another one: no bare 401."""
    token = mint(stack.jwt_secret, "ourvidz_worker", expires_in=-3600)
    store = SupabaseStore(stack.url, Credentials(stack.anon_key, token), timeout_s=5)

    with pytest.raises(StoreRejectedError, match="the worker's token has expired"):
        await store.check_schema()
    await store.aclose()


async def test_token_is_no_key(stack: Stack) -> None:
    """As on a hosted project, the gateway wants one of the project's own keys."""
    store = SupabaseStore(stack.url, Credentials(stack.worker_token), timeout_s=5)

    with pytest.raises(StoreRejectedError, match="Invalid API key"):
        await store.check_schema()
    await store.aclose()


Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


async def _page(request: web.Request) -> web.StreamResponse:
    return web.Response(status=502, text="<html>bad gateway</html>", content_type="text/html")


async def _page_with_200(request: web.Request) -> web.StreamResponse:
    return web.Response(text="<html>log in first</html>", content_type="text/html")


async def _too_many(request: web.Request) -> web.StreamResponse:
    return web.json_response({"message": "slow down"}, status=429)


async def _no_database(request: web.Request) -> web.StreamResponse:
    body = {"code": "PGRST002", "message": "Could not query the database for the schema cache"}
    return web.json_response(body, status=503)


async def _gateway(request: web.Request) -> web.StreamResponse:
    body = {"message": "An invalid response was received from the upstream server"}
    return web.json_response(body, status=500)


async def _deadlock(request: web.Request) -> web.StreamResponse:
    return web.json_response({"code": "40P01", "message": "deadlock detected"}, status=500)


async def _cut(request: web.Request) -> web.StreamResponse:
    assert request.transport is not None
    request.transport.abort()
    return web.Response()


async def _silence(request: web.Request) -> web.StreamResponse:
    await asyncio.Event().wait()
    return web.Response()


@pytest.mark.parametrize(
    "answer", [_page, _page_with_200, _too_many, _gateway, _no_database, _deadlock, _cut, _silence]
)
async def test_rest_that_gives_no_answer_is_unavailable(answer: Answer) -> None:
    """Proxies' pages, limits, cut and silent connections: the call may be repeated."""
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    store = SupabaseStore(
        f"http://127.0.0.1:{runner.addresses[0][1]}", Credentials(a_key()), timeout_s=0.3
    )

    with pytest.raises(StoreUnavailableError) as caught:
        await store.check_schema()

    assert a_key() not in str(caught.value)
    await store.aclose()
    await runner.cleanup()


async def test_rest_that_nobody_serves_is_unavailable() -> None:
    """A refused connection may be tried again; an address that is none may not."""
    store = SupabaseStore(f"http://127.0.0.1:{free_port()}", Credentials(a_key()), timeout_s=2)
    with pytest.raises(StoreUnavailableError):
        await store.check_schema()
    await store.aclose()

    store = SupabaseStore("not an address", Credentials(a_key()), timeout_s=2)
    with pytest.raises(StoreRejectedError, match="URL"):
        await store.check_schema()
    await store.aclose()


def a_key() -> str:
    return "sb_secret_" + "x" * 31


async def test_every_store_error_keeps_its_cause(store: JobStore, database: JobsDatabase) -> None:
    """Whoever debugs finds the driver's own error behind the store's."""
    with pytest.raises(StoreRejectedError) as caught:
        await store.claim(WORKER, uuid4(), [Demand(("chat",), 1)], float("1e300"))

    cause = caught.value.__cause__
    assert isinstance(cause, asyncpg.PostgresError | Exception)
    assert not isinstance(cause, httpx.TransportError)

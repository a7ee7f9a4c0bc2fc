"""What the recordings can't show: what is never lost, who sees what, and at what cost."""

import asyncio
from collections.abc import Callable
from typing import Any

import asyncpg

from devstack.realtime import RealtimeSettings
from devstack.realtime.catalog import Database

JOBS = {"event": "*", "schema": "public", "table": "jobs"}
RLS = {"event": "INSERT", "schema": "public", "table": "jobs_rls"}
OWNER = (
    "create policy owner on public.jobs_rls for select to authenticated "
    "using (user_id = auth.uid())"
)
INSERT = "insert into public.jobs(job_type) values ($1)"
ALICE = "aaaaaaaa-1111-4111-8111-111111111111"
BOB = "bbbbbbbb-1111-4111-8111-111111111111"

Serve = Callable[..., Any]
Connect = Callable[..., Any]


async def test_ok_waits_for_the_slot(
    serve: Serve, connect: Connect, database: asyncpg.Connection, realtime_dsn: str
) -> None:
    """A transaction that is still open holds the slot up, and with it the word."""
    client = await connect(await serve())
    other = await asyncpg.connect(realtime_dsn)
    transaction = other.transaction()
    await transaction.start()
    await other.execute(INSERT, "before")

    await client.join("jobs", JOBS)
    async with asyncio.timeout(60):
        while not await database.fetchval("select count(*) from pg_replication_slots"):
            await asyncio.sleep(0)
    assert [frame["event"] for frame in await client.rest()] == ["phx_reply"]
    await transaction.commit()
    await client.next("system")
    await database.execute(INSERT, "after")

    assert (await client.change())["record"]["job_type"] == "after"
    await other.close()


async def test_nothing_after_ok_is_lost(
    serve: Serve, connect: Connect, database: asyncpg.Connection
) -> None:
    """While rows come without a pause, all after the word arrive, in order and once."""
    client = await connect(await serve())
    stop = asyncio.Event()

    async def insert() -> int:
        number = 0
        while not stop.is_set():
            number += 1
            await database.execute(INSERT, str(number))
        return number

    writing = asyncio.create_task(insert())
    await client.subscribe("jobs", JOBS)
    found = [int((await client.change())["record"]["job_type"]) for _ in range(50)]
    stop.set()
    last = await writing
    while found[-1] < last:
        found.append(int((await client.change())["record"]["job_type"]))

    assert found == list(range(found[0], last + 1))


async def test_each_sees_his_own(
    serve: Serve, connect: Connect, database: asyncpg.Connection
) -> None:
    """Row level security is asked for each identity."""
    await database.execute(OWNER)
    server = await serve()
    clients = {name: await connect(server, "authenticated", sub=name) for name in (ALICE, BOB)} | {
        "all": await connect(server)
    }
    for client in clients.values():
        await client.subscribe("rls", RLS)

    insert = "insert into public.jobs_rls(user_id, job_type) values ($1, $2)"
    await database.executemany(insert, [(ALICE, "1"), (BOB, "2"), (ALICE, "3"), (BOB, "4")])
    found = {
        name: [(await client.change())["record"]["job_type"] for _ in range(count)]
        for (name, client), count in zip(clients.items(), (2, 2, 4), strict=True)
    }

    assert found == {ALICE: ["1", "3"], BOB: ["2", "4"], "all": ["1", "2", "3", "4"]}
    for client in clients.values():
        assert [f for f in await client.rest() if f["event"] == "postgres_changes"] == []


async def test_a_burst_costs_few_queries(
    serve: Serve, connect: Connect, database: asyncpg.Connection, monkeypatch: Any
) -> None:
    """1,000 rows in one statement are checked together, not one by one."""
    await database.execute(OWNER)
    server = await serve()
    clients = [await connect(server, "authenticated", sub=ALICE) for _ in range(3)]
    for client in clients:
        await client.subscribe("rls", RLS)
    queries = 0
    fetch = asyncpg.Connection.fetch

    async def counted(self: Database, query: str, *args: Any, **options: Any) -> Any:
        nonlocal queries
        queries += "from unnest(" in query
        return await fetch(self, query, *args, **options)

    monkeypatch.setattr(asyncpg.Connection, "fetch", counted)

    await database.execute(
        "insert into public.jobs_rls(user_id, job_type) "
        f"select '{ALICE}', i::text from generate_series(1, 1000) i"
    )
    for client in clients:
        found = [(await client.change())["record"]["job_type"] for _ in range(1000)]
        assert found == [str(number) for number in range(1, 1001)]
    # Into how many pieces the log is read depends on how busy the machine is.
    assert queries <= 30


async def test_failing_policy_hides_only_its_own_rows(
    serve: Serve, connect: Connect, database: asyncpg.Connection
) -> None:
    """A policy that raises for one row tells that something changed, and not what."""
    await database.execute(
        "create policy bad on public.jobs_rls for select to authenticated using (job_type::int > 0)"
    )
    client = await connect(await serve(), "authenticated", sub=ALICE)
    await client.subscribe("rls", RLS)

    insert = "insert into public.jobs_rls(job_type) select unnest($1::text[])"
    await database.execute(insert, ["1", "no number", "0", "2"])
    found = [await client.change() for _ in range(3)]

    assert [change["record"].get("job_type") for change in found] == ["1", None, "2"]
    failed = ["Error 500: Internal Server Error, RLS policy evaluation failed"]
    assert [change["errors"] for change in found] == [None, failed, None]


async def test_role_reads_only_its_columns(
    serve: Serve, connect: Connect, database: asyncpg.Connection
) -> None:
    """Columns without a grant are neither in the record nor in its description."""
    await database.execute(
        "revoke all on public.jobs from anon; grant select (id, status) on public.jobs to anon"
    )
    client = await connect(await serve(), "anon")
    await client.subscribe("jobs", JOBS)

    await database.execute(INSERT, "secret")
    change = await client.change()

    assert sorted(change["record"]) == ["id", "status"]
    assert [column["name"] for column in change["columns"]] == ["id", "status"]


async def test_a_table_altered_in_mid_batch(
    serve: Serve, connect: Connect, database: asyncpg.Connection
) -> None:
    """Rows before and after the change of their table are both told."""
    client = await connect(await serve())
    await client.subscribe("jobs", JOBS)

    async with database.transaction():
        await database.execute(INSERT, "narrow")
        await database.execute("alter table public.jobs add column extra int default 5")
        await database.execute(INSERT, "wide")
    records = [(await client.change())["record"] for _ in range(2)]

    assert ["extra" in record for record in records] == [False, True]
    assert records[1]["extra"] == 5


async def test_lost_backend_is_silent_and_mended(
    serve: Serve, connect: Connect, database: asyncpg.Connection
) -> None:
    """A new slot serves the same subscriptions; nobody is told of the gap."""
    client = await connect(await serve())
    await client.subscribe("jobs", JOBS)
    slots = "select slot_name, active_pid from pg_replication_slots"
    slot, pid = await database.fetchrow(slots)

    await database.execute("select pg_terminate_backend($1)", pid)
    async with asyncio.timeout(60):
        while True:
            found = await database.fetchrow(f"{slots} where confirmed_flush_lsn is not null")
            if found is not None and found["slot_name"] != slot:
                break
            await asyncio.sleep(0)
    await database.execute(INSERT, "after")

    assert (await client.change())["record"]["job_type"] == "after"
    assert [frame["event"] for frame in client.frames] == ["phx_reply"]


async def test_slot_goes_with_the_last_subscription(
    serve: Serve, connect: Connect, database: asyncpg.Connection
) -> None:
    """Nobody listens, nothing is kept."""
    client = await connect(await serve())
    ref = await client.subscribe("jobs", JOBS)

    await client.push("realtime:jobs", "phx_leave", {}, join_ref=ref)

    async with asyncio.timeout(60):
        while await database.fetchval("select count(*) from pg_replication_slots"):
            await asyncio.sleep(0)


async def test_changed_publication_makes_subscriptions_anew(
    serve: Serve, connect: Connect, database: asyncpg.Connection
) -> None:
    """A wildcard binding gets the new table after an unasked second word."""
    settings = RealtimeSettings(idle_poll_interval_s=0.01, publication_check_s=0.05)
    client = await connect(await serve(settings))
    await client.subscribe("all", {"event": "*", "schema": "public"})

    await database.execute("alter publication supabase_realtime add table public.jobs_nopub")
    system = await client.next("system")
    await database.execute("insert into public.jobs_nopub default values")

    assert system["payload"]["status"] == "ok"
    assert (await client.change())["table"] == "jobs_nopub"


async def test_dropped_table_is_told_once(
    serve: Serve, connect: Connect, database: asyncpg.Connection
) -> None:
    """The binding can't be made anew, and stays dead."""
    settings = RealtimeSettings(idle_poll_interval_s=0.01, publication_check_s=0.05)
    client = await connect(await serve(settings))
    await client.subscribe("jobs", JOBS)

    await database.execute("alter publication supabase_realtime drop table public.jobs")
    system = await client.next("system")

    assert system["payload"]["status"] == "error"
    assert "check Realtime is enabled" in system["payload"]["message"]

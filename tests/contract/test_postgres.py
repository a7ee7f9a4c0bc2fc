"""The private server starts anywhere, asks for its password, and leaves nothing behind."""

import os
import select
import signal
import socket
import subprocess
import sys
from pathlib import Path

import asyncpg
import pytest

import devstack.postgres
from devstack.errors import PortTaken, StartError
from devstack.postgres import Postgres, Shutdown, free_port

HOST = """
import asyncio, sys
from pathlib import Path
from devstack.postgres import Postgres

async def main():
    async with Postgres(Path(sys.argv[1]), supabase=False) as server:
        print(server._process.pid, server.dsn, flush=True)
        await asyncio.Event().wait()

asyncio.run(main())
"""


async def test_logical_decoding_and_supabase_roles_are_there(postgres: Postgres) -> None:
    """A new server has what a hosted project has before its first migration."""
    connection = await asyncpg.connect(postgres.dsn)
    try:
        level = await connection.fetchval("show wal_level")
        roles = await connection.fetch(
            "select rolname from pg_roles where rolname !~ '^(pg_|supa)'"
        )
        published = await connection.fetchval("select count(*) from pg_publication_tables")
    finally:
        await connection.close()

    assert level == "logical"
    assert {r["rolname"] for r in roles} >= {
        "anon",
        "authenticated",
        "service_role",
        "authenticator",
    }
    assert published == 0


async def test_an_empty_database_has_no_supabase_schema(postgres: Postgres) -> None:
    """A database made for a test starts bare."""
    connection = await asyncpg.connect(await postgres.create_database('odd "name"'))
    try:
        found = await connection.fetchval("select to_regnamespace('auth')")
    finally:
        await connection.close()

    assert found is None


async def test_a_wrong_password_is_refused(postgres: Postgres) -> None:
    """Other users of the machine can't connect."""
    with pytest.raises(asyncpg.InvalidPasswordError):
        await asyncpg.connect(f"postgres://postgres:wrong@127.0.0.1:{postgres.port}/postgres")


async def test_a_taken_port_is_named(postgres: Postgres, tmp_path: Path) -> None:
    """A port in use is an error that says which one."""
    with pytest.raises(PortTaken, match=str(postgres.port)):
        async with Postgres(tmp_path, port=postgres.port, supabase=False):
            pass


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux stops a child with its parent")
async def test_a_killed_owner_leaves_no_server_and_its_data_starts_again(tmp_path: Path) -> None:
    """SIGKILL of our process stops the database, and the same directory starts again."""
    with subprocess.Popen(  # noqa: ASYNC220 - nothing else runs on this loop
        [sys.executable, "-c", HOST, tmp_path], stdout=subprocess.PIPE, text=True
    ) as owner:
        assert owner.stdout is not None
        pid, dsn = owner.stdout.readline().split()
        server = os.pidfd_open(int(pid))
        connection = await asyncpg.connect(dsn)
        await connection.execute("create table kept as select 1 as value")
        await connection.close()
        owner.send_signal(signal.SIGKILL)

    async with Postgres(tmp_path, supabase=False) as again:
        connection = await asyncpg.connect(again.dsn)
        value = await connection.fetchval("select value from kept")
        await connection.close()

    assert value == 1
    exited, _, _ = select.select([server], [], [], 0)
    os.close(server)
    assert exited == [server]


@pytest.mark.parametrize("how", ["fast", "immediate"])
async def test_it_stops_for_a_while(tmp_path: Path, how: Shutdown) -> None:
    """As was asked for; it comes back on its port with what it knew."""
    async with Postgres(tmp_path / "server", supabase=False) as server:
        dsn = server.dsn
        connection = await asyncpg.connect(dsn)
        await connection.execute("create table kept (id int)")

        await server.stop(how)
        log = (tmp_path / "server" / "postgres.log").read_text()
        await server.start()

        assert f"received {how} shutdown request" in log
        assert connection.is_closed()
        connection = await asyncpg.connect(dsn)
        assert await connection.fetchval("select count(*) from kept") == 0
        await connection.close()


def test_a_port_is_given_once_and_to_nobody_else_by_chance() -> None:
    """Between the moments when it is found free and when it is bound, others ask for any port."""
    handed_out = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    ports = [free_port() for _ in range(2000)]

    assert len(set(ports)) == len(ports)
    assert max(ports) < handed_out


def test_a_port_that_is_taken_isn_t_given(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where all are taken it says so."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        monkeypatch.setattr(devstack.postgres, "_PORTS", range(port, port + 1))
        with pytest.raises(StartError, match=f"no port from {port} to {port} "):
            free_port()

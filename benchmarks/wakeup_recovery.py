"""How long a source is deaf, fault by fault, with the daemon's own time limits.

    python benchmarks/wakeup_recovery.py [ROUNDS] [WORD]

Each fault has a local stack of its own and all run side by side, since most of the time is waiting.
A row is inserted every 50 ms. Recovery is the time from the fault, or from its end where it lasts
(an outage of 10 s), to the first hint that a later connection hears. Silent faults are found by
canaries, sent every 60 s as the daemon does. With a WORD only the faults whose name has it.
"""

import asyncio
import contextlib
import itertools
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncpg

from daemon.credentials import Credentials
from daemon.migrate import migrate
from daemon.store.postgres import PostgresStore
from daemon.telemetry import logs
from daemon.wakeups.listen import ListenSource
from daemon.wakeups.proof import ProofOfLife, ProofTimes
from daemon.wakeups.realtime import BroadcastSource, RealtimeSource
from devstack.realtime.faults import MALFORMED
from devstack.stack import Stack

INSERT = """insert into jobs (job_type, metadata) values ('chat', '{"prompt": "nothing"}')"""
OUTAGE_S = 10.0

Fault = Callable[[Stack], Awaitable[None]]
KINDS: dict[str, Any] = {"realtime": RealtimeSource, "broadcast": BroadcastSource}


def closed(code: int | None) -> Fault:
    """Close every connection with a code; None cuts it."""

    async def fault(stack: Stack) -> None:
        stack.realtime.faults.drop_all(code)

    return fault


def said(act: Callable[[Stack], object]) -> Fault:
    """Do something once."""

    async def fault(stack: Stack) -> None:
        act(stack)

    return fault


def lasting(**switches: Any) -> Fault:
    """Drop every connection, and switch faults on for the length of an outage."""

    async def fault(stack: Stack) -> None:
        faults = stack.realtime.faults
        usual = {name: getattr(faults, name) for name in switches}
        for name, value in switches.items():
            setattr(faults, name, value)
        faults.drop_all(None)
        await asyncio.sleep(OUTAGE_S)
        for name, value in usual.items():
            setattr(faults, name, value)

    return fault


async def server_restarted(stack: Stack) -> None:
    """Restart Realtime, and leave it away for the length of an outage."""
    await stack.stop_realtime()
    await asyncio.sleep(OUTAGE_S)
    await stack.start_realtime()


async def database_restarted(stack: Stack) -> None:
    """Restart PostgreSQL at once."""
    await stack.restart_database("immediate")


async def silenced(stack: Stack) -> None:
    """Deliver no message of the database, to whoever has joined until now."""
    stack.realtime.faults.deaf_until_join = True


@dataclass(frozen=True)
class Case:
    """One fault of one source."""

    name: str
    fault: Fault
    source: str = "realtime"
    lasts: bool = False
    """The fault has an end, and what counts begins there."""
    same: bool = False
    """The connection may go on: nobody has told it of anything."""


CASES = (
    *(Case(f"closed with {code}", closed(code)) for code in (1000, 1001, 1009, 1011, 1012)),
    Case("cut (TCP reset, 1006)", closed(None)),
    Case("half-open TCP", said(lambda stack: stack.realtime.faults.stall_all())),
    Case("connections refused for 10 s, from their end", lasting(refuse=True), lasts=True),
    Case(
        "429 to handshakes for 10 s, from their end",
        lasting(refuse=True, refuse_status=429, refuse_error="Too many joins per second"),
        lasts=True,
    ),
    Case("joins never answered for 10 s, from their end", lasting(ignore_joins=True), lasts=True),
    Case(
        "joins refused for 10 s, from their end",
        lasting(refuse_joins="Unauthorized: no"),
        lasts=True,
    ),
    Case("not confirmed for 10 s, from their end", lasting(mute_system_ok=True), lasts=True),
    Case(
        "system error on the channel",
        said(lambda stack: stack.realtime.faults.send_system_error("Unable to subscribe")),
    ),
    Case("channel crashed (phx_error)", said(lambda stack: stack.realtime.faults.crash_channels())),
    Case(
        "phx_close of an older join", said(lambda stack: stack.realtime.faults.send_stale_close())
    ),
    Case(
        "malformed frame",
        said(lambda stack: stack.realtime.faults.send_all(MALFORMED)),
        same=True,
    ),
    Case(
        "joins answered 15 s late for 10 s, from their end",
        lasting(late_join_reply_s=15.0),
        lasts=True,
    ),
    Case(
        "401 to handshakes for 10 s, from their end",
        lasting(refuse=True, refuse_status=401, refuse_error="Token has expired"),
        lasts=True,
    ),
    Case("frame over 1 MiB", said(lambda stack: stack.realtime.faults.send_oversize())),
    Case("joined and deaf for ever (poller gave up)", said(lambda stack: stack.realtime.give_up())),
    Case("Realtime away for 10 s, from its return", server_restarted, lasts=True),
    Case("database restarted", database_restarted, same=True),
    Case("database restarted", database_restarted, "broadcast", same=True),
    Case("closed with 1012", closed(1012), "broadcast"),
    Case("joined and deaf until somebody joins", silenced, "broadcast"),
    Case("database restarted", database_restarted, "listen"),
)


class Hints:
    """The moments of a source's hints."""

    def __init__(self) -> None:
        self.last = 0.0

    def set(self) -> None:
        """Take a wake-up."""
        self.last = time.monotonic()


@contextlib.asynccontextmanager
async def staged(case: Case, folder: Path) -> AsyncIterator[tuple[Stack, Any]]:
    """Run a stack, the case's source on it, canaries, and a row every 50 ms."""
    async with Stack(folder) as stack:
        await migrate(stack.dsn, report=lambda _: None)
        credentials = Credentials(stack.anon_key, stack.worker_token)
        source = (
            ListenSource(stack.dsn)
            if case.source == "listen"
            else KINDS[case.source](stack.url, credentials, recycle_after_s=21600)
        )
        store = PostgresStore(stack.dsn, pool_size=1, statement_timeout_s=10)
        proof = ProofOfLife(store.beat_canary, [source], ProofTimes())
        running = [
            asyncio.create_task(each)
            for each in (source.run(Hints()), proof.run(), insert_rows(stack.dsn))
        ]
        try:
            yield stack, source
        finally:
            for each in running:
                each.cancel()
            await asyncio.wait(running)
            await store.aclose()


async def insert_rows(dsn: str) -> None:
    """Insert a row every 50 ms, also after the database was away."""
    for _ in itertools.count():
        with contextlib.suppress(OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
            connection = await asyncpg.connect(dsn)
            while True:
                await connection.execute(INSERT)
                await asyncio.sleep(0.05)
        await asyncio.sleep(0.05)


async def heard_again(source: Any, after: float, *, same: bool) -> float:
    """Return the seconds to the first hint of a later connection, or of any."""
    while True:
        hint_at = source.record.hint_at or 0.0
        if source.link.ready and hint_at > after and (same or source.link.since > after):
            return float(hint_at - after)
        await asyncio.sleep(0.005)


async def measured(case: Case, rounds: int, folder: Path) -> str:
    """Return the table's row of one fault."""
    found: list[float] = []
    async with staged(case, folder) as (stack, source):
        for _ in range(rounds):
            while not source.link.ready_for(time.monotonic()) > 2:
                await asyncio.sleep(0.05)
            began = time.monotonic()
            await case.fault(stack)
            if case.lasts:
                began = time.monotonic()
            found.append(await heard_again(source, began, same=case.same))
    name = f"{case.source}: {case.name}"
    return f"| {name} | {statistics.median(found):.2f} | {max(found):.2f} |"


async def main(rounds: int, word: str) -> None:
    """Measure all faults side by side."""
    logs.configure("error", "text")
    print("| fault | median s | most s |\n|---|---|---|", flush=True)
    with tempfile.TemporaryDirectory(prefix="ourvidz-bench-") as folder:
        Path(folder).chmod(0o755)
        limit = asyncio.Semaphore(6)

        async def one(number: int, case: Case) -> None:
            async with limit:
                print(await measured(case, rounds, Path(folder) / str(number)), flush=True)

        await asyncio.gather(
            *(one(number, case) for number, case in enumerate(CASES) if word in case.name)
        )


if __name__ == "__main__":
    given = [*sys.argv[1:], *("5", "")[len(sys.argv) - 1 :]]
    asyncio.run(main(int(given[0]), given[1]))

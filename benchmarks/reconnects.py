"""Memory of the daemon's sources over thousands of reconnects.

    python benchmarks/reconnects.py [RECONNECTS]

A Realtime server in a process of its own confirms each subscription and closes the connection at
once; the source makes the next one without a pause. The LISTEN source's session is terminated by
the database as soon as it listens. Resident memory is read on the way; objects, coroutines and open
files after a tenth of the reconnects and at the end.
"""

import asyncio
import gc
import json
import multiprocessing
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import asyncpg
from stage import database, until
from websockets.asyncio.server import ServerConnection, serve

from daemon.credentials import Credentials
from daemon.telemetry import logs
from daemon.wakeups.backoff import Backoff
from daemon.wakeups.listen import ListenSource
from daemon.wakeups.realtime import RealtimeSource

SHARES = (0.1, 0.25, 0.5, 0.75, 1.0)
AT_ONCE = Backoff(lambda: 0.0)


async def confirm_and_close(socket: ServerConnection) -> None:
    """Answer the join as the real server does, then hang up."""
    async for text in socket:
        frame = json.loads(text)
        if frame["event"] != "phx_join":
            continue
        answer: dict[str, Any] = {"topic": frame["topic"], "ref": frame["ref"]}
        changes = [
            {"id": number, **binding}
            for number, binding in enumerate(frame["payload"]["config"]["postgres_changes"])
        ]
        reply = {"status": "ok", "response": {"postgres_changes": changes}}
        await socket.send(json.dumps(answer | {"event": "phx_reply", "payload": reply}))
        system = {
            "channel": frame["topic"].removeprefix("realtime:"),
            "extension": "postgres_changes",
            "message": "Subscribed to PostgreSQL",
            "status": "ok",
        }
        await socket.send(json.dumps(answer | {"event": "system", "payload": system, "ref": None}))
        await socket.close(1012)


def serve_for_ever(told: Connection) -> None:
    """Run the server in its process, and tell its port."""

    async def run() -> None:
        async with serve(confirm_and_close, "127.0.0.1", 0) as server:
            told.send(next(iter(server.sockets)).getsockname()[1])
            await server.wait_closed()

    asyncio.run(run())


@dataclass(frozen=True)
class Footprint:
    """What this process holds."""

    resident: int
    objects: int
    blocks: int
    """What Python has allocated, of any kind."""
    coroutines: int
    files: int

    @classmethod
    def now(cls) -> "Footprint":
        """Read it, garbage collected."""
        gc.collect()
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        return cls(
            pages * os.sysconf("SC_PAGE_SIZE"),
            len(gc.get_objects()),
            sys.getallocatedblocks(),
            len(asyncio.all_tasks()),
            sum(1 for _ in Path("/proc/self/fd").iterdir()),
        )


async def measured(name: str, source: Any, reconnects: int) -> None:
    """Let a source reconnect, and print what grew between the first tenth and the end."""

    def beyond(count: int) -> Callable[[], Any]:
        async def reached() -> bool:
            return bool(source.record.generations >= count)

        return reached

    running = asyncio.create_task(source.run(asyncio.Event()))
    seen = []
    for share in SHARES:
        await until(beyond(int(reconnects * share)), 0.05)
        seen.append(Footprint.now())
    running.cancel()
    await asyncio.wait({running})
    early, late = seen[0], seen[-1]
    resident = ", ".join(f"{each.resident / 2**20:.1f}" for each in seen)
    print(
        f"{name:9} {reconnects} connections: resident MiB after 10, 25, 50, 75, 100 %: {resident}; "
        f"objects {late.objects - early.objects:+d}, blocks {late.blocks - early.blocks:+d}, "
        f"coroutines {late.coroutines - early.coroutines:+d}, files {late.files - early.files:+d}",
        flush=True,
    )


async def terminate_listeners(dsn: str) -> None:
    """End the source's session whenever it listens, until cancelled."""
    owner = await asyncpg.connect(dsn)
    while True:
        await owner.execute(
            "select pg_terminate_backend(pid) from pg_stat_activity "
            "where application_name = 'ourvidz-worker listen' and query like 'LISTEN%'"
        )


async def main(reconnects: int) -> None:
    """Measure both sources."""
    logs.configure("error", "text")
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    server = context.Process(target=serve_for_ever, args=(theirs,), daemon=True)
    server.start()
    url = f"http://127.0.0.1:{await asyncio.to_thread(ours.recv)}"
    realtime = RealtimeSource(
        url, Credentials("key", "token"), recycle_after_s=3600, backoff=AT_ONCE
    )
    await measured("Realtime", realtime, reconnects)
    server.terminate()
    async with database() as dsn:
        ending = asyncio.create_task(terminate_listeners(dsn))
        await measured("LISTEN", ListenSource(dsn, backoff=AT_ONCE), reconnects)
        ending.cancel()
        await asyncio.wait({ending})


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else 2000))

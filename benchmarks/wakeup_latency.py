"""From an insert to the wake-up, on each source, beside floors on the same stack and the same rows.

    python benchmarks/wakeup_latency.py [INSERTS] [BURST]

The stack runs in a process of its own. Rows are inserted one by one, 20 to 60 ms apart, and each is
heard by every source at once, and by the floors: a bare asyncpg listener, and a bare websocket that
speaks Phoenix by hand. Messages arrive in order on each, so the nth one tells of the nth row.

Then BURST rows are inserted one by one without a pause under the whole daemon with all sources up:
how many of them were found by a sweep, and by no source?
"""

import asyncio
import contextlib
import json
import random
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import aiohttp
import asyncpg
from stack_process import StackProcess, stack_process
from stage import FAKE_MODEL, milliseconds, quantile, until
from start_latency import worker

from daemon.credentials import Credentials
from daemon.settings import Settings, load_settings
from daemon.wakeups.generation import GenerationTimes
from daemon.wakeups.listen import ListenSource
from daemon.wakeups.proof import ProofOfLife
from daemon.wakeups.realtime import BroadcastSource, RealtimeSource

INSERT = """insert into jobs (job_type, metadata) values ('chat', '{"prompt": "nothing"}')"""
QUIET = GenerationTimes(wake_again_s=3600)


class Heard:
    """The moments at which one listener was told of a row."""

    def __init__(self) -> None:
        self.at: list[float] = []

    def set(self) -> None:
        """Take a wake-up."""
        self.at.append(time.perf_counter())


async def bare_socket(stack: StackProcess, join: dict[str, Any], event: str, heard: Heard) -> None:
    """Join one channel by hand and note each of its events, until it is cancelled."""
    url = f"{stack.url}/realtime/v1/websocket"
    async with (
        aiohttp.ClientSession() as session,
        session.ws_connect(url, params={"apikey": stack.anon_key, "vsn": "1.0.0"}) as socket,
    ):
        payload = {"config": join["config"], "access_token": stack.worker_token}
        frame = {"topic": join["topic"], "event": "phx_join", "payload": payload, "ref": "1"}
        await socket.send_str(json.dumps(frame))
        async for message in socket:
            if f'"event":"{event}"' in message.data.replace(": ", ":")[:200]:
                heard.set()


JOINS = {
    "realtime": {
        "topic": "realtime:bare",
        "config": {
            "postgres_changes": [
                {"event": "INSERT", "schema": "public", "table": "jobs", "select": ["id"]}
            ]
        },
    },
    "broadcast": {
        "topic": "realtime:ourvidz:jobs",
        "config": {"private": True, "broadcast": {"self": False}},
    },
}
EVENTS = {"realtime": "postgres_changes", "broadcast": "broadcast"}


@contextlib.asynccontextmanager
async def listeners(stack: StackProcess) -> AsyncIterator[dict[str, Heard]]:
    """Run every source and every floor; yield what each hears from now on."""
    heard = {name: Heard() for name in ("listen", "broadcast", "realtime")}
    floors = {f"floor of {name}": Heard() for name in heard}
    credentials = Credentials(stack.anon_key, stack.worker_token)
    sources: list[Any] = [
        ListenSource(stack.dsn),
        *(
            kind(stack.url, credentials, recycle_after_s=3600, times=QUIET)
            for kind in (BroadcastSource, RealtimeSource)
        ),
    ]
    bare = await asyncpg.connect(stack.dsn)
    running = [asyncio.create_task(each.run(heard[each.name])) for each in sources]
    running += [
        asyncio.create_task(
            bare_socket(stack, JOINS[name], EVENTS[name], floors[f"floor of {name}"])
        )
        for name in JOINS
    ]

    async def all_ready() -> bool:
        return all(source.ready for source in sources)

    try:
        await until(all_ready)
        await bare.add_listener("ourvidz_jobs", lambda *_: floors["floor of listen"].set())
        await asyncio.sleep(3)  # the bare sockets have joined, and the poller is warm
        for each in (*heard.values(), *floors.values()):
            each.at.clear()
        yield heard | floors
    finally:
        for each in running:
            each.cancel()
        await asyncio.wait(running)
        await bare.close()


async def latencies(stack: StackProcess, inserts: int) -> None:
    """Measure every source and floor on the same rows."""
    inserter = await asyncpg.connect(stack.dsn)
    draw = random.Random(1)  # the same pauses each time
    async with listeners(stack) as heard:
        began = []
        for _ in range(inserts):
            began.append(time.perf_counter())
            await inserter.execute(INSERT)
            await asyncio.sleep(draw.uniform(0.02, 0.06))

        async def all_heard() -> bool:
            return all(len(each.at) >= inserts for each in heard.values())

        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(10):
                await until(all_heard)
        for name, each in heard.items():
            seconds = [at - start for start, at in zip(began, each.at, strict=False)]
            print(f"{name:20} {len(each.at)}/{inserts}   {milliseconds(seconds)}", flush=True)
    await inserter.execute("truncate jobs, job_runs")
    await inserter.close()


def settings(stack: StackProcess, folder: str) -> Settings:
    """Return a worker's settings with every source."""
    return load_settings(
        None,
        {
            "worker_type": "chat",
            "database": {"dsn": stack.dsn},
            "supabase": {"url": stack.url, "key": stack.anon_key, "token": stack.worker_token},
            "models": {"chat": FAKE_MODEL},
            "device": {"simulate_gb": 24},
            "server": {"port": 0},
            "state_dir": folder,
            "max_held": 400,
            "log": {"level": "warning"},
        },
    )


async def burst(stack: StackProcess, inserts: int) -> None:
    """Count the rows that waited for a sweep under the whole daemon."""
    waited: list[float] = []
    judges: list[ProofOfLife] = []
    found: Callable[..., None] = ProofOfLife.found

    def noted(self: ProofOfLife, seconds: Any, claimed_at: float) -> None:
        waited.extend(seconds)
        judges.append(self)
        found(self, seconds, claimed_at)

    ProofOfLife.found = noted  # type: ignore[method-assign]  # the benchmark's ear
    inserter = await asyncpg.connect(stack.dsn)

    async def done() -> bool:
        count = await inserter.fetchval("select count(*) from jobs where status = 'completed'")
        return bool(count == inserts)

    with tempfile.TemporaryDirectory() as folder:
        async with worker(settings(stack, folder)):
            await asyncio.sleep(5)  # all sources are ready and proven
            for _ in range(inserts):
                await inserter.execute(INSERT)
            await until(done, 0.1)
            await asyncio.sleep(6)  # a late hint would have come
            states = judges[-1].states()
    await inserter.close()
    missed = {name: state["missed_hints"] for name, state in states.items()}
    doubts = {name: state["doubts"] for name, state in states.items()}
    print(
        f"\n{inserts} rows under the daemon: claimed after p50 {quantile(waited, 0.5) * 1e3:.1f} "
        f"ms, p99 {quantile(waited, 0.99) * 1e3:.1f} ms, at most {max(waited) * 1e3:.1f} ms; "
        f"after more than 1 s: {sum(each > 1 for each in waited)}\n"
        f"found by a sweep that no source had announced: {missed}; connections doubted: {doubts}"
    )


async def main(inserts: int, rows: int) -> None:
    """Measure both."""
    async with stack_process() as stack:
        await latencies(stack, inserts)
        await burst(stack, rows)


if __name__ == "__main__":
    numbers = [int(each) for each in sys.argv[1:3]]
    asyncio.run(main(*(numbers + [1000, 10_000][len(numbers) :])))

"""What being watched costs: the drain rate with nobody outside, a broker, a collector of traces.

    python benchmarks/outside_cost.py [JOBS] [ROUNDS] [WAY...]

- nobody: as `drain.py` runs the worker
- a broker: a real mosquitto on this machine, presence, telemetry each second, jobs' events
- a broker that is away: its port is closed
- traces: every job, to a collector on this machine that only counts bytes
- info lines: the log at `info`, two lines a job

In rounds, each in an order of its own, so that what else the machine does falls on all alike: the
ratios are within a round. With WAYs only these, beside nobody. The processor time is this process's
own: the worker's, its start included, and the collector's.
"""

import asyncio
import contextlib
import random
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

from aiohttp import web
from drain import worker
from stage import database

from devstack.postgres import free_port


@contextlib.asynccontextmanager
async def mosquitto() -> AsyncIterator[int]:
    """Run a broker that lets everybody in; yield its port."""
    program = shutil.which("mosquitto", path="/usr/sbin:/usr/bin:/usr/local/sbin")
    if program is None:
        raise SystemExit("mosquitto isn't installed")
    port = free_port()
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "mosquitto.conf"
        file.write_text(f"listener {port} 127.0.0.1\nallow_anonymous true\n")
        process = await asyncio.create_subprocess_exec(
            program, "-c", str(file), stderr=asyncio.subprocess.DEVNULL
        )
        try:
            yield port
        finally:
            process.terminate()
            await process.wait()


@contextlib.asynccontextmanager
async def collector() -> AsyncIterator[str]:
    """Take traces; yield the address."""

    async def take(request: web.Request) -> web.Response:
        await request.read()
        return web.Response()

    app = web.Application(client_max_size=64 * 2**20)
    app.router.add_post("/v1/traces", take)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}/v1/traces"
    finally:
        await runner.cleanup()


async def main(jobs: int, rounds: int, only: Sequence[str]) -> None:
    """Measure each way in turns, and print rates and ratios."""
    async with database() as dsn, mosquitto() as port, collector() as address:
        broker = {"host": "127.0.0.1", "tls": False, "telemetry_s": 1}
        ways: dict[str, dict[str, Any]] = {
            "nobody": {},
            "nobody again": {},
            "a broker": {"mqtt": {**broker, "port": port}},
            "a broker that is away": {"mqtt": {**broker, "port": free_port()}},
            "traces": {"tracing": {"enabled": True, "endpoint": address}},
            "info lines": {"log": {"level": "info"}},
        }
        if only:
            ways = {name: ways[name] for name in ways if name in {*only, "nobody", "nobody again"}}
        rates: dict[str, list[float]] = {name: [] for name in ways}
        costs: dict[str, list[float]] = {name: [] for name in ways}
        for _ in range(rounds):
            for name in random.sample(list(ways), len(ways)):
                began = time.process_time()
                rates[name].append(await worker(dsn, jobs, **ways[name]))
                costs[name].append((time.process_time() - began) / jobs * 1e6)
        for name in ways:
            print(
                f"{name:<22}{statistics.median(rates[name]):>6.0f} jobs/s "
                f"{_ratio(rates[name], rates['nobody'])}   "
                f"{statistics.median(costs[name]):>5.0f} us {_ratio(costs[name], costs['nobody'])}"
            )


def _ratio(found: list[float], base: list[float]) -> str:
    ratios = [each / other for each, other in zip(found, base, strict=True)]
    return f"x {statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"


if __name__ == "__main__":
    asyncio.run(
        main(
            int(sys.argv[1]) if len(sys.argv) > 1 else 5_000,
            int(sys.argv[2]) if len(sys.argv) > 2 else 3,
            sys.argv[3:],
        )
    )

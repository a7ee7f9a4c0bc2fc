"""Time from SIGTERM to exit of an idle worker: right after the start, and with an engine loaded.

    python benchmarks/stop.py [RUNS]

Measured from outside, each run with a process of its own. The engine is the fake model's, a process
that holds nothing: what a real one needs to give back its memory comes on top.
"""

import asyncio
import os
import signal
import socket
import sys
import tempfile
import time
from typing import Any

import aiohttp
import asyncpg
from stage import database, insert_jobs, quantile, until


async def once(dsn: str, folder: str, *, jobs: int) -> float:
    """Return the seconds from SIGTERM to exit, after so many jobs."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = {
        **os.environ,
        "DATABASE_URL": dsn,
        "OURVIDZ_DEVICE__SIMULATE_GB": "48",
        "OURVIDZ_ARTIFACTS__KIND": "local",
        "OURVIDZ_ARTIFACTS__FOLDER": folder,
        "OURVIDZ_STATE_DIR": folder,
        "OURVIDZ_PRELOAD": "[]",
        "OURVIDZ_LOG__LEVEL": "error",
        **{f"OURVIDZ_MODELS__{m}__RUNNER": "fake" for m in ("CHAT", "SDXL", "WAN", "VIDEO")},
    }
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "daemon", "--port", str(port), env=environment
    )
    async with aiohttp.ClientSession(f"http://127.0.0.1:{port}") as session:
        await until(lambda: is_ready(session))
    await until_completed(dsn, jobs)
    began = time.perf_counter()
    process.send_signal(signal.SIGTERM)
    status = await process.wait()
    seconds = time.perf_counter() - began
    if status:
        raise RuntimeError(f"exit status {status}")
    return seconds


async def is_ready(session: aiohttp.ClientSession) -> bool:
    """Whether jobs are taken."""
    try:
        async with session.get("/ready") as response:
            return response.status == 200
    except aiohttp.ClientConnectionError:
        return False


async def until_completed(dsn: str, jobs: int) -> None:
    """Have jobs done."""
    connection: asyncpg.Connection[Any] = await asyncpg.connect(dsn)

    async def done() -> bool:
        left: int = await connection.fetchval(
            "select count(*) from jobs where status <> 'completed'"
        )
        return left == 0

    await insert_jobs(connection, jobs)
    await until(done)
    await connection.close()


async def main(runs: int) -> None:
    """Measure, and print medians."""
    async with database() as dsn:
        for name, jobs in (("no engine", 0), ("one engine loaded", 1)):
            with tempfile.TemporaryDirectory() as folder:
                await once(dsn, folder, jobs=jobs)  # compiles the modules
                seconds = [await once(dsn, folder, jobs=jobs) for _ in range(runs)]
            low, middle, high = min(seconds), quantile(seconds, 0.5), max(seconds)
            print(f"{name:<20} min {low:.3f}   median {middle:.3f}   max {high:.3f} s")


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else 10))

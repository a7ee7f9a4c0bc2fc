"""From SIGKILL in mid-job to the job running again.

    python benchmarks/recovery.py [RUNS]

- same host: the killed daemon is started again at once, under its own name; the time includes its
  start and its engine's
- elsewhere: another daemon is up, and takes the job back when the lease has ended
"""

import asyncio
import os
import signal
import socket
import sys
import tempfile
import time
from typing import Any

import asyncpg
from stage import database, insert_jobs, quantile

LONG_JOB = {"fake": {"steps": 10_000, "step_s": 0.05}}


async def start(dsn: str, folder: str, name: str) -> asyncio.subprocess.Process:
    """Start a daemon whose chat model is a fake in an engine process of its own."""
    environment = {
        **os.environ,
        "DATABASE_URL": dsn,
        "OURVIDZ_DEVICE__SIMULATE_GB": "48",
        "OURVIDZ_PRELOAD": "[]",
        "OURVIDZ_ARTIFACTS__KIND": "local",
        "OURVIDZ_ARTIFACTS__FOLDER": folder,
        "OURVIDZ_STATE_DIR": folder,
        "OURVIDZ_LOG__LEVEL": "error",
        "OURVIDZ_WORKER_NAME": name,
        "OURVIDZ_MODELS__CHAT__RUNNER": "fake",
    }
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", "daemon", "--worker-type", "chat", "--port", str(port),
        env=environment,
    )  # fmt: skip


async def until_running(connection: Any, attempt: int) -> None:
    """Wait until the job reports progress in its nth attempt: it really runs."""
    while not await connection.fetchval(
        "select exists (select from jobs where status = 'processing' and attempts = $1 "
        "and current_step = 'generating_text')",
        attempt,
    ):
        await asyncio.sleep(0.005)


async def once(dsn: str, *, elsewhere: bool) -> float:
    """Return the seconds from the kill to the job running again."""
    connection = await asyncpg.connect(dsn)
    await connection.execute("truncate jobs cascade")
    with tempfile.TemporaryDirectory() as folder:
        first = await start(dsn, folder, "first")
        await insert_jobs(connection, 1, **LONG_JOB)
        await until_running(connection, 1)
        second = await start(dsn, folder, "second") if elsewhere else None
        if second is not None:
            await asyncio.sleep(3)  # it is up and idle
        first.send_signal(signal.SIGKILL)
        killed = time.perf_counter()
        await first.wait()
        if second is None:
            second = await start(dsn, folder, "first")
        await until_running(connection, 2)
        seconds = time.perf_counter() - killed
        second.send_signal(signal.SIGKILL)
        await second.wait()
    await connection.close()
    return seconds


async def main(runs: int) -> None:
    """Measure both, and print them."""
    async with database() as dsn:
        for name, elsewhere in (("same host", False), ("elsewhere", True)):
            values = [await once(dsn, elsewhere=elsewhere) for _ in range(runs)]
            print(
                f"{name:<10} min {min(values):.2f}   median {quantile(values, 0.5):.2f}   "
                f"max {max(values):.2f} s",
                flush=True,
            )


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else 5))

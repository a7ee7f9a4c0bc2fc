"""Time from exec to /health answering, and the daemon's resident memory before a model is loaded.

    python benchmarks/startup.py [RUNS]

Measured from outside: the process is started, its port is asked until it answers, and its resident
set is read from /proc when /ready answers.
"""

import asyncio
import os
import socket
import sys
import tempfile
import time
from pathlib import Path

import aiohttp
from stage import database, quantile


async def once(dsn: str, folder: str) -> tuple[float, float, float]:
    """Return seconds to /health, seconds to /ready, and MiB resident."""
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
        "OURVIDZ_LOG__LEVEL": "error",
        **{f"OURVIDZ_MODELS__{m}__RUNNER": "fake" for m in ("CHAT", "SDXL", "WAN", "VIDEO")},
    }
    began = time.perf_counter()
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "daemon", "--port", str(port), env=environment
    )
    async with aiohttp.ClientSession(f"http://127.0.0.1:{port}") as session:
        health = await until_200(session, "/health", began)
        ready = await until_200(session, "/ready", began)
    pages = int(Path(f"/proc/{process.pid}/statm").read_text().split()[1])
    process.terminate()
    await process.wait()
    return health, ready, pages * os.sysconf("SC_PAGE_SIZE") / 2**20


async def until_200(session: aiohttp.ClientSession, path: str, began: float) -> float:
    """Return the seconds until the path answers 200."""
    while True:
        try:
            async with session.get(path) as response:
                if response.status == 200:
                    return time.perf_counter() - began
        except aiohttp.ClientConnectionError:
            pass
        await asyncio.sleep(0.002)


async def main(runs: int) -> None:
    """Measure, and print medians."""
    async with database() as dsn:
        with tempfile.TemporaryDirectory() as folder:
            await once(dsn, folder)  # compiles the modules
            results = [await once(dsn, folder) for _ in range(runs)]
    for name, values, unit in zip(
        ("exec to /health", "exec to /ready", "resident"),
        zip(*results, strict=True),
        ("s", "s", "MiB"),
        strict=True,
    ):
        low, middle, high = min(values), quantile(values, 0.5), max(values)
        print(f"{name:<16} min {low:.3f}   median {middle:.3f}   max {high:.3f} {unit}")


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else 10))

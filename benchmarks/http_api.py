"""The HTTP server around the engine: latency, requests a second, and a stream's first byte.

    python benchmarks/http_api.py [--seconds 5]

The whole daemon, with an engine that does nothing, beside a bare aiohttp handler that reads JSON
and answers a body of the same size. Both are pinned to the same core, the clients to another; they
take turns, and each figure is that of the same client.

- latency: one `/generate` after another on one connection
- requests a second: 16 connections, one request after another on each
- first byte: `/generate` with `stream`, from sending to the first byte of the first piece
"""

import argparse
import asyncio
import contextlib
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
from aiohttp import web
from stage import database, milliseconds

from devstack.postgres import free_port

_SERVER_CORE, _CLIENT_CORE = {0}, {1}
_CONNECTIONS = 16
_MODEL = {
    "RUNNER": "fake", "PATH": "", "BUDGET_GB": "4", "WEIGHTS_GB": "0.001",
    "FOOTPRINT_GB__FAST": "1", "MAX_CONCURRENT": "256", "CONCURRENCY__FAST": "256",
    # On the event loop: what is measured is the server, not a thread's switch.
    "OPTIONS__INLINE": "true", "OPTIONS__THREADS": "false",
}  # fmt: skip
BODY = {"messages": [{"role": "user", "content": "Hello"}], "max_tokens": 8, "fake": {"steps": 1}}


def serve_bare(port: int, answer: str) -> None:
    """Serve what there is at least to do: read JSON, answer a text of the same size."""

    async def handle(request: web.Request) -> web.Response:
        json.loads(await request.read())
        return web.json_response(text=answer)

    async def health(_: web.Request) -> web.Response:
        return web.json_response(text=answer)

    app = web.Application()
    app.add_routes([web.post("/generate", handle), web.get("/health", health)])
    web.run_app(app, host="127.0.0.1", port=port, print=None, access_log=None)


@contextlib.asynccontextmanager
async def bare(answer: str) -> AsyncIterator[aiohttp.ClientSession]:
    """Run the bare handler in a process of its own."""
    port = free_port()
    command = [sys.executable, __file__, "--bare", str(port), "--answer", answer]
    async with _process(command, dict(os.environ), port) as session:
        yield session


@contextlib.asynccontextmanager
async def worker() -> AsyncIterator[aiohttp.ClientSession]:
    """Run the daemon with an engine in its own process that does nothing."""
    port = free_port()
    async with database() as dsn:
        with tempfile.TemporaryDirectory() as state:
            environment = {
                **os.environ,
                "DATABASE_URL": dsn,
                "OURVIDZ_WORKER_TYPE": "chat",
                "OURVIDZ_DEVICE__SIMULATE_GB": "24",
                "OURVIDZ_ARTIFACTS__KIND": "local",
                "OURVIDZ_STATE_DIR": state,
                "OURVIDZ_LOG__LEVEL": "warning",
                **{f"OURVIDZ_MODELS__CHAT__{name}": value for name, value in _MODEL.items()},
            }
            command = [sys.executable, "-m", "daemon", "--port", str(port)]
            async with _process(command, environment, port, "/ready") as session:
                yield session


@contextlib.asynccontextmanager
async def _process(
    command: list[str], environment: dict[str, str], port: int, ready: str = "/health"
) -> AsyncIterator[aiohttp.ClientSession]:
    process = await asyncio.create_subprocess_exec(*command, env=environment)
    os.sched_setaffinity(process.pid, _SERVER_CORE)
    try:
        async with aiohttp.ClientSession(f"http://127.0.0.1:{port}") as session:
            while True:
                with contextlib.suppress(aiohttp.ClientConnectionError):
                    async with session.get(ready) as response:
                        if response.status == 200:
                            break
                await asyncio.sleep(0.02)
            yield session
    finally:
        process.terminate()
        await process.wait()


async def latencies(session: aiohttp.ClientSession, seconds: float) -> list[float]:
    """Return the seconds of one `/generate` after another."""
    took, until = [], time.perf_counter() + seconds
    while (began := time.perf_counter()) < until:
        async with session.post("/generate", json=BODY) as response:
            await response.read()
            assert response.status == 200
        took.append(time.perf_counter() - began)
    return took


async def rate(session: aiohttp.ClientSession, path: str, seconds: float) -> float:
    """Return requests a second."""
    until, done = time.perf_counter() + seconds, 0

    async def ask() -> None:
        nonlocal done
        while time.perf_counter() < until:
            if path == "/health":
                async with session.get(path) as response:
                    await response.read()
            else:
                async with session.post(path, json=BODY) as response:
                    await response.read()
            assert response.status == 200
            done += 1

    began = time.perf_counter()
    await asyncio.gather(*(ask() for _ in range(_CONNECTIONS)))
    return done / (time.perf_counter() - began)


async def first_bytes(session: aiohttp.ClientSession, count: int) -> list[float]:
    """Return the seconds to the first byte of a stream."""
    took = []
    for _ in range(count):
        began = time.perf_counter()
        async with session.post("/generate", json={**BODY, "stream": True}) as response:
            await response.content.readany()
            took.append(time.perf_counter() - began)
            await response.read()
    return took


async def main(seconds: float) -> None:
    """Measure both in turns, and print the table."""
    os.sched_setaffinity(0, _CLIENT_CORE)
    async with worker() as whole:
        async with whole.post("/generate", json=BODY) as response:
            answer = await response.text()
        async with bare(answer) as floor:
            sides: dict[str, Any] = {"bare": floor, "worker": whole}
            for side in sides.values():
                await latencies(side, 0.5)
            took: dict[str, list[float]] = {"bare": [], "worker": []}
            rates: dict[tuple[str, str], list[float]] = {}
            for _ in range(3):
                for name, side in sides.items():
                    took[name] += await latencies(side, seconds / 3)
                    for path in ("/health", "/generate"):
                        rates.setdefault((name, path), []).append(
                            await rate(side, path, seconds / 3)
                        )
            for name, values in took.items():
                print(f"{name:<8} /generate      {milliseconds(values)}")
            for (name, path), values in rates.items():
                print(f"{name:<8} {path:<14} {statistics.median(values):7.0f} requests/s")
            print(f"worker   first byte     {milliseconds(await first_bytes(whole, 300))}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=6.0)
    parser.add_argument("--bare", type=int)
    parser.add_argument("--answer")
    options = parser.parse_args()
    if options.bare:
        serve_bare(options.bare, options.answer)
    else:
        asyncio.run(main(options.seconds))

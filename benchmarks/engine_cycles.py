"""What is left behind by loads and evictions: a thousand engines through one pool.

    python benchmarks/engine_cycles.py [--cycles 1000] [--model wan|sdxl|fake] [--rss-mib 8]

Each cycle starts an engine process through the real pool, runs one job in it, every other time
moves its weights to the host's memory and back, and evicts it. Measured is the process that owns
the pool, as the daemon does. It ends with 1 when handles have grown, or resident memory has grown
by more than --rss-mib since the first tenth of the cycles (imports and caches are filled by then).
"""

import argparse
import asyncio
import gc
import logging
import os
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import astuple, dataclass, fields
from pathlib import Path
from typing import Any

import structlog

from daemon.engine_ports import Engine
from daemon.engines.pool import EnginePool
from daemon.engines.process import EngineProcess
from daemon.engines.surroundings import engine_environment
from daemon.telemetry.host import process_memory
from devstack.models.cache import cache_folder
from devstack.models.prepare import prepare
from handlers.base import ModelSpec
from handlers.params import resolve

MIB = 2**20
REPORTS_EACH = 10
"""How many rows the table has besides the first one."""

SMALL = {"prompt": "a cat", "width": 64, "height": 64, "steps": 1, "seed": 1}


@dataclass(frozen=True)
class Held:
    """What the process holds between two cycles."""

    cycle: int
    seconds: float
    rss_mib: float
    descriptors: int
    threads: int
    tasks: int
    children: int


class Reports:
    """Hears the pool; one report is waited for at a time."""

    def __init__(self) -> None:
        self._heard: asyncio.Queue[tuple[Any, ...]] = asyncio.Queue()

    def __getattr__(self, name: str) -> Callable[..., None]:
        return lambda *report: self._heard.put_nowait((name, *report))

    async def expect(self, name: str) -> None:
        """Wait for a report of this name; any other one ends the benchmark."""
        heard, *rest = await self._heard.get()
        if heard != name:
            raise SystemExit(f"{name} was expected, and the pool reported {heard} {rest}")


def spec_of(model: str) -> ModelSpec:
    options = {"offload": True}
    if model == "fake":
        return ModelSpec(model, "fake", "", "fake", device="cpu", options=options)
    path = prepare(cache_folder(), lambda line: print(line, file=sys.stderr))[model]
    return ModelSpec(model, f"tiny {model}", str(path), "diffusers", device="cpu", options=options)


async def cycle(pool: EnginePool, reports: Reports, number: int, model: str) -> None:
    pool.load(model, 0)
    await reports.expect("load_done")
    await draw(pool.engine(model, 0), model)
    if number % 2 == 0:
        pool.offload(model, 0)
        await reports.expect("offload_done")
        pool.load(model, 0)
        await reports.expect("load_done")
        await draw(pool.engine(model, 0), model)
    pool.unload(model, 0)
    await reports.expect("unload_done")


async def draw(engine: Engine, model: str) -> None:
    request = resolve("image", "", "sdxl" if model == "fake" else model, "fast", SMALL).params
    output = await engine.run("run", "image", request, lambda _: None)
    if len(output.files) != 1:
        raise SystemExit("the run made no picture")


def held(number: int, started: float) -> Held:
    gc.collect()
    return Held(
        cycle=number,
        seconds=round(time.monotonic() - started, 1),
        rss_mib=round((process_memory() or 0) / MIB, 2),
        descriptors=len(list(Path("/proc/self/fd").iterdir())) - 1,  # the listing's own
        threads=threading.active_count(),
        tasks=len(asyncio.all_tasks()),
        children=len(children()),
    )


def children() -> list[int]:
    """Return the processes that this one has started and that aren't gone, dead ones included."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            except OSError:
                continue
            if parent == os.getpid():
                found.append(int(entry.name))
    return found


async def measured(model: str, cycles: int) -> list[Held]:
    spec = spec_of(model)
    environment = engine_environment(os.environ, omp_threads=1)
    reports = Reports()
    started = time.monotonic()
    rows = []
    async with EnginePool(lambda *_: EngineProcess(spec, environment, lambda _: None)) as pool:
        pool.report_to(reports)
        for number in range(1, cycles + 1):
            if number == 1:
                rows.append(told(held(0, started)))
            await cycle(pool, reports, number, model)
            if number % max(1, cycles // REPORTS_EACH) == 0 or number == cycles:
                rows.append(told(held(number, started)))
    return rows


def told(row: Held) -> Held:
    print("".join(f"{value:>13}" for value in astuple(row)), flush=True)
    return row


def faults(rows: list[Held], rss_mib: float) -> list[str]:
    """Return what has grown: from the start for what is counted, from the warm-up for memory."""
    first, warm, last = rows[0], rows[min(1, len(rows) - 1)], rows[-1]
    counted = ("descriptors", "threads", "tasks", "children")
    grown: Mapping[str, int] = {
        name: getattr(last, name) - max(getattr(first, name), getattr(warm, name))
        for name in counted
    }
    found = [f"{name} grew by {growth}" for name, growth in grown.items() if growth > 0]
    if last.rss_mib - warm.rss_mib > rss_mib:
        found.append(f"memory grew by {last.rss_mib - warm.rss_mib:.1f} MiB since the warm-up")
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cycles", type=int, default=1000)
    parser.add_argument("--model", choices=("wan", "sdxl", "fake"), default="wan")
    parser.add_argument("--rss-mib", type=float, default=8.0)
    chosen = parser.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    print("".join(f"{each.name:>13}" for each in fields(Held)))
    rows = asyncio.run(measured(chosen.model, chosen.cycles))
    print(f"one cycle took {rows[-1].seconds / chosen.cycles:.2f} s")
    found = faults(rows, chosen.rss_mib)
    print("; ".join(found) or "nothing has grown")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())

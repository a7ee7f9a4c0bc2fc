"""What models cost and gain: loads, cancels, and pictures that share their model's calls.

    python benchmarks/models.py [--model sdxl|wan] [--threads 1] [--repeat 5]

Each figure is a ratio or stands beside what it is to be compared with, from the same run of real
engine processes on a CPU:

- load: the same engine with the model's files in the page cache (warm), and after they were put
  out of it (cold); the import of the libraries is told apart; the way back from the host's memory
- cancel: from the wish to the run's end, in steps of that run; and what the engine then still holds
  beyond what it held before the run
- batch: pictures a second with 2 and 4 runs at once that share calls, against as many that don't
"""

import argparse
import asyncio
import os
import statistics
import sys
import time
from pathlib import Path
from typing import Any

from daemon.engines.process import EngineProcess
from daemon.engines.surroundings import engine_environment
from daemon.values import RunCancelledError, StepReport
from devstack.models.cache import cache_folder
from devstack.models.prepare import prepare
from handlers.base import ModelSpec
from handlers.params import resolve

MIB = 2**20
SIDES = (64, 128, 256)


class Bench:
    """Starts engines of one model."""

    def __init__(self, path: Path, model: str, threads: int) -> None:
        self.path = path
        self.model = model
        self._environment = engine_environment(
            os.environ, device=None, offline=True, omp_threads=threads
        )

    async def engine(self, runner: str = "diffusers", **options: Any) -> tuple[EngineProcess, Any]:
        """Start an engine; return it with what its load said."""
        spec = ModelSpec(
            self.model, self.model, str(self.path), runner, dtype="float32", device="cpu",
            max_concurrent=4, options=options,
        )  # fmt: skip
        engine = EngineProcess(spec, self._environment, lambda _: None)
        return engine, await engine.load()


def params(model: str, side: int, steps: int, seed: int) -> Any:
    request = {
        "prompt": "a red circle",
        "width": side,
        "height": side,
        "steps": steps,
        "seed": seed,
    }
    return resolve("image", "", model, "fast", request).params


def ignore(report: StepReport) -> None:
    pass


def put_out_of_cache(folder: Path) -> int:
    """Have the kernel forget the files' pages; return their bytes."""
    total = 0
    for file in folder.rglob("*"):
        if file.is_file():
            with file.open("rb") as opened:
                os.fsync(opened.fileno())
                os.posix_fadvise(opened.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
                total += file.stat().st_size
    return total


async def loads(bench: Bench, runner: str, repeat: int) -> None:
    """Loads cold, warm, and from the host's memory."""
    cold, warm, back = [], [], []
    n_bytes = 0
    for _ in range(repeat):
        n_bytes = put_out_of_cache(bench.path)
        for seconds in (cold, warm):
            engine, loaded = await bench.engine(runner, offload=True)
            seconds.append(loaded.seconds)
            if seconds is warm:
                await engine.offload()
                back.append((await engine.restore()).seconds)
            await engine.stop()
    print(
        f"load of {bench.model}, {n_bytes / MIB:.0f} MiB: cold {statistics.median(cold):.2f} s, "
        f"warm {statistics.median(warm):.2f} s (libraries' import in both), "
        f"from the host's memory {statistics.median(back) * 1e3:.1f} ms"
    )


async def cancels(bench: Bench, repeat: int) -> None:
    """From the wish to the end, and what is held afterwards."""
    engine, _ = await bench.engine()
    await engine.run("first", "image", params(bench.model, 256, 3, 1), ignore)
    held = await engine.memory()
    took, steps, kept = [], [], []
    for number in range(repeat):
        moments: list[float] = []

        def step(report: StepReport, moments: list[float] = moments) -> None:
            if report.step is not None:
                moments.append(time.perf_counter())

        running = asyncio.create_task(
            engine.run("run", "image", params(bench.model, 256, 150, number), step)
        )
        while len(moments) < 5:
            await asyncio.sleep(0.001)
        wished = time.perf_counter()
        engine.cancel("run")
        try:
            await running
        except RunCancelledError:
            took.append(time.perf_counter() - wished)
        steps.append((moments[4] - moments[0]) / 4)
        kept.append(await engine.memory() - held)
    await engine.stop()
    print(
        f"cancel at 256 pixels: {statistics.median(took) * 1e3:.0f} ms to the end and the memory "
        f"given back, {statistics.median(took) / statistics.median(steps):.2f} steps; the engine "
        f"then holds {statistics.median(kept) / MIB:+.1f} MiB against before the run"
    )


async def batches(bench: Bench, side: int, repeat: int) -> None:
    """Pictures a second, shared against not."""
    alone, _ = await bench.engine(batch=1)
    shared, _ = await bench.engine(batch=4)
    for together in (2, 4):
        gains = []
        for number in range(repeat + 1):
            rates = [await rate(engine, bench.model, side, together) for engine in (alone, shared)]
            if number:
                gains.append(rates[1] / rates[0])
        low, middle, high = min(gains), statistics.median(gains), max(gains)
        print(f"batch of {together}, {side} pixels: {middle:.2f} ({low:.2f} to {high:.2f})")
    await alone.stop()
    await shared.stop()


async def rate(engine: EngineProcess, model: str, side: int, together: int) -> float:
    """Return pictures a second with so many runs at once."""
    began = time.perf_counter()
    await asyncio.gather(
        *(
            engine.run(f"run {number}", "image", params(model, side, 20, number), ignore)
            for number in range(together)
        )
    )
    return together / (time.perf_counter() - began)


async def measure(options: argparse.Namespace) -> None:
    folders = prepare(cache_folder(), lambda line: print(line, file=sys.stderr))
    bench = Bench(folders[options.model], options.model, options.threads)
    await loads(Bench(folders["chat"], "chat", options.threads), "transformers", options.repeat)
    await loads(bench, "diffusers", options.repeat)
    await cancels(bench, options.repeat)
    for side in SIDES:
        await batches(bench, side, options.repeat)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", choices=["sdxl", "wan"], default="sdxl")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeat", type=int, default=5)
    asyncio.run(measure(parser.parse_args()))


if __name__ == "__main__":
    main()

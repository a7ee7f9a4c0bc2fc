"""A picture of ten seconds: a row through the whole worker, beside the bare pipeline's call.

    python benchmarks/images.py [--model sdxl|wan] [--seconds 10] [--rounds 5] [--side 256]

- bare: diffusers' pipeline called in a process of its own, as its documentation does: prompt in,
  picture out, saved as PNG
- worker: the row is inserted into PostgreSQL, and the time ends when it has its result: wake-up,
  claim, admission, the engine's process, progress, PNG with provenance, local storage, the finish

Same model, same weights, same size, steps and threads, in turns, so that both see the same machine.
The first round of each is thrown away; the steps are chosen so that a bare call takes `--seconds`.
Beside the clock stand the seconds of processor time that either side's processes took.
"""

import argparse
import asyncio
import json
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import asyncpg
import psutil
from stage import database, until

from daemon.settings import load_settings
from devstack.models.cache import cache_folder
from devstack.models.prepare import prepare

PROMPT = "a red circle on the left, white background"

BARE = """
import io, json, sys, time
import diffusers, torch
kind, path, side = sys.argv[1], sys.argv[2], int(sys.argv[3])
pipe = getattr(diffusers, kind).from_pretrained(path, dtype=torch.float32, use_safetensors=True)
pipe.set_progress_bar_config(disable=True)
for line in sys.stdin:
    ask = json.loads(line)
    frames = {"num_frames": 1, "output_type": "pil"} if kind == "WanPipeline" else {}
    began = time.perf_counter()
    out = pipe(ask["prompt"], width=side, height=side, num_inference_steps=ask["steps"],
               generator=torch.Generator("cpu").manual_seed(ask["seed"]), guidance_scale=5.0,
               **frames)
    picture = out.frames[0][0] if frames else out.images[0]
    picture.save(io.BytesIO(), "PNG")
    print(json.dumps({"seconds": time.perf_counter() - began}), flush=True)
"""
_KINDS = {"sdxl": "StableDiffusionXLPipeline", "wan": "WanPipeline"}
_JOB_TYPES = {"sdxl": "sdxl_image_fast", "wan": "wan_image_fast"}


class Bare:
    """The pipeline in a process of its own."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self.pid = process.pid

    @classmethod
    async def start(cls, path: Path, options: argparse.Namespace) -> "Bare":
        """Start it; the model is loaded by the first picture."""
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", BARE, _KINDS[options.model], str(path), str(options.side),
            env={**os.environ, "OMP_NUM_THREADS": str(options.threads)},
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
        )  # fmt: skip
        return cls(process)

    async def draw(self, steps: int, seed: int) -> tuple[float, float]:
        """Return the seconds by the clock and of processors that a picture took."""
        before = processor_s(self._process.pid)
        ask = json.dumps({"prompt": PROMPT, "steps": steps, "seed": seed})
        self._process.stdin.write(f"{ask}\n".encode())  # type: ignore[union-attr]
        answer = await self._process.stdout.readline()  # type: ignore[union-attr]
        return json.loads(answer)["seconds"], processor_s(self._process.pid) - before

    async def stop(self) -> None:
        """End the process."""
        self._process.kill()
        await self._process.wait()


def processor_s(pid: int, but: int = 0) -> float:
    """Return the processor time of a process and all below it, one child's apart."""
    total = 0.0
    process = psutil.Process(pid)
    for each in (process, *process.children(recursive=True)):
        if each.pid != but:
            times = each.cpu_times()
            total += times.user + times.system
    return total


async def row(connection: Any, model: str, side: int, steps: int, seed: int, but: int) -> Any:
    """Return the seconds by the clock and of processors from a row to its result."""
    before, began = processor_s(os.getpid(), but), time.perf_counter()
    metadata = {
        "prompt": PROMPT, "width": side, "height": side, "steps": steps, "seed": seed,
        "guidance_scale": 5.0,
    }  # fmt: skip
    job = await connection.fetchval(
        "insert into jobs (job_type, metadata) values ($1, $2) returning id",
        _JOB_TYPES[model],
        json.dumps(metadata),
    )

    async def finished() -> bool:
        status = await connection.fetchval("select status from jobs where id = $1", job)
        if status == "failed":
            raise SystemExit(await connection.fetchval("select error from jobs where id = $1", job))
        return bool(status == "completed")

    await until(finished, every_s=0.05)
    return time.perf_counter() - began, processor_s(os.getpid(), but) - before


async def compare(options: argparse.Namespace) -> None:
    from daemon.app import run

    path = prepare(cache_folder(), lambda line: print(line, file=sys.stderr))[options.model]
    bare = await Bare.start(path, options)
    async with database() as dsn:
        with tempfile.TemporaryDirectory() as folder:
            ready = asyncio.Event()
            settings = settings_of(dsn, folder, options, str(path))
            running = asyncio.create_task(run(settings, on_ready=lambda _: ready.set()))
            await ready.wait()
            connection = await asyncpg.connect(dsn)
            steps = await steps_for(bare, options.seconds)
            rounds = []
            for number in range(options.rounds + 1):
                alone = await bare.draw(steps, number)
                whole = await row(connection, options.model, options.side, steps, number, bare.pid)
                rounds.append((alone, whole))
                print(f"  bare {alone[0]:.2f} s, worker {whole[0]:.2f} s", file=sys.stderr)
            report(options, steps, rounds[1:])
            await connection.close()
            running.cancel()
            await asyncio.wait([running])
    await bare.stop()


async def steps_for(bare: Bare, seconds: float) -> int:
    """Return how many steps take so long, at most as many as a request may have."""
    await bare.draw(2, 0)
    took, _ = await bare.draw(20, 0)
    return max(1, min(150, round(seconds / took * 20)))


def settings_of(dsn: str, folder: str, options: argparse.Namespace, path: str) -> Any:
    own = {"omp_threads": options.threads}
    model = {"path": path, "device": "cpu", "dtype": "float32", "options": own}
    return load_settings(
        None,
        {
            "worker_type": options.model,
            "database": {"dsn": dsn},
            "models": {options.model: model},
            "device": {"simulate_gb": 24},
            "artifacts": {"kind": "local", "folder": folder},
            "server": {"port": 0},
            "state_dir": folder,
            "log": {"level": "warning"},
        },
    )


def report(options: argparse.Namespace, steps: int, rounds: list[Any]) -> None:
    clock = [whole[0] / alone[0] - 1 for alone, whole in rounds]
    work = [whole[1] / alone[1] - 1 for alone, whole in rounds]
    alone_s = statistics.median(alone[0] for alone, _ in rounds)
    print(
        f"{options.model}, {options.side} pixels, {steps} steps, "
        f"{options.threads} threads, {len(rounds)} rounds"
    )
    print(f"bare pipeline      {alone_s:.2f} s")
    for name, shares in (("clock", clock), ("CPU", work)):
        middle, least, most = statistics.median(shares), min(shares), max(shares)
        print(f"overhead, {name:<8} {middle:+.1%}  ({least:+.1%} to {most:+.1%})")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", choices=sorted(_KINDS), default="sdxl")
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--side", type=int, default=256)
    parser.add_argument("--threads", type=int, default=1)
    asyncio.run(compare(parser.parse_args()))


if __name__ == "__main__":
    main()

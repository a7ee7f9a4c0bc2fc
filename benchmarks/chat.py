"""Eight chats at once: rows through the whole worker, beside bare vLLM on the same machine.

    python benchmarks/chat.py [--starts 4] [--rounds 3] [--tokens 128] [--same-executor]

- bare: vLLM's AsyncLLM in this process, the same prompts as tokens, answers streamed
- worker: the rows are inserted into PostgreSQL in one statement, and the time ends when the last
  one has its result: claim, admission, the engine's process, progress, the finish

Both have the same model (SmolLM2), the same weights in float32, the same settings of vLLM, and
answer the same prompts with the likeliest tokens, so that the work is the same. They take turns, so
that both see the same machine; the first round of each is thrown away. The ratio is that of each
round's pair.

A start has its own luck: two starts of the very same vLLM differ by several hundredths for as
long as they live, more than the rounds of one of them. So both sides are started anew a few times,
and what counts is the median over all pairs, with each start's own beside it.

The worker has vLLM compute in EngineCore's process (`handlers.vllm_runner`), where vLLM's default
on a CPU is a process more; with `--same-executor` the bare side does so too.

Beside the clock, which other programs on the machine disturb, stand the seconds of processor time
that all processes of either took, PostgreSQL's among the worker's.
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
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncpg
import psutil
from stage import database, until

from devstack.models.cache import cache_folder
from devstack.models.prepare import prepare
from handlers.templates import CHATML

_SUBJECTS = ("rivers", "clouds", "bread", "ships", "bees", "glass", "salt", "winter")
_THREADS = "2"
_CACHE_GB = 0.5
_LENGTH = 1024


def questions(count: int) -> list[str]:
    """Return prompts whose answers are long."""
    return [
        f"Write a long story about {_SUBJECTS[number % len(_SUBJECTS)]}, part {number}."
        for number in range(count)
    ]


@dataclass(frozen=True)
class Round:
    """One side's turn: tokens, seconds by the clock and of processors."""

    tokens: int
    seconds: float
    processor_s: float

    @property
    def rate(self) -> float:
        """Tokens a second."""
        return self.tokens / self.seconds


def processor_s(belongs: Callable[[psutil.Process], bool]) -> float:
    """Return the processor time of those child processes that belong, and of all theirs."""
    total = 0.0
    for child in psutil.Process().children():
        if belongs(child):
            for each in (child, *child.children(recursive=True)):
                with contextlib.suppress(psutil.NoSuchProcess):
                    times = each.cpu_times()
                    total += times.user + times.system
    return total


def is_vllm(process: psutil.Process) -> bool:
    """Say whether a child of this process is vLLM's own."""
    return "VLLM" in process.name() or "VLLM" in " ".join(process.cmdline())


class Bare:
    """vLLM as its own documentation uses it."""

    def __init__(self, engine: Any, tokens: int) -> None:
        self._engine = engine
        self._tokens = tokens
        self._numbers = iter(range(10**6))

    @classmethod
    def start(cls, folder: Path, tokens: int, at_once: int, *, same_executor: bool) -> "Bare":
        """Load the model; takes half a minute."""
        os.environ.update(
            HF_HUB_OFFLINE="1",
            OMP_NUM_THREADS=_THREADS,
            OMP_WAIT_POLICY="PASSIVE",
            VLLM_CPU_OMP_THREADS_BIND="nobind",
            VLLM_LOGGING_LEVEL="ERROR",
            VLLM_NO_USAGE_STATS="1",
        )
        from vllm.engine.arg_utils import AsyncEngineArgs
        from vllm.v1.engine.async_llm import AsyncLLM
        from vllm.v1.executor.uniproc_executor import UniProcExecutor

        arguments = AsyncEngineArgs(
            str(folder),
            dtype="float32",
            max_model_len=_LENGTH,
            max_num_seqs=at_once,
            max_num_batched_tokens=2048,
            kv_cache_memory_bytes=int(_CACHE_GB * 2**30),
            enforce_eager=True,
            generation_config="vllm",
            disable_log_stats=True,
            **({"distributed_executor_backend": UniProcExecutor} if same_executor else {}),
        )
        return cls(AsyncLLM.from_engine_args(arguments), tokens)

    async def round(self, asked: list[str]) -> Round:
        """Answer all at once."""
        busy, began = self._processor_s(), time.perf_counter()
        made = await asyncio.gather(*map(self._answer, asked))
        return Round(sum(made), time.perf_counter() - began, self._processor_s() - busy)

    def _processor_s(self) -> float:
        # What this process itself does meanwhile is the front half of vLLM.
        return processor_s(is_vllm) + time.process_time()

    async def _answer(self, question: str) -> int:
        from vllm import SamplingParams
        from vllm.inputs.engine import tokens_input
        from vllm.sampling_params import RequestOutputKind

        prompt = self._engine.get_tokenizer().apply_chat_template(
            [{"role": "user", "content": question}],
            chat_template=CHATML,
            add_generation_prompt=True,
            return_dict=False,
        )
        sampling = SamplingParams(
            temperature=0, max_tokens=self._tokens, output_kind=RequestOutputKind.DELTA
        )
        number = str(next(self._numbers))
        outputs = self._engine.generate(tokens_input(prompt), sampling, request_id=number)
        return sum([len(each.outputs[0].token_ids) async for each in outputs])

    def close(self) -> None:
        """End vLLM's processes."""
        self._engine.shutdown(timeout=20)
        del self._engine


class Worker:
    """The whole daemon in its own process."""

    def __init__(self, connection: Any, tokens: int) -> None:
        self._connection = connection
        self._tokens = tokens

    async def round(self, asked: list[str]) -> Round:
        """Insert all at once, and wait for the last result."""
        requests = [
            json.dumps({"message": each, "temperature": 0, "max_tokens": self._tokens})
            for each in asked
        ]
        await self._connection.execute("delete from jobs")
        busy, began = self._processor_s(), time.perf_counter()
        await self._connection.execute(
            "insert into jobs (job_type, metadata) select 'chat', unnest($1::jsonb[])", requests
        )
        await until(self._all_ended, every_s=0.02)
        seconds, busy = time.perf_counter() - began, self._processor_s() - busy
        rows = await self._connection.fetch("select status, result, error from jobs")
        if wrong := [row["error"] for row in rows if row["status"] != "completed"]:
            raise SystemExit(f"not completed: {wrong[0]}")
        used = [json.loads(row["result"])["usage"]["completion_tokens"] for row in rows]
        return Round(sum(used), seconds, busy)

    def _processor_s(self) -> float:
        return processor_s(lambda process: not is_vllm(process))

    async def _all_ended(self) -> bool:
        return not await self._connection.fetchval(
            "select exists (select from jobs where status in ('queued', 'processing'))"
        )


@contextlib.asynccontextmanager
async def worker(folder: Path, tokens: int, at_once: int) -> AsyncIterator[Worker]:
    """Run database and daemon for the block."""
    chat = {
        "RUNNER": "vllm", "PATH": str(folder), "DEVICE": "cpu", "DTYPE": "float32",
        "MAX_CONCURRENT": str(at_once), "CONCURRENCY__FAST": str(at_once),
        "OPTIONS__KV_CACHE_GB": str(_CACHE_GB), "OPTIONS__MAX_MODEL_LEN": str(_LENGTH),
        "OPTIONS__OMP_THREADS": _THREADS,
    }  # fmt: skip
    async with database() as dsn:
        with tempfile.TemporaryDirectory() as state:
            environment = {
                **{name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ},
                "DATABASE_URL": dsn,
                "OURVIDZ_WORKER_TYPE": "chat",
                "OURVIDZ_DEVICE__SIMULATE_GB": "24",
                "OURVIDZ_PRELOAD": "[]",
                "OURVIDZ_ARTIFACTS__KIND": "local",
                "OURVIDZ_STATE_DIR": state,
                "OURVIDZ_LOG__LEVEL": "warning",
                **{f"OURVIDZ_MODELS__CHAT__{name}": value for name, value in chat.items()},
            }
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "daemon", "--port", "0", env=environment
            )
            connection = await asyncpg.connect(dsn)
            try:
                yield Worker(connection, tokens)
            finally:
                await connection.close()
                process.terminate()
                await process.wait()


async def main(options: argparse.Namespace) -> None:
    """Measure both in turns, and print each round and the middle."""
    folder = prepare(cache_folder(), lambda line: print(line, file=sys.stderr))["chat"]
    pairs: list[tuple[Round, Round]] = []
    for number in range(options.starts):
        print(f"start {number + 1}", flush=True)
        made = await start(folder, options)
        print(f"  tokens/s ratio: median {statistics.median(map(ratio, made)):.3f}", flush=True)
        pairs += made
    ratios = [ratio(pair) for pair in pairs]
    low, high = min(ratios), max(ratios)
    print(f"tokens/s ratio: median {statistics.median(ratios):.3f}, from {low:.3f} to {high:.3f}")
    best = [max(each.rate for each in side) for side in zip(*pairs, strict=True)]
    print(f"best of each: bare {best[0]:.1f}, worker {best[1]:.1f}, ratio {best[1] / best[0]:.3f}")
    busy = [whole.processor_s / bare.processor_s for bare, whole in pairs]
    print(f"processor time ratio: median {statistics.median(busy):.3f}")


async def start(folder: Path, options: argparse.Namespace) -> list[tuple[Round, Round]]:
    """Start both, and return the pairs of their rounds."""
    asked = questions(options.at_once)
    bare = Bare.start(folder, options.tokens, options.at_once, same_executor=options.same_executor)
    pairs: list[tuple[Round, Round]] = []
    try:
        async with worker(folder, options.tokens, options.at_once) as whole:
            for number in range(options.rounds + 1):
                # Whoever goes first may find the machine otherwise: they change places.
                if number % 2:
                    pair = await bare.round(asked), await whole.round(asked)
                else:
                    later = await whole.round(asked)
                    pair = await bare.round(asked), later
                if number:
                    pairs.append(pair)
                    print(f"  round {number}: {_said(pair)}", flush=True)
    finally:
        bare.close()
    return pairs


def ratio(pair: tuple[Round, Round]) -> float:
    """Return the worker's tokens a second over bare vLLM's."""
    bare, whole = pair
    return whole.rate / bare.rate


def _said(pair: Sequence[Round]) -> str:
    return "   ".join(
        f"{name} {side.rate:5.1f} tokens/s of {side.tokens}, {side.processor_s:5.1f} s of CPU"
        for name, side in zip(("bare", "worker"), pair, strict=True)
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--starts", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--at-once", type=int, default=8)
    parser.add_argument("--tokens", type=int, default=128)
    parser.add_argument("--same-executor", action="store_true", help="see above")
    asyncio.run(main(parser.parse_args()))

"""What metrics cost: a scrape after many jobs of all types, and the calls of one job.

    python benchmarks/scrape.py [JOBS]

The jobs are told to the shipped metrics one by one, as the daemon tells them: claimed in batches of
50, each with its phases and its end, each batch with its calls of the store. Printed are

- the seconds and the bytes of a scrape afterwards, plain and compressed, and its series
- the microseconds that one job's calls cost, the best of five rounds
- with `--drain`: the daemon's microseconds a job in a drain of no-op jobs, with these calls and
  without, in turns

All but the scrape is processor time of this process: others' work on the machine shows less in it.
"""

import argparse
import asyncio
import gzip
import statistics
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import cycle, islice
from unittest import mock

from drain import BATCH, worker
from stage import database

from daemon.job_types import JOB_TYPES, Model
from daemon.telemetry.metrics import Metrics
from daemon.values import Backlog

ROUNDS = 5
PHASES = ("wake_up", "queue", "run", "upload", "finish")
"""Those that every job has."""


def told(metrics: Metrics, job_types: list[str]) -> None:
    """Tell of one batch of jobs, from claim to end."""
    metrics.store_call("claim", 0.003)
    for job_type, count in Counter(job_types).items():
        metrics.jobs_claimed(job_type, count)
    for job_type in job_types:
        metrics.job_finished(job_type, "completed", 1.5)
        for phase in PHASES:
            metrics.job_phase(job_type, phase, 0.2)
    metrics.store_call("finish", 0.004)


def a_worker() -> Metrics:
    """Return the metrics of a worker that serves all models."""
    metrics = Metrics()
    metrics.started("all", "0", 0.0)
    for model in Model:
        metrics.model_state(model, "unloaded")
        for phase in ("vram", "switch", "load"):
            metrics.job_phase(
                next(name for name, each in JOB_TYPES.items() if each.model is model), phase, 2.0
            )
    metrics.queue_counted([Backlog(name, 3, 1, 12.0) for name in JOB_TYPES])
    for call in ("renew", "progress", "sweep", "beat_canary", "queue_summary"):
        metrics.store_call(call, 0.002)
    return metrics


def batches(jobs: int) -> Iterator[list[str]]:
    """Yield the job types of so many jobs, each type in turn."""
    types = islice(cycle(JOB_TYPES), jobs)
    while batch := list(islice(types, BATCH)):
        yield batch


def seconds_of(act: Callable[[], object], clock: Callable[[], float] = time.process_time) -> float:
    began = clock()
    act()
    return clock() - began


def told_all(metrics: Metrics, jobs: int) -> None:
    for batch in batches(jobs):
        told(metrics, batch)


@contextmanager
def unmeasured() -> Iterator[None]:
    """Let the calls that a job makes return at once, for a drain beside the measured one."""
    names = ("jobs_claimed", "job_phase", "job_finished", "store_call", "loop_lagged")
    with mock.patch.multiple(Metrics, **dict.fromkeys(names, lambda *_args, **_more: None)):
        yield


async def processor_us(dsn: str, jobs: int) -> float:
    """Return what a drain costs a job, with the daemon's start and end."""
    began = time.process_time()
    await worker(dsn, jobs)
    return (time.process_time() - began) / jobs * 1e6


async def drained(jobs: int) -> None:
    """Drain no-op jobs in turns, with metrics and without; print what metrics take of it."""
    with_metrics, without = [], []
    async with database() as dsn:
        for _ in range(ROUNDS):
            with_metrics.append(await processor_us(dsn, jobs))
            with unmeasured():
                without.append(await processor_us(dsn, jobs))
    ratios = [a / b - 1 for a, b in zip(with_metrics, without, strict=True)]
    print(
        f"drain: {min(with_metrics):.1f} us a job with metrics, {min(without):.1f} without;"
        f" {statistics.median(ratios):+.1%} ({min(ratios):+.1%} to {max(ratios):+.1%})"
    )


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("jobs", nargs="?", type=int, default=10_000)
    parser.add_argument("--drain", action="store_true")
    asked = parser.parse_args()
    metrics = a_worker()
    rounds = [seconds_of(lambda: told_all(metrics, asked.jobs)) for _ in range(ROUNDS)]
    print(f"calls: {min(rounds) / asked.jobs * 1e6:.2f} us a job")
    text = metrics.exposition()
    scrapes = [seconds_of(metrics.exposition, time.perf_counter) for _ in range(50)]
    lines = sum(not line.startswith(b"#") for line in text.splitlines())
    print(
        f"scrape: {statistics.median(scrapes) * 1e3:.1f} ms, {len(text) / 1e3:.0f} kB"
        f" ({len(gzip.compress(text)) / 1e3:.0f} kB compressed), {lines} series"
    )
    if asked.drain:
        asyncio.run(drained(asked.jobs))


if __name__ == "__main__":
    main()

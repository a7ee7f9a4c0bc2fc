"""What a line of the log costs, in microseconds of processor time.

    python benchmarks/logging_cost.py [LINES]

- below the level: a line that nobody hears
- a job's line: with the job's ids, in the job's task
- a plain line: one of the two that every job has, written alone
- in a turn: the same, noted with 99 others in one turn of the event loop
- a line with an error: the same with a text that is searched for prompts, beside 0 and 64 held jobs
  with prompts of 1,000 characters
- an exception: a traceback of three frames

Everything but the writing itself: lines go to a stream that drops them.
"""

import asyncio
import logging
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from uuid import uuid4

import structlog

from daemon.job_run import JobRun
from daemon.jobs import Job
from daemon.telemetry import context, logs
from daemon.telemetry.plain_lines import PlainLines
from daemon.telemetry.prompts import PROMPTS

PROMPT = " ".join(f"word{number}" for number in range(140))[:1000]
ERROR = "the generation failed: RuntimeError: expected a tensor of shape [2, 4, 128, 128]"


class Nowhere:
    """A stream that keeps nothing."""

    def write(self, text: str) -> int:
        """Drop a line."""
        return len(text)

    def flush(self) -> None:
        """Do nothing."""


def a_run() -> JobRun:
    """Return a run of a job that was just claimed."""
    ids = {"id": uuid4(), "user_id": uuid4(), "claim_id": uuid4()}
    request = {"prompt": f"{uuid4()} {PROMPT}"}
    return JobRun(
        Job(
            **ids, job_type="chat", request=request, attempt=1, max_attempts=3,
            created_at=datetime.now(UTC),
        ),
        0.0,
        time.monotonic,
    )  # fmt: skip


def microseconds(line: Callable[[], object], lines: int) -> float:
    """Return the processor time of one line."""
    line()
    began = time.process_time()
    for _ in range(lines):
        line()
    return (time.process_time() - began) / lines * 1e6


def microseconds_in_turns(line: Callable[[], object], lines: int) -> float:
    """Return the same where a hundred of them come in one turn of the event loop."""

    async def turns() -> None:
        for _ in range(lines // 100):
            for _ in range(100):
                line()
            await asyncio.sleep(0)

    began = time.process_time()
    asyncio.run(turns())
    return (time.process_time() - began) / (lines // 100 * 100) * 1e6


def fail(depth: int) -> None:
    """Raise, some frames down."""
    if depth:
        fail(depth - 1)
    raise RuntimeError(ERROR)


def main(lines: int) -> None:
    """Measure every kind of line in both forms, and print them."""
    log = structlog.get_logger("daemon.jobs")
    plain = PlainLines("daemon.jobs")

    def with_exception() -> None:
        try:
            fail(2)
        except RuntimeError:
            log.exception("run failed")

    kinds: dict[str, Callable[[], object]] = {
        "below the level": lambda: log.debug("engine", model="chat", line=ERROR),
        "a job's line": lambda: log.info("job completed", attempt=1, seconds=1.25),
        "a plain line": lambda: plain.info("job completed", runs[0], 1, 1.25),
        "a library's": lambda: logging.getLogger("asyncpg").warning("slow: %s", ERROR),
        "with an error": lambda: log.warning("job failed", attempt=1, error=ERROR),
        "an exception": with_exception,
    }
    for held in (0, 64):
        runs = [a_run() for _ in range(max(1, held))]
        for run in runs[:held]:
            PROMPTS.hold(str(run.job.claim_id), run.job.request)
        for form in ("text", "json"):
            logs.configure("info", form, Nowhere())  # type: ignore[arg-type]
            with context.lines_of(runs[0]):
                costs = {name: microseconds(line, lines) for name, line in kinds.items()}
                costs["in a turn"] = microseconds_in_turns(kinds["a plain line"], lines)
            for name, cost in costs.items():
                print(f"{held:>3} held   {form:<6}{name:<18}{cost:>8.1f} us", flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 5_000)

"""The daemon's count of the queue, on its way to the metrics and the scheduler."""

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from daemon.serving import _count_queue
from daemon.telemetry.metrics import Metrics
from daemon.values import Backlog, StoreUnavailableError

OLDEST = "ourvidz_queue_oldest_seconds"
CHAT = {"job_type": "chat", "model": "chat", "quality": "fast"}


@pytest.mark.parametrize("away", [False, True])
async def test_a_count_is_shown_and_a_failed_one_is_not(*, away: bool) -> None:
    """While the database is away nothing is shown: an old count would look like a fresh one."""
    metrics, counts = Metrics(), list[Any]()
    metrics.queue_counted([Backlog("chat", 9, 0, 99.0)])

    async def queue_summary() -> list[Backlog]:
        if away:
            raise StoreUnavailableError("away")
        return [Backlog("chat", 2, 0, 5.0)]

    parts: Any = SimpleNamespace(
        store=SimpleNamespace(queue_summary=queue_summary),
        admissions=SimpleNamespace(count_unclaimed=counts.append),
    )
    reports: Any = SimpleNamespace(metrics=metrics, queue=())
    counting = asyncio.create_task(_count_queue(parts, reports))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    counting.cancel()

    assert metrics.registry.get_sample_value(OLDEST, CHAT) == (None if away else 5.0)
    assert (reports.queue is None) == away
    assert counts == ([] if away else [{("chat", "fast"): 2}])

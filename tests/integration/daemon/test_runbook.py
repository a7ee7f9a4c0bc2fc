"""The runbook asks a worker for what it tells."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from daemon_process import Daemon
from projects import Project

pytestmark = pytest.mark.asyncio(loop_scope="session")

RUNBOOK = (Path(__file__).parents[3] / "docs/runbook.md").read_text()


def at(status: Any, path: str) -> Any:
    """Return what stands at a path such as `.scheduler.lanes`; raises KeyError."""
    for name in path.removeprefix(".").split("."):
        status = status[name]
    return status


async def test_status_has_what_is_looked_for(
    direct: Project, daemon: Callable[..., Daemon]
) -> None:
    """Each path of each `status | jq`, and what a source of wake-ups is said to tell."""
    asked = [
        path.strip()
        for filters in re.findall(r"status \| jq '([^']+)'", RUNBOOK)
        for path in filters.split(",")
    ]
    async with daemon(direct) as worker:
        _, status = await worker.get("/status")
        for path in asked:
            at(status, path)
        [source] = status["wakeups"].values()
        assert {"last_error", "missed_canaries", "doubts", "generations"} <= set(source)
        assert (await worker.get("/ready"))[1] == {"ready": True, "reasons": []}
    assert len(asked) > 15

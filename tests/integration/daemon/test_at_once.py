"""How many jobs really run at once in a whole daemon: as many as the API's document says."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from daemon_process import Daemon
from eventually import eventually
from projects import Project

pytestmark = pytest.mark.asyncio(loop_scope="session")

StartDaemon = Callable[..., Daemon]

AT_ONCE = {"sdxl_image_fast": 2, "wan_image_fast": 4, "video_fast": 1, "chat": 8}
"""Concurrent jobs by the document; on a device that has room for all of them."""

LIMITS_GB = {"sdxl": 12, "wan": 6, "video": 20, "chat": 4}


async def test_as_many_run_at_once_as_the_document_says(
    direct: Project, daemon: StartDaemon, tmp_path: Path
) -> None:
    """Of all families at the same time; more of them wait, and within every budget."""
    hold = tmp_path / "hold"
    async with daemon(direct, OURVIDZ_DEVICE__SIMULATE_GB="48") as worker:
        jobs = {
            await direct.insert(kind, hold=str(hold)): kind
            for kind, at_once in AT_ONCE.items()
            for _ in range(at_once + 2)
        }

        async def begun() -> Counter[str]:
            """Count jobs whose engine has told of a step."""
            rows = [await direct.database.row(job) for job in jobs]
            return Counter(row["job_type"] for row in rows if row["progress"] > 0)

        async def all_begun() -> bool:
            return sum((await begun()).values()) >= sum(AT_ONCE.values())

        await eventually(all_begun)
        assert await begun() == AT_ONCE
        scheduler = (await worker.get("/status"))[1]["scheduler"]
        [device] = scheduler["devices"]
        held = {
            each["model"]: (len(each["runs"]), each["weights_bytes"] + each["reserved_bytes"])
            for each in device["placements"]
        }
        assert {model: runs for model, (runs, _) in held.items()} == {
            "sdxl": 2,
            "wan": 4,
            "video": 1,
            "chat": 8,
        }
        assert all(held[model][1] <= gb * 2**30 for model, gb in LIMITS_GB.items())

        hold.touch()
        for job in jobs:
            await direct.until(job, "completed")
        await direct.assert_nothing_held()

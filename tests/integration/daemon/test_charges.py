"""Who makes a model be loaded pays for it: the next job has its place further behind."""

from collections.abc import Callable
from uuid import UUID

import pytest
from daemon_process import Daemon
from eventually import eventually
from jobs_database import ALICE, BOB
from projects import Project

pytestmark = pytest.mark.asyncio(loop_scope="session")

StartDaemon = Callable[..., Daemon]


async def test_a_load_is_charged_to_its_user_in_the_table(
    project: Project, daemon: StartDaemon
) -> None:
    """In the seconds that such a load takes; the next user finds the model there, for nothing."""
    metadata = {"prompt": "a lake", "width": 64, "height": 64}

    async def insert(user: UUID) -> UUID:
        return await project.database.insert("video_fast", user_id=user, metadata=metadata)

    async def charged() -> bool:
        count = await project.database.owner.fetchval("select count(*) from ourvidz.charges")
        return bool(count)

    async with daemon(project):
        await project.until(await insert(ALICE), "completed")
        await eventually(charged)
        jobs = [await insert(user) for user in (BOB, ALICE)]
        tags = [(await project.database.row(job))["fair_tag"] for job in jobs]

        assert tags[0] == 0
        assert tags[1] > 1
        for job in jobs:
            await project.until(job, "completed")

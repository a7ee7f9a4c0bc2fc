"""Two hundred chats at once on eight slots: none is lost, all users get their turn."""

import asyncio
from collections.abc import Callable
from functools import partial
from pathlib import Path
from uuid import uuid4

import httpx
import psutil
import pytest
from daemon_process import Daemon
from eventually import eventually
from projects import Project

pytestmark = pytest.mark.asyncio(loop_scope="session")

StartDaemon = Callable[..., Daemon]
CROWD = 190
GUESTS = 10
WITHIN_S = 120.0


async def test_a_crowd_leaves_nobody_behind(
    daemon: StartDaemon, direct: Project, tmp_path: Path
) -> None:
    crowd, guest = str(uuid4()), str(uuid4())
    ended: list[str] = []

    limits = httpx.Limits(max_connections=CROWD + GUESTS + 1)
    gate = tmp_path / "gate"
    async with (
        daemon(direct, OURVIDZ_MODELS__CHAT__OPTIONS__LOAD_WAITS=str(gate)) as running,
        httpx.AsyncClient(base_url=running.url, timeout=WITHIN_S, limits=limits) as client,
        asyncio.TaskGroup() as asking,
    ):
        process = psutil.Process(running.process.pid)
        before = process.memory_info().rss
        for user, count in ((crowd, CROWD), (guest, GUESTS)):
            for number in range(count):
                asking.create_task(_ask(client, user, number, ended))
            await eventually(partial(_all_held, client, user == guest), WITHIN_S, what="all wait")
        gate.touch()
        await eventually(lambda: len(ended) == CROWD + GUESTS, WITHIN_S, what="all are answered")
        grown = process.memory_info().rss - before
        status = (await client.get("/status")).json()
        assert status["performance"]["jobs_completed"] == CROWD + GUESTS
        assert status["active_jobs"] == 0
    last_guest = max(place for place, user in enumerate(ended) if user == guest)
    # Users take turns: the guest needn't wait until those are through who came first.
    assert last_guest < CROWD // 2, ended
    assert grown < 64 * 2**20


async def _all_held(client: httpx.AsyncClient, with_guests: bool) -> bool:
    held = int((await client.get("/health")).json()["active_jobs"])
    return held == CROWD + GUESTS * with_guests


async def _ask(client: httpx.AsyncClient, user: str, number: int, ended: list[str]) -> None:
    said = f"question {number} of {user}"
    fake = {"steps": 4, "step_s": 0.005}
    response = await client.post(
        "/chat", json={"message": said, "system_prompt": "", "user_id": user, "fake": fake}
    )
    assert response.status_code == httpx.codes.OK, response.text
    assert response.json()["messages_used"][-1]["content"] == said
    ended.append(user)

"""Answers over HTTP when somebody hangs up, an engine dies, or the worker is full or leaves."""

import asyncio
import contextlib
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from asking import WITHIN_S, post, until_active, until_running
from daemon_process import Daemon
from eventually import eventually
from projects import Project

pytestmark = pytest.mark.asyncio(loop_scope="session")

StartDaemon = Callable[..., Daemon]
SLOW = {"steps": 10_000, "step_s": 0.01}
"""A run that ends only since it is stopped."""


async def test_who_hangs_up_stops_the_work(client: httpx.AsyncClient) -> None:
    with contextlib.suppress(httpx.ReadTimeout):
        await client.post(
            "/chat", json={"message": "Hi", "system_prompt": "", "fake": SLOW}, timeout=1.0
        )
    await until_active(client, 0)
    status, _ = await post(client, "/chat", message="Hi", system_prompt="")
    assert status == httpx.codes.OK


async def test_a_lost_engine_is_replaced_under_a_request(
    client: httpx.AsyncClient, tmp_path: Path
) -> None:
    status, answer = await post(
        client, "/chat", message="Hi", system_prompt="",
        fake={"crash_once": str(tmp_path / "crashed")},
    )  # fmt: skip
    assert status == httpx.codes.OK, answer
    status, answer = await post(client, "/chat", message="Hi", system_prompt="", fake={"crash": 1})
    assert (status, answer["error_code"]) == (500, "GENERATION_FAILED")


async def test_a_full_worker_says_when_to_come_back(daemon: StartDaemon, direct: Project) -> None:
    async with (
        daemon(direct, OURVIDZ_SERVER__MAX_REQUESTS="2") as running,
        httpx.AsyncClient(base_url=running.url, timeout=WITHIN_S) as client,
    ):
        body = {"message": "Hi", "system_prompt": "", "fake": SLOW}
        held = [asyncio.create_task(client.post("/chat", json=body)) for _ in range(2)]
        await until_active(client, 2)
        response = await client.post("/chat", json=body)
        assert response.status_code == httpx.codes.SERVICE_UNAVAILABLE
        assert response.json()["error_code"] == "NOT_READY"
        assert int(response.headers["retry-after"]) > 0
        for each in held:
            each.cancel()
        await until_active(client, 0)


async def test_a_draining_worker_finishes_what_runs_and_takes_nothing(
    daemon: StartDaemon, direct: Project, tmp_path: Path
) -> None:
    hold, body = tmp_path / "hold", {"message": "Hi", "system_prompt": ""}
    async with daemon(direct) as running:
        async with httpx.AsyncClient(base_url=running.url, timeout=WITHIN_S) as client:
            longer = {**body, "fake": {"hold": str(hold)}}
            held = asyncio.create_task(client.post("/chat", json=longer))
            await until_running(client)
            stopped = asyncio.create_task(running.stop())

            async def refused() -> bool:
                with contextlib.suppress(httpx.TransportError):
                    response = await client.post("/chat", json=body)
                    return response.status_code == httpx.codes.SERVICE_UNAVAILABLE
                return False

            await eventually(refused, WITHIN_S, what="nothing is taken")
            hold.touch()
            assert (await held).status_code == httpx.codes.OK
        assert await stopped == 0


async def test_a_worker_without_the_model_says_so(daemon: StartDaemon, direct: Project) -> None:
    async with (
        daemon(direct, OURVIDZ_WORKER_TYPE="chat") as running,
        httpx.AsyncClient(base_url=running.url, timeout=WITHIN_S) as client,
    ):
        status, answer = await post(client, "/generate_image", prompt="x")
        assert (status, answer["error_code"]) == (404, "MODEL_NOT_SERVED")

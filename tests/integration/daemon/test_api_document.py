"""The examples of the API's document, sent as they stand: every field comes back, of its kind.

With the fake runner all of them; with small real models the same requests of smaller pictures.
"""

from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio
from api_examples import EXAMPLES, SEEN, assert_shows
from daemon_process import Daemon
from projects import Project

pytestmark = pytest.mark.asyncio(loop_scope="session")

StartDaemon = Callable[..., Daemon]
WITHIN_S = 300.0


@pytest_asyncio.fixture(loop_scope="session")
async def serving(daemon: StartDaemon, direct: Project) -> AsyncIterator[httpx.AsyncClient]:
    async with (
        daemon(direct) as running,
        httpx.AsyncClient(base_url=running.url, timeout=WITHIN_S) as client,
    ):
        yield client


async def test_the_examples_as_they_stand(serving: httpx.AsyncClient) -> None:
    for path, body, shown in EXAMPLES:
        response = await serving.post(path, json=body)
        assert response.status_code == httpx.codes.OK, (path, response.text)
        assert_shows(response.json(), shown, path)
    for path, shown in SEEN:
        assert_shows((await serving.get(path)).json(), shown, path)
    performance = (await serving.get("/status")).json()["performance"]
    assert performance["jobs_completed"] == len(EXAMPLES)
    assert performance["success_rate"] == 100.0


async def test_the_test_of_the_document(serving: httpx.AsyncClient) -> None:
    """`test_chat_with_system_prompt` of the document, with its own words."""
    data = {
        "message": "test message",
        "system_prompt": "You are a helpful assistant.",
        "conversation_id": "test_123",
    }
    response = await serving.post("/chat", json=data)
    assert response.status_code == httpx.codes.OK
    assert "response" in response.json()
    assert response.json()["system_prompt_used"] == "You are a helpful assistant."


async def test_small_real_models_answer_the_same(
    daemon: StartDaemon,
    direct: Project,
    demo_models: dict[str, Path],
    plain_sdxl: Path,
    plain_wan: Path,
) -> None:
    paths = {
        "CHAT": ("transformers", demo_models["chat"]),
        "SDXL": ("diffusers", plain_sdxl),
        "VIDEO": ("diffusers", plain_wan),
    }
    environment = {
        f"OURVIDZ_MODELS__{model}__{name}": value
        for model, (runner, path) in paths.items()
        for name, value in {
            "RUNNER": runner,
            "PATH": str(path),
            "DEVICE": "cpu",
            "OPTIONS__OMP_THREADS": "2",
        }.items()
    }
    small: dict[str, Mapping[str, Any]] = {
        "/generate_image": {"width": 64, "height": 64},
        "/generate_video": {"width": 64, "height": 64, "steps": 1, "duration": 1, "fps": 8},
    }
    async with (
        daemon(direct, **environment) as running,
        httpx.AsyncClient(base_url=running.url, timeout=WITHIN_S) as client,
    ):
        for path, body, shown in EXAMPLES:
            response = await client.post(path, json={**body, **small.get(path, {"max_tokens": 8})})
            assert response.status_code == httpx.codes.OK, f"{path}: {response.text}"
            metadata = {"metadata": {"generation_time": float}} if path in small else {}
            assert_shows(response.json(), {**shown, **metadata}, path)

"""`GET /chat/health`: chat alone, from the reports."""

from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import pytest
from aiohttp.test_utils import TestClient

from daemon.job_types import Model
from daemon.server.chat_health import chat_health_routes
from daemon.server.reports import ModelReport, ModelState, Phase
from daemon.telemetry.stats import Performance

Client = TestClient[Any, Any]
Connect = Callable[..., Awaitable[Client]]


@pytest.fixture(autouse=True)
def _routed(daemon: Any) -> None:
    daemon.extra_routes = chat_health_routes(daemon)


async def health(connect: Connect) -> dict[str, Any]:
    response = await (await connect("open sesame")).get("/chat/health")
    assert response.status == 200
    body: dict[str, Any] = await response.json()
    return body


async def test_all_of_it_is_told(connect: Connect, daemon: Any) -> None:
    """Without a key, as other probes: chats that run and wait, the model, and what is promised."""
    jobs = [
        {"job_type": job_type, "phase": phase}
        for job_type, phase in [
            ("chat", "running"), ("enhance", "waiting"), ("generate", "finishing"),
            ("sdxl_image_fast", "running"), ("chat", "waiting"), ("video_fast", "waiting"),
            ("a type that is no more", "running"),
        ]
    ]  # fmt: skip
    daemon.told = replace(
        daemon.told, jobs=jobs, performance=Performance(system_prompt_respect_rate=99.5)
    )

    assert await health(connect) == {
        "status": "healthy",
        "architecture": "pure_inference_engine",
        "model_loaded": True,
        "model_name": "Qwen2.5-7B-Instruct",
        "model_state": "loaded",
        "active_chats": 2,
        "waiting_chats": 2,
        "system_prompt_features": {
            "pure_inference_engine": True,
            "no_prompt_overrides": True,
            "respects_provided_prompts": True,
            "template_override_risk": "eliminated",
        },
        "system_prompt_respect_rate": 99.5,
        "reasons": [],
    }


async def test_others_troubles_are_not_chats(connect: Connect, daemon: Any) -> None:
    """Requests over HTTP are answered without the database, and beside a broken model."""
    broken = {**daemon.told.health.models, Model.SDXL: ModelReport("sdxl", ModelState.FAILED)}
    daemon.is_now(reasons=["the database does not answer"], models=broken)

    assert (await health(connect))["status"] == "healthy"


@pytest.mark.parametrize(
    ("phase", "state", "word", "reasons"),
    [
        (Phase.SERVING, ModelState.UNLOADED, "healthy", 0),
        (Phase.SERVING, ModelState.FAILED, "degraded", 1),
        (Phase.STARTING, ModelState.UNLOADED, "starting", 0),
        (Phase.DRAINING, ModelState.LOADED, "draining", 0),
    ],
)
async def test_the_status_is_a_word(
    connect: Connect, daemon: Any, phase: Phase, state: ModelState, word: str, reasons: int
) -> None:
    """A model that isn't loaded yet is no trouble; one that can't be is."""
    daemon.is_now(phase=phase, models={Model.CHAT: ModelReport("Qwen", state)})

    told = await health(connect)

    assert (told["status"], len(told["reasons"])) == (word, reasons)
    assert told["model_loaded"] is (state is ModelState.LOADED)


async def test_a_worker_without_chat_says_so(connect: Connect, daemon: Any) -> None:
    """As its other endpoints of text do."""
    daemon.is_now(models={Model.SDXL: ModelReport("sdxl", ModelState.LOADED)})

    response = await (await connect()).get("/chat/health")

    assert response.status == 404
    assert (await response.json())["error_code"] == "MODEL_NOT_SERVED"

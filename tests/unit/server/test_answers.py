"""Each probe's answer, field by field against the samples of the API document."""

import json
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest
from aiohttp.test_utils import TestClient
from api_examples import WORKER_INFO

from daemon.job_types import Model
from daemon.server.reports import DeviceReport, ModelReport, ModelState, Phase
from daemon.telemetry.gpu import GpuSample

GIB = 2**30

Client = TestClient[Any, Any]
Connect = Callable[..., Awaitable[Client]]

HEALTH = {
    "status": "healthy",
    "architecture": "pure_inference_engine",
    "worker_type": "chat",
    "gpu_utilization": 45.2,
    "memory_usage": 8.5,
    "active_jobs": 2,
    "uptime": 3600,
    "model_loaded": True,
    "system_prompt_features": {
        "pure_inference_engine": True,
        "no_prompt_overrides": True,
        "respects_provided_prompts": True,
        "template_override_risk": "eliminated",
    },
    "capabilities": {
        "hardcoded_prompts": False,
        "prompt_modification": False,
        "pure_inference": True,
    },
}

STATUS = {
    "worker_type": "chat",
    "status": "active",
    "architecture": "pure_inference_engine",
    "performance": {
        "jobs_completed": 150,
        "jobs_failed": 3,
        "average_generation_time": 18.5,
        "success_rate": 98.0,
    },
    "resources": {"gpu_utilization": 45.2, "memory_usage": 8.5, "disk_usage": 25.3},
    "models": {"qwen_instruct": "loaded", "architecture": "pure_inference_engine"},
    "security": {
        "template_override_risk": "eliminated",
        "hardcoded_prompts": False,
        "edge_function_control": True,
    },
}


def documented(answer: Any, sample: Any) -> Any:
    """Return the part of an answer that the sample has, so that a difference shows as one."""
    if isinstance(sample, dict):
        return {key: documented(answer.get(key, "absent"), sample[key]) for key in sample}
    return answer


def types(value: Any) -> Any:
    return (
        {key: types(item) for key, item in value.items()}
        if isinstance(value, dict)
        else type(value)
    )


@pytest.mark.parametrize(
    ("path", "sample"),
    [("/health", HEALTH), ("/status", STATUS), ("/worker/info", WORKER_INFO)],
)
async def test_answer_has_every_documented_field(
    connect: Connect, path: str, sample: dict[str, Any]
) -> None:
    """The sample's situation gives the sample's fields, values and JSON types."""
    client = await connect()

    response = await client.get(path)
    answer = documented(await response.json(), sample)

    assert response.status == 200
    assert answer == sample
    assert types(answer) == types(sample)


@pytest.mark.parametrize(
    ("phase", "reasons", "health", "status"),
    [
        (Phase.SERVING, (), "healthy", "active"),
        (Phase.SERVING, ("the database doesn't answer",), "degraded", "degraded"),
        (Phase.STARTING, ("the database doesn't answer",), "starting", "starting"),
        (Phase.DRAINING, (), "draining", "draining"),
    ],
)
async def test_status_is_a_word_for_what_happens(
    connect: Connect, daemon: Any, phase: Phase, reasons: tuple[str, ...], health: str, status: str
) -> None:
    """Health stays 200 in every state; the body says which and why."""
    daemon.is_now(phase=phase, reasons=reasons)
    client = await connect()

    response = await client.get("/health")
    body = await response.json()
    detailed = await (await client.get("/status")).json()

    assert (response.status, body["status"], body["reasons"]) == (200, health, list(reasons))
    assert (detailed["status"], detailed["reasons"]) == (status, list(reasons))


async def test_without_gpu_figures_are_null_and_the_book_is_shown(
    connect: Connect, daemon: Any
) -> None:
    """No figure is invented: a simulated device shows what the scheduler promised."""
    daemon.is_now(gpus=(), devices=(DeviceReport(0, True, 24 * GIB, GIB, 3 * GIB, GIB),))
    client = await connect()

    health = await (await client.get("/health")).json()
    status = await (await client.get("/status")).json()

    assert (health["gpu_utilization"], health["memory_usage"]) == (None, None)
    assert (health["memory_reserved"], health["simulated_device"]) == (4.0, True)
    assert (status["resources"]["gpu_utilization"], status["resources"]["temperature"]) == (
        None,
        None,
    )
    assert status["devices"] == [
        {
            "index": 0, "name": None, "simulated": True, "utilization": None, "temperature": None,
            "memory_used": None, "memory_total": None,
            "capacity": 24.0, "reserve": 1.0, "weights": 3.0, "reserved": 1.0,
        }
    ]  # fmt: skip


async def test_several_gpus_give_mean_utilization_and_total_memory(
    connect: Connect, daemon: Any
) -> None:
    """A GPU that doesn't tell its utilization isn't counted as idle."""
    gpus = (
        GpuSample(0, "a", 50.0, 2 * GIB, 8 * GIB, 40.0),
        GpuSample(1, "b", 100.0, 3 * GIB, 8 * GIB, 70.0),
        GpuSample(2, "MIG", None, 1 * GIB, 8 * GIB, None),
    )
    daemon.is_now(gpus=gpus)
    client = await connect()

    resources = (await (await client.get("/status")).json())["resources"]

    assert (resources["gpu_utilization"], resources["memory_usage"]) == (75.0, 6.0)
    assert (resources["memory_total"], resources["temperature"]) == (24.0, 70.0)


async def test_disk_is_shown_in_gb_and_in_percent(connect: Connect) -> None:
    """`disk_usage` is an amount like `memory_usage`; the share has a field of its own."""
    client = await connect()

    resources = (await (await client.get("/status")).json())["resources"]

    shown = {key: resources[key] for key in resources if key.startswith("disk")}
    assert shown == {"disk_usage": 25.3, "disk_total": 100.0, "disk_utilization": 25.3}


async def test_worker_without_chat_says_so(connect: Connect, daemon: Any) -> None:
    """Capabilities follow the configuration; the model is the first that is served."""
    models = {
        Model.SDXL: ModelReport("sdxl-base", ModelState.UNLOADED),
        Model.VIDEO: ModelReport("wan-video", ModelState.FAILED),
    }
    daemon.is_now(models=models)
    client = await connect()

    info = await (await client.get("/worker/info")).json()
    health = await (await client.get("/health")).json()
    status = await (await client.get("/status")).json()

    assert info["model"] == "sdxl-base"
    assert [name for name, can in info["capabilities"].items() if can] == [
        "pure_inference",
        "image_generation",
        "video_generation",
    ]
    assert health["model_loaded"] is False
    assert status["models"] == {
        "sdxl": "unloaded",
        "video": "failed",
        "architecture": "pure_inference_engine",
    }


async def test_ready_worker_answers_200(connect: Connect) -> None:
    """Readiness is a status code first."""
    client = await connect("key")

    response = await client.get("/ready")

    assert (response.status, await response.json()) == (200, {"ready": True, "reasons": []})


async def test_unready_worker_answers_503_with_reasons(connect: Connect, daemon: Any) -> None:
    """Whoever asks learns why, and when to ask again."""
    daemon.against = ["draining"]
    client = await connect()

    response = await client.get("/ready")

    assert (response.status, response.headers["Retry-After"]) == (503, "5")
    assert await response.json() == {
        "success": False,
        "error": "not ready; draining",
        "error_code": "NOT_READY",
        "ready": False,
        "reasons": ["draining"],
    }


async def test_metrics_are_prometheus_text(connect: Connect) -> None:
    """The exposition goes out as it is, with the content type that scrapers ask for."""
    client = await connect()

    response = await client.get("/metrics")

    assert response.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert await response.read() == b"ourvidz_ready 1.0\n"


async def test_health_answers_200_even_when_the_report_fails(
    connect: Connect, daemon: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """A defect in a report must not make a probe kill a worker with jobs in hand."""
    daemon.defect = RuntimeError("secret inside")
    client = await connect()

    response = await client.get("/health")

    assert response.status == 200
    assert await response.json() == {
        "status": "degraded",
        "architecture": "pure_inference_engine",
        "reasons": ["health can't be told: RuntimeError"],
    }
    assert "health can't be told" in caplog.text


async def test_status_shows_strange_values_as_text_and_hides_secrets(
    connect: Connect, daemon: Any
) -> None:
    """Snapshots go through as they are: times, ids, infinities, and errors with passwords."""
    identity = UUID(int=7)
    daemon.told = replace(
        daemon.told,
        scheduler={"since": datetime(2026, 1, 2, tzinfo=UTC), "job": identity, "age": float("inf")},
        wakeups={"listen": {"last_error": "postgres://worker:hunter2@db/app is down"}},
        counters={Model.CHAT: 3},
    )
    client = await connect()

    response = await client.get("/status")
    status = json.loads(await response.text(), parse_constant=pytest.fail)

    assert status["scheduler"] == {
        "since": "2026-01-02 00:00:00+00:00",
        "job": str(identity),
        "age": "inf",
    }
    assert (
        status["wakeups"]["listen"]["last_error"] == "postgres://worker:[redacted]@db/app is down"
    )
    assert status["counters"] == {"chat": 3}

"""The models of answers against what the code really answers, field by field."""

import json
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any
from uuid import UUID

import pytest
from aiohttp.test_utils import TestClient
from pydantic import BaseModel, ValidationError

from daemon.job_rows import JobRow
from daemon.job_run import JobRun
from daemon.job_types import Model
from daemon.jobs import Job
from daemon.results import result_of
from daemon.server.chat_health import chat_health_routes
from daemon.server.endpoint import JSON
from daemon.server.endpoints import ENDPOINTS
from daemon.server.errors import ApiError
from daemon.server.jobs import job_answer
from daemon.server.reports import Health, Phase, Status
from daemon.values import Artifact
from handlers.base import TextAnswer
from handlers.requests import ImageRequest, Message, TextRequest, VideoRequest
from handlers.results import (
    chat_result,
    enhance_result,
    generate_result,
    image_result,
    video_result,
)

Client = TestClient[Any, Any]
Connect = Callable[..., Awaitable[Client]]

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
PROBES = ["/health", "/chat/health", "/ready", "/status", "/worker/info"]
NOTES = {"model": "sdxl", "model_name": "SDXL"}
TIMINGS = JobRun(
    Job(UUID(int=1), None, "chat", {}, UUID(int=2), 1, 1, NOON), 0.0, lambda: 0.0
).account()


def model_of(path: str, status: int) -> type[BaseModel]:
    """Return the model of an endpoint's JSON answer."""
    (endpoint,) = [each for each in ENDPOINTS if each.path == path]
    model = endpoint.answers[status].content[JSON]
    assert model is not None
    return model


def hold(path: str, body: Any, status: int = 200) -> None:
    """Check an answer, and that the model knows every field of its first level."""
    model = model_of(path, status)
    model.model_validate_json(json.dumps(body))
    assert body.keys() <= model.model_fields.keys()


async def probe(connect: Connect, daemon: Any, path: str) -> None:
    daemon.extra_routes = chat_health_routes(daemon)
    response = await (await connect()).get(path)
    hold(path, await response.json(), response.status)


@pytest.mark.parametrize("path", PROBES)
async def test_probes_of_a_busy_worker(connect: Connect, daemon: Any, path: str) -> None:
    """Every figure is known."""
    await probe(connect, daemon, path)


@pytest.mark.parametrize("path", PROBES)
async def test_probes_of_a_worker_that_starts(connect: Connect, daemon: Any, path: str) -> None:
    """Hardly a figure is known: nearly all is null."""
    models = {Model.CHAT: daemon.told.health.models[Model.CHAT]}
    health = Health("all", Phase.STARTING, 0.1, ["the worker is starting"], models=models)
    daemon.told, daemon.against = Status(health, "w", "1"), ["starting"]

    await probe(connect, daemon, path)


async def test_health_that_cannot_be_told(connect: Connect, daemon: Any) -> None:
    """Then only three fields are left."""
    daemon.defect = RuntimeError("no")

    await probe(connect, daemon, "/health")


def text_request(stop: list[str]) -> TextRequest:
    messages = [Message("system", "Be kind."), Message("user", "Hi")]
    return TextRequest(
        messages=messages, max_tokens=5, temperature=0.7, top_p=0.9, seed=1, stop=stop
    )


@pytest.mark.parametrize("stop", [[], ["END"]])
@pytest.mark.parametrize(
    ("path", "shape"),
    [("/chat", chat_result), ("/enhance", enhance_result), ("/generate", generate_result)],
)
def test_text(path: str, shape: Callable[..., dict[str, Any]], stop: list[str]) -> None:
    """Each shape of a text, as it is in a whole result."""
    fields = shape(text_request(stop), TextAnswer("Hello", 3, 1, "stop"), "Qwen", 0.25)

    hold(path, {"success": True, **result_of(fields, [], TIMINGS)})


def artifact(kind: str, url: str | None) -> Artifact:
    return Artifact(kind, "bucket", "path", url, "image/png", 100)


@pytest.mark.parametrize("url", ["https://storage/x.png", None])
def test_pictures(url: str | None) -> None:
    """A private bucket that nobody signs for has no URL."""
    request = ImageRequest(
        prompt="x", negative_prompt="", width=64, height=64, steps=2, guidance_scale=5.0, seed=1,
        num_images=1, quality="fast", saving=1,
    )  # fmt: skip
    result = result_of(image_result(request, NOTES, [1], 0.5), [artifact("image", url)], TIMINGS)

    hold("/generate_image", {"success": True, "status": "success", **result})


@pytest.mark.parametrize("frames", [121, 18])
def test_films(frames: int) -> None:
    """`duration` is a whole number where it is one."""
    request = VideoRequest(
        prompt="x", negative_prompt="", width=64, height=64, steps=2, guidance_scale=5.0, seed=1,
        frames=frames, fps=24, quality="high",
    )  # fmt: skip
    files = [artifact("video", "file:///a"), artifact("thumbnail", "file:///b")]
    result = result_of(video_result(request, NOTES, 0.5), files, TIMINGS)

    hold("/generate_video", {"success": True, "status": "success", **result})


@pytest.mark.parametrize("moment", [NOON, None])
def test_jobs(moment: datetime | None) -> None:
    """One that waits and one that has failed: what doesn't apply is null."""
    row = JobRow(
        UUID(int=1), "chat", "queued" if moment is None else "failed", 0, None, moment, None,
        None if moment is None else "no", None, 0, 3, moment, moment, moment,
    )  # fmt: skip

    hold("/jobs/{job_id}", job_answer(row))


def test_failures() -> None:
    """The one shape, and nothing less."""
    hold("/chat", ApiError(HTTPStatus.BAD_REQUEST, "no", "INVALID_PROMPT").body(), 400)
    with pytest.raises(ValidationError):
        hold("/chat", {"success": False, "error": "no"}, 400)

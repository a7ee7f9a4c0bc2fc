"""How much one caller may ask for."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient

from daemon.sections import ServerLimits

Client = TestClient[Any, Any]
Connect = Callable[..., Awaitable[Client]]

KEYS = {"web": "web-key", "edge": "edge-key"}


async def answer(request: web.Request) -> web.Response:
    return web.json_response({"success": True})


async def ask(client: Client, key: str, method: str = "POST", path: str = "/chat") -> Any:
    return await client.request(method, path, headers={"X-API-Key": key})


def test_single_keys_override_field_by_field() -> None:
    """What a key doesn't say is as for all."""
    limits = ServerLimits.model_validate(
        {"requests_per_minute": 60, "concurrent": 4, "keys": {"web": {"concurrent": 9}}}
    )

    assert (limits.of("web").requests_per_minute, limits.of("web").concurrent) == (60, 9)
    assert (limits.of("edge").requests_per_minute, limits.of("edge").concurrent) == (60, 4)


async def test_requests_a_minute_are_bounded_for_each_key(connect: Connect, daemon: Any) -> None:
    """A minute's worth at once, then evenly; one caller's limit is not another's."""
    daemon.extra_routes = [web.post("/chat", answer)]
    now = [0.0]
    client = await connect(
        api_keys=KEYS,
        clock=lambda: now[0],
        limits={"requests_per_minute": 3, "keys": {"edge": {"requests_per_minute": 100}}},
    )

    answers = [await ask(client, "web-key") for _ in range(4)]
    assert [each.status for each in answers] == [200, 200, 200, 429]
    assert answers[0].headers["RateLimit-Policy"] == '"minute";q=3;w=60'
    assert [each.headers["RateLimit"] for each in answers] == [
        '"minute";r=2;t=20', '"minute";r=1;t=40', '"minute";r=0;t=60', '"minute";r=0;t=60',
    ]  # fmt: skip
    assert answers[3].headers["Retry-After"] == "20"
    assert (await answers[3].json()) == {
        "success": False,
        "error": "this key may ask 3 times a minute",
        "error_code": "RATE_LIMITED",
    }
    assert (await ask(client, "edge-key")).status == 200
    now[0] = 20.0
    assert (await ask(client, "web-key")).status == 200
    assert (await ask(client, "web-key")).status == 429


@pytest.mark.parametrize("path", ["/health", "/ready", "/metrics", "/status", "/worker/info"])
async def test_watching_does_not_count(connect: Connect, path: str) -> None:
    """Whoever has used up his requests is still watched, and still sees the status."""
    client = await connect(api_keys=KEYS, limits={"requests_per_minute": 1})
    assert (await ask(client, "web-key", "GET", "/nothing")).status == 404
    assert (await ask(client, "web-key", "GET", "/nothing")).status == 429

    answers = [await ask(client, "web-key", "GET", path) for _ in range(3)]

    assert [each.status for each in answers] == [200] * 3
    assert "RateLimit" not in answers[0].headers


async def test_requests_at_the_same_time_are_bounded(connect: Connect, daemon: Any) -> None:
    """Beyond the limit at once 429; a place that gets free can be taken; reading isn't bounded."""
    begun, go = asyncio.Event(), asyncio.Event()

    async def slow(request: web.Request) -> web.Response:
        begun.set()
        await go.wait()
        return web.Response()

    daemon.extra_routes = [web.post("/chat", slow), web.get("/jobs", answer)]
    client = await connect(api_keys=KEYS, limits={"concurrent": 1})

    running = asyncio.create_task(ask(client, "web-key"))
    await begun.wait()
    refused = await ask(client, "web-key")
    read = await ask(client, "web-key", "GET", "/jobs")
    go.set()
    others = await ask(client, "edge-key")

    assert (refused.status, refused.headers["Retry-After"]) == (429, "1")
    assert (read.status, others.status, (await running).status) == (200, 200, 200)
    assert (await ask(client, "web-key")).status == 200


async def test_no_limit_is_the_default(connect: Connect, daemon: Any) -> None:
    """What the worker has room for is the scheduler's to say."""
    daemon.extra_routes = [web.post("/chat", answer)]
    client = await connect("key")

    answers = [await ask(client, "key") for _ in range(50)]

    assert {each.status for each in answers} == {200}
    assert "RateLimit" not in answers[0].headers

"""Calls from web pages."""

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient

Client = TestClient[Any, Any]
Connect = Callable[..., Awaitable[Client]]

APP = "https://app.example"
PREFLIGHT = {
    "Access-Control-Request-Method": "POST",
    "Access-Control-Request-Headers": "x-api-key",
}


async def test_preflight_is_answered_without_a_key(connect: Connect) -> None:
    """Browsers send none with it; the request itself needs one."""
    client = await connect("key", cors_origins=[APP])

    preflight = await client.options("/chat", headers={"Origin": APP, **PREFLIGHT})
    request = await client.post("/chat", headers={"Origin": APP})

    assert (preflight.status, await preflight.read()) == (204, b"")
    assert preflight.headers["Access-Control-Allow-Origin"] == APP
    assert "X-API-Key" in preflight.headers["Access-Control-Allow-Headers"]
    assert "POST" in preflight.headers["Access-Control-Allow-Methods"]
    assert "Access-Control-Allow-Credentials" not in preflight.headers
    assert request.status == 401


@pytest.mark.parametrize("path", ["/health", "/nothing", "/status"])
async def test_answers_and_errors_carry_the_fields(connect: Connect, path: str) -> None:
    """A page can read why it failed, and when to come back."""
    client = await connect("key", cors_origins=["https://other.example", APP])

    response = await client.get(path, headers={"Origin": APP})

    assert response.headers["Access-Control-Allow-Origin"] == APP
    assert response.headers["Vary"] == "Origin"
    exposed = response.headers["Access-Control-Expose-Headers"].split(", ")
    assert {
        "Retry-After", "Idempotency-Replayed", "Location", "Preference-Applied", "RateLimit",
    } <= set(exposed)  # fmt: skip


async def test_streams_carry_the_fields(connect: Connect, daemon: Any) -> None:
    """They begin before their handler returns."""

    async def stream(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b"x")
        return response

    daemon.extra_routes = [web.get("/stream", stream)]
    client = await connect(cors_origins=[APP])

    response = await client.get("/stream", headers={"Origin": APP})

    assert response.headers["Access-Control-Allow-Origin"] == APP


@pytest.mark.parametrize("origin", ["https://evil.example", f"{APP}.evil.example", "null", ""])
async def test_other_origins_are_told_nothing(connect: Connect, origin: str) -> None:
    """Exact origins alone; what stays out is that caches are told apart."""
    client = await connect("key", cors_origins=[APP])

    response = await client.get("/health", headers={"Origin": origin})
    preflight = await client.options("/chat", headers={"Origin": origin, **PREFLIGHT})

    assert "Access-Control-Allow-Origin" not in response.headers
    assert response.headers["Vary"] == "Origin"
    assert (preflight.status, "Access-Control-Allow-Origin" in preflight.headers) == (401, False)


async def test_star_allows_every_origin(connect: Connect) -> None:
    """As a star, which a browser never mixes with credentials."""
    client = await connect(cors_origins=["*"])

    response = await client.get("/health", headers={"Origin": "https://any.example"})

    assert response.headers["Access-Control-Allow-Origin"] == "*"


async def test_off_is_the_default(connect: Connect) -> None:
    """Nothing is said about origins."""
    client = await connect()

    response = await client.get("/health", headers={"Origin": APP})
    preflight = await client.options("/health", headers={"Origin": APP, **PREFLIGHT})

    assert not [name for name in response.headers if name.startswith("Access-Control")]
    assert ("Vary" in response.headers, preflight.status) == (False, 405)

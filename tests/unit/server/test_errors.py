"""The one shape in which a request fails."""

import io
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient

from daemon.sections import ServerSettings
from daemon.server.errors import ApiError

Client = TestClient[Any, Any]
Connect = Callable[..., Awaitable[Client]]


@pytest.fixture
async def client(connect: Connect, daemon: Any) -> Client:
    """A server with one route for each way to fail."""

    async def body(request: web.Request) -> web.Response:
        await request.read()
        return web.Response()

    async def defect(request: web.Request) -> web.Response:
        raise ValueError("Traceback and password=hunter2")

    async def busy(request: web.Request) -> web.Response:
        raise ApiError(HTTPStatus.SERVICE_UNAVAILABLE, "full", headers={"Retry-After": "3"})

    async def own(request: web.Request) -> web.Response:
        raise ApiError(HTTPStatus.BAD_REQUEST, "no system prompt", "SYSTEM_PROMPT_MISSING")

    async def unread(request: web.Request) -> web.Response:
        raise web.HTTPBadRequest

    daemon.extra_routes = [
        web.post("/body", body),
        web.get("/defect", defect),
        web.get("/busy", busy),
        web.get("/own", own),
        web.get("/unread", unread),
    ]
    return await connect()


def failure(error: str, error_code: str) -> dict[str, object]:
    return {"success": False, "error": error, "error_code": error_code}


@pytest.mark.parametrize(
    ("method", "path", "status", "body"),
    [
        ("GET", "/chat/unrestricted", 404, ("there is no /chat/unrestricted", "NOT_FOUND")),
        ("GET", "/", 404, ("there is no /", "NOT_FOUND")),
        ("POST", "/health", 405, ("/health takes GET, HEAD, not POST", "METHOD_NOT_ALLOWED")),
        ("GET", "/defect", 500, ("the worker failed to answer", "INTERNAL_ERROR")),
        ("GET", "/busy", 503, ("full", "NOT_READY")),
        ("GET", "/own", 400, ("no system prompt", "SYSTEM_PROMPT_MISSING")),
        ("GET", "/unread", 400, ("bad request", "BAD_REQUEST")),
    ],
)
async def test_failure_has_the_one_shape(
    client: Client, method: str, path: str, status: int, body: tuple[str, str]
) -> None:
    """Whatever fails says so in the same three fields."""
    response = await client.request(method, path)

    assert (response.status, response.content_type) == (status, "application/json")
    assert await response.json() == failure(*body)


async def test_too_large_body_is_refused(client: Client) -> None:
    """A body beyond the limit isn't kept in memory."""
    response = await client.post(
        "/body", data=io.BytesIO(b"x" * (ServerSettings().max_body_bytes + 1))
    )

    assert response.status == 413
    assert await response.json() == failure("the request's body is too large", "PAYLOAD_TOO_LARGE")


async def test_headers_of_an_error_survive(client: Client) -> None:
    """Callers can act on an error: which methods exist, when to come back."""
    not_allowed = await client.delete("/status")
    busy = await client.get("/busy")

    assert not_allowed.headers["Allow"] == "GET,HEAD"
    assert busy.headers["Retry-After"] == "3"


async def test_defect_is_logged_and_not_told(
    client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    """The traceback is in the log, never in the body."""
    response = await client.get("/defect")

    assert "hunter2" not in await response.text()
    assert "ValueError" in caplog.text


async def test_long_path_is_not_repeated_whole(client: Client) -> None:
    """An answer doesn't grow with a stranger's path."""
    response = await client.get("/" + "x" * 5000)

    assert len((await response.json())["error"]) < 300

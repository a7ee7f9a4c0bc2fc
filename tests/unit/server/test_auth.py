"""Who may call."""

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient
from pydantic import SecretStr

from daemon.sections import ServerSettings
from daemon.server.service import bind_host
from daemon.settings import SettingsError

Client = TestClient[Any, Any]
Connect = Callable[..., Awaitable[Client]]

KEY = "k3y-of-the-worker"


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 401),
        ({"X-API-Key": KEY}, 200),
        ({"X-API-Key": f"  {KEY} "}, 200),
        ({"X-API-Key": ""}, 401),
        ({"X-API-Key": KEY[:-1]}, 401),
        ({"X-API-Key": KEY + "y"}, 401),
        ({"X-API-Key": KEY.upper()}, 401),
        ({"X-API-Key": "schlüssel-日本"}, 401),
        ({"X-API-Key": "\udcff\udcfe"}, 401),
        ({"Authorization": f"Bearer {KEY}"}, 200),
        ({"Authorization": f"bearer  {KEY}"}, 200),
        ({"Authorization": KEY}, 401),
        ({"Authorization": f"Basic {KEY}"}, 401),
        ({"Authorization": "Bearer"}, 401),
        ({"Authorization": "Bearer wrong"}, 401),
        # A wrong X-API-Key isn't cured by a right bearer: what is shown first counts.
        ({"X-API-Key": "wrong", "Authorization": f"Bearer {KEY}"}, 401),
    ],
)
async def test_only_the_key_opens(connect: Connect, headers: dict[str, str], status: int) -> None:
    """The configured key passes in either header, everything else is 401."""
    client = await connect(KEY)

    response = await client.get("/status", headers=headers)

    assert response.status == status


async def test_refusal_has_the_one_error_shape(connect: Connect) -> None:
    """A refused caller learns the code, and which scheme would do."""
    client = await connect(KEY)

    response = await client.get("/metrics")

    assert response.headers["WWW-Authenticate"] == "Bearer"
    assert await response.json() == {
        "success": False,
        "error": "Invalid API key",
        "error_code": "UNAUTHORIZED",
    }


@pytest.mark.parametrize("path", ["/health", "/ready"])
async def test_probes_need_no_key(connect: Connect, path: str) -> None:
    """Load balancers and container probes carry none."""
    client = await connect(KEY)

    assert (await client.get(path)).status == 200


@pytest.mark.parametrize("path", ["/health/", "/healthx", "/ready/../status", "/nothing"])
async def test_everything_else_needs_the_key(connect: Connect, path: str) -> None:
    """Without the key not even the absence of a path is told."""
    client = await connect(KEY)

    assert (await client.get(path)).status == 401


async def test_further_routes_need_the_key(connect: Connect, daemon: Any) -> None:
    """What is added to the application is behind the key without asking for it."""

    async def infer(request: web.Request) -> web.Response:
        return web.json_response({"success": True})

    daemon.extra_routes = [web.post("/generate", infer)]
    client = await connect(KEY)

    assert (await client.post("/generate")).status == 401
    assert (await client.post("/generate", headers={"X-API-Key": KEY})).status == 200


async def test_key_beyond_ascii_works(connect: Connect) -> None:
    """Keys are compared as bytes."""
    client = await connect("schlüssel-日本")

    right = await client.get("/status", headers={"X-API-Key": "schlüssel-日本"})
    wrong = await client.get("/status", headers={"X-API-Key": "schlussel-日本"})

    assert (right.status, wrong.status) == (200, 401)


@pytest.mark.parametrize("api_key", [None, "", "  \n"])
async def test_no_or_blank_key_lets_all_pass(connect: Connect, api_key: str | None) -> None:
    """A blank variable is no key, rather than a password that everybody knows."""
    client = await connect(api_key)

    assert (await client.get("/status")).status == 200


def settings(host: str | None = None, key: str | None = None) -> ServerSettings:
    return ServerSettings(host=host, api_key=None if key is None else SecretStr(key))


@pytest.mark.parametrize(
    ("host", "key", "bound"),
    [
        (None, None, "127.0.0.1"),
        (None, "", "127.0.0.1"),
        (None, "key", "0.0.0.0"),
        ("", "key", "0.0.0.0"),
        ("10.0.0.7", "key", "10.0.0.7"),
        ("127.0.0.2", None, "127.0.0.2"),
        ("::1", None, "::1"),
        ("localhost", None, "localhost"),
    ],
)
def test_without_key_the_server_stays_on_loopback(
    host: str | None, key: str | None, bound: str
) -> None:
    """All interfaces only with a key."""
    assert bind_host(settings(host, key)) == bound


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.7", "gpu-1.example"])
def test_open_address_without_key_is_refused(host: str) -> None:
    """A wish to be open without a key is an error, not silently changed."""
    with pytest.raises(SettingsError, match="WORKER_API_KEY"):
        bind_host(settings(host, " "))

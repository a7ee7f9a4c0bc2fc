"""The log line of a request, and what every answer bears."""

import logging
import re
from collections.abc import Awaitable, Callable
from typing import Any
from uuid import UUID

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient

from daemon.server import access
from daemon.telemetry.metrics import Metrics

Client = TestClient[Any, Any]
Connect = Callable[..., Awaitable[Client]]


async def test_requests_are_counted_by_their_route(connect: Connect) -> None:
    """Whatever becomes of them: refused, unknown, answered. No path of a stranger's is a route."""
    metrics = Metrics()
    client = await connect("key", served=metrics.http.served)

    await client.get("/health")
    await client.get("/health")
    await client.get("/status")
    await client.get("/a-path-of-mine", headers={"X-API-Key": "key"})

    text = metrics.exposition().decode()
    counts = re.findall(r"^ourvidz_http_requests_total\{(.*)\} (\S+)$", text, re.MULTILINE)
    assert sorted(counts) == [
        ('route="/health",status="200"', "2.0"),
        ('route="/status",status="401"', "1.0"),
        ('route="other",status="404"', "1.0"),
    ]
    assert 'ourvidz_http_request_seconds_count{route="/health"} 2.0' in text
    assert "a-path-of-mine" not in text


@pytest.mark.parametrize("path", ["/health", "/nothing", "/status", "/metrics"])
async def test_every_answer_bears_the_same_fields(connect: Connect, path: str) -> None:
    """No version to look up, no type to guess, an id to ask about."""
    client = await connect("key")

    response = await client.get(path)

    assert response.headers["Server"] == "ourvidz-worker"
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    assert UUID(response.headers["X-Request-Id"])


@pytest.mark.parametrize(
    ("shown", "kept"),
    [
        ("abc-123_X.9", True),
        ("x" * 64, True),
        ("x" * 65, False),
        ("", False),
        ("a b", False),
        ("a\tb", False),
        ("$(reboot)", False),
        ("ümlaut", False),
    ],
)
async def test_usable_request_id_is_kept(connect: Connect, shown: str, kept: bool) -> None:
    """Any other is replaced: it would end up in logs and shells."""
    client = await connect()

    response = await client.get("/health", headers={"X-Request-Id": shown})

    assert (response.headers["X-Request-Id"] == shown) is kept


@pytest.mark.parametrize(
    ("method", "path", "status", "headers"),
    [
        ("HEAD", "/nothing", 404, {}),
        ("HEAD", "/health", 200, {}),
        ("OPTIONS", "/health", 405, {"Allow": "GET,HEAD"}),
        ("PATCH", "/health", 405, {"Allow": "GET,HEAD"}),
        ("PROPFIND", "/health", 405, {"Allow": "GET,HEAD"}),
        ("DELETE", "/nothing", 404, {}),
    ],
)
async def test_strange_methods_meet_the_one_shape(
    connect: Connect, method: str, path: str, status: int, headers: dict[str, str]
) -> None:
    """Typed as JSON, with a body unless it is asked without."""
    client = await connect()

    response = await client.request(method, path)

    assert (response.status, response.content_type) == (status, "application/json")
    assert {name: response.headers.get(name) for name in headers} == headers
    if method != "HEAD":
        assert (await response.json())["success"] is False


def line(caplog: pytest.LogCaptureFixture) -> tuple[int, dict[str, Any]]:
    """Return level and fields of the one line there is."""
    [record] = [each for each in caplog.records if each.name == "daemon.server.access"]
    return record.levelno, record.fields  # type: ignore[attr-defined]


def request_as(method: str = "POST", **said: Any) -> Any:
    """Return a request as `traffic` and the others have left it."""
    from aiohttp.test_utils import make_mocked_request

    from daemon.server.auth import CALLER
    from daemon.server.proxies import CLIENT
    from daemon.server.proxies import Client as Who

    request = make_mocked_request(method, "/jobs/7/events?token=hunter2")
    request[access.REQUEST_ID] = "id-1"
    request[CLIENT] = Who("192.0.2.9", "https")
    if "route" in said:
        request[access.ROUTE] = said["route"]
    if "caller" in said:
        request[CALLER] = said["caller"]
    return request


def test_line_says_who_what_and_how_long(caplog: pytest.LogCaptureFixture) -> None:
    """By the route's pattern; no query, body or key."""
    caplog.set_level(logging.DEBUG, "daemon.server.access")
    request = request_as("GET", route="/jobs/{job_id}/events", caller="web")

    access.AccessLog(logging.getLogger("x"), "").log(request, web.Response(body=b"12345"), 0.12345)

    assert line(caplog) == (
        logging.INFO,
        {
            "caller": "web", "client": "192.0.2.9", "method": "GET",
            "route": "/jobs/{job_id}/events", "status": 200, "seconds": 0.123,
            "bytes": 0, "request_id": "id-1",
        },
    )  # fmt: skip
    assert "hunter2" not in caplog.text


@pytest.mark.parametrize(
    ("method", "route", "level"),
    [
        ("POST", "/chat", logging.INFO),
        ("GET", "/jobs/{job_id}", logging.INFO),
        ("GET", "/status", logging.DEBUG),
        ("GET", "/metrics", logging.DEBUG),
        ("GET", "", logging.DEBUG),
        ("OPTIONS", "/chat", logging.DEBUG),
    ],
)
def test_work_is_louder_than_watching(
    caplog: pytest.LogCaptureFixture, method: str, route: str, level: int
) -> None:
    """Scrapes and strangers' scans are heard at debug alone."""
    caplog.set_level(logging.DEBUG, "daemon.server.access")

    access.write_line(request_as(method, route=route), 200, 0.1, 5)

    assert line(caplog)[0] == level


@pytest.mark.parametrize("said", [{"route": "/health"}, {"route": "/ready"}, {}])
def test_probes_and_garbage_have_no_line(
    caplog: pytest.LogCaptureFixture, said: dict[str, str]
) -> None:
    """They would be most of the log."""
    caplog.set_level(logging.DEBUG, "daemon.server.access")

    access.write_line(request_as("GET", **said), 200, 0.1, 5)

    assert caplog.records == []

"""What a request brings along for the log: its place in a trace, and what isn't to be told."""

import io
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web
from aiohttp.test_utils import TestClient

from daemon.server.bodies import json_body
from daemon.telemetry import logs
from daemon.telemetry.context import INCOMING

Connect = Callable[..., Awaitable[TestClient[Any, Any]]]


async def test_a_request_brings_its_traceparent(connect: Connect, daemon: Any) -> None:
    """To all that is started for it; the next one on its connection has its own, or none."""

    async def told(_: web.Request) -> web.Response:
        return web.json_response(INCOMING.get())

    daemon.extra_routes = [web.get("/told", told)]
    client = await connect()
    headers: list[dict[str, str]] = [{}, {"traceparent": "00-a-b-01"}, {}]

    answers = [await (await client.get("/told", headers=each)).json() for each in headers]

    assert answers == ["", "00-a-b-01", ""]


async def test_a_defect_that_quotes_a_body_tells_nothing_of_it(
    connect: Connect, daemon: Any, restored_logging: None
) -> None:
    """No job knows the request yet."""

    async def defect(request: web.Request) -> web.Response:
        raise ValueError(f"can't take {await json_body(request)}")

    daemon.extra_routes = [web.post("/defect", defect)]
    client = await connect()
    stream = io.StringIO()
    logs.configure(stream=stream)

    await client.post("/defect", json={"message": "a zanzibarquokka at night"})

    assert "ValueError: can't take {'message': '[prompt]'}" in stream.getvalue()

"""Requests with an `Idempotency-Key` on a real server."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient

from daemon.server.bodies import json_body
from daemon.server.errors import ApiError
from daemon.server.idempotency import Idempotency, idempotency_key, once_for_all

Client = TestClient[Any, Any]
Connect = Callable[..., Awaitable[Client]]
Serve = Callable[[], Awaitable[Client]]
KEY = {"Idempotency-Key": "8e03978e-40d5-43dd-bc93-6894a57f9324"}


class Route:
    """Answers with how often it has run; a test may say how."""

    def __init__(self) -> None:
        self.runs = 0
        self.caller = "edge"
        self.answers: Callable[[], Awaitable[web.StreamResponse]] | None = None
        self._idempotency = Idempotency()

    async def post(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        return await self._idempotency.once(request, self.caller, body, self._run)

    async def _run(self, request: web.Request) -> web.StreamResponse:
        self.runs += 1
        if self.answers is not None:
            return await self.answers()
        return web.json_response({"run": self.runs}, headers={"X-Worker": "w1"})


@pytest.fixture
def route(daemon: Any) -> Route:
    route = Route()
    daemon.extra_routes += [web.post("/chat", route.post), web.post("/generate", route.post)]
    return route


async def post(
    client: Client, body: str = "{}", path: str = "/chat", headers: dict[str, str] | None = None
) -> tuple[int, Any, Any]:
    """Return status, JSON and headers."""
    async with client.post(path, data=body, headers=KEY if headers is None else headers) as answer:
        return answer.status, await answer.json(), answer.headers


async def test_a_repeat_gets_the_same_answer(route: Route, connect: Any) -> None:
    """Status, body and headers, marked as given again; the handler isn't called."""
    client = await connect()
    first = await post(client)
    again = await post(client)

    assert (first[:2], again[:2], route.runs) == ((200, {"run": 1}), (200, {"run": 1}), 1)
    assert "Idempotency-Replayed" not in first[2]
    assert again[2]["Idempotency-Replayed"] == "true"
    names = ("Content-Type", "Content-Length", "X-Worker")
    assert [again[2].getall(name) for name in names] == [first[2].getall(name) for name in names]


async def test_without_a_key_every_request_runs(route: Route, connect: Any) -> None:
    """As before there were any."""
    client = await connect()

    assert [(await post(client, headers={}))[1] for _ in range(2)] == [{"run": 1}, {"run": 2}]


@pytest.mark.parametrize(
    ("body", "path"), [('{"a": 1}', "/chat"), ("{}", "/generate"), ("{}", "/chat?stream=1")]
)
async def test_another_request_is_422(route: Route, connect: Any, body: str, path: str) -> None:
    """Another body, route or query under the same key."""
    client = await connect()
    await post(client)

    status, answer, _ = await post(client, body, path)

    assert (status, answer["error_code"], route.runs) == (422, "UNPROCESSABLE", 1)


async def test_while_the_first_runs_a_repeat_is_409(route: Route, connect: Any) -> None:
    """It says when to come back; then it gets the first one's answer."""
    began, ends = asyncio.Event(), asyncio.Event()

    async def slowly() -> web.StreamResponse:
        began.set()
        await ends.wait()
        return web.json_response({"slow": True}, status=HTTPStatus.CREATED)

    route.answers = slowly
    client = await connect()
    first = asyncio.create_task(post(client))
    await began.wait()
    status, answer, headers = await post(client)
    ends.set()

    assert (status, answer["error_code"], headers["Retry-After"]) == (409, "CONFLICT", "2")
    assert (await first)[:2] == (201, {"slow": True})
    assert (await post(client))[:2] == (201, {"slow": True})
    assert route.runs == 1


async def _api_error() -> web.StreamResponse:
    raise ApiError(HTTPStatus.SERVICE_UNAVAILABLE, "full")


async def _defect() -> web.StreamResponse:
    raise ValueError("a defect")


async def _refusal() -> web.StreamResponse:
    return web.json_response({"success": False}, status=400)


async def _cancelled() -> web.StreamResponse:
    raise asyncio.CancelledError


@pytest.mark.parametrize("failure", [_api_error, _defect, _refusal])
async def test_after_a_failure_a_repeat_runs(route: Route, connect: Any, failure: Any) -> None:
    """Raised or answered: a retry shall really try."""
    client = await connect()
    route.answers = failure
    assert (await post(client))[0] >= 400
    route.answers = None

    assert (await post(client, '{"other": 1}'))[:2] == (200, {"run": 2})


async def test_after_a_cancellation_a_repeat_runs(route: Route, connect: Any) -> None:
    """The client that went away comes back."""
    client = await connect()
    route.answers = _cancelled
    with pytest.raises(aiohttp.ClientError):
        await post(client)
    route.answers = None

    assert (await post(client))[:2] == (200, {"run": 2})


@pytest.mark.parametrize("kind", [web.StreamResponse, web.Response])
async def test_streams_are_not_kept(daemon: Any, connect: Any, kind: Any) -> None:
    """What the handler itself has sent, perhaps piece by piece, can't be given again."""
    runs = []

    async def stream(request: web.Request) -> web.StreamResponse:
        runs.append(1)
        response: web.StreamResponse = kind() if kind is web.StreamResponse else kind(body=b"[]")
        await response.prepare(request)
        if kind is web.StreamResponse:
            await response.write(b"[]")
        return response

    idempotency = Idempotency()

    async def post_stream(request: web.Request) -> web.StreamResponse:
        return await idempotency.once(request, "edge", b"", stream)

    daemon.extra_routes.append(web.post("/stream", post_stream))
    client = await connect()
    for _ in range(2):
        async with client.post("/stream", headers=KEY) as answer:
            assert (answer.status, await answer.text()) == (200, "[]")

    assert len(runs) == 2


async def test_callers_have_keys_of_their_own(route: Route, connect: Any) -> None:
    """The same key of another API key is another request."""
    client = await connect()
    await post(client)
    route.caller = "browser"

    assert (await post(client))[1] == {"run": 2}


@pytest.mark.parametrize(
    ("sent", "meant"),
    [
        ("abc-1", "abc-1"),
        ('"abc-1"', "abc-1"),
        ('"a \\"b\\\\ c"', 'a "b\\ c'),
        ("x" * 255, "x" * 255),
    ],
)
async def test_keys_are_read_with_and_without_quotation_marks(
    daemon: Any, connect: Any, sent: str, meant: str
) -> None:
    """The draft's structured string, and what most clients send."""

    async def key(request: web.Request) -> web.Response:
        return web.json_response(idempotency_key(request))

    daemon.extra_routes.append(web.get("/key", key))
    client = await connect()

    async with client.get("/key", headers={"Idempotency-Key": sent}) as answer:
        assert json.loads(await answer.text()) == meant


@pytest.mark.parametrize(
    "sent",
    ["", " ", "x" * 256, f'"{"x" * 256}"', '"', '""', '"open', 'a"b', "a b", "a\\b", "schlüssel"],
)
async def test_malformed_keys_are_400(route: Route, connect: Any, sent: str) -> None:
    """Nothing runs, so nothing can be run twice."""
    client = await connect()

    status, answer, _ = await post(client, headers={"Idempotency-Key": sent})

    assert (status, answer["error_code"], route.runs) == (400, "BAD_REQUEST", 0)


async def test_two_keys_are_400(route: Route, connect: Any) -> None:
    """Which of them would count?"""
    client = await connect()
    headers: Any = [("Idempotency-Key", "a"), ("Idempotency-Key", "b")]

    status, answer, _ = await post(client, headers=headers)

    assert (status, answer["error"]) == (400, "Idempotency-Key was sent more than once")


async def test_the_same_json_is_the_same_request(connect: Connect, daemon: Any) -> None:
    """Whatever the order of its fields; other values are another request."""
    once, answered = once_for_all(Idempotency()), []

    async def handle(request: web.Request) -> web.StreamResponse:
        body = await json_body(request)

        async def answer(_: web.Request) -> web.StreamResponse:
            answered.append(body)
            return web.json_response(body)

        return await once(request, body, answer)

    daemon.extra_routes.append(web.post("/asked", handle))
    client = await connect()
    statuses = []
    for body in ({"a": 1, "b": 2}, {"b": 2, "a": 1}, {"a": 1, "b": 3}):
        response = await client.post("/asked", json=body, headers=KEY)
        statuses.append(response.status)

    assert statuses == [200, 200, 422]
    assert answered == [{"a": 1, "b": 2}]

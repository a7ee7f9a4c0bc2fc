"""Slow, broken and hostile clients on real sockets: others are answered, and nothing is left."""

import asyncio
import gc
import json
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from eventually import eventually
from raw_http import Raw, Timers, connected

from daemon.sections import ServerSettings
from daemon.server.app import build_app
from daemon.server.bodies import json_body
from daemon.server.connections import WRITE_S, ConnectionLimits
from daemon.server.keys import KeyRing
from daemon.server.protection import Protection
from daemon.server.reports import Health, Phase, Status
from daemon.server.service import SideServer

HEADERS_S, MOST = 11.0, 8
GET = b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n"


class Idle:
    """A daemon with nothing to do."""

    def health(self) -> Health:
        return Health("all", Phase.SERVING, 0.1)

    def ready(self) -> tuple[bool, list[str]]:
        return True, []

    def status(self) -> Status:
        return Status(self.health(), "w", "0")

    def exposition(self) -> bytes:
        return b""


class Bench:
    """A server with routes to be hostile to, and what has become of them."""

    def __init__(self) -> None:
        self.timers = Timers()
        self.begun, self.cancelled = asyncio.Event(), asyncio.Event()
        self.side: SideServer

    @property
    def port(self) -> int:
        return self.side.port

    def server(self, keys: KeyRing | None = None, **settings: Any) -> SideServer:
        protection = Protection(ServerSettings(**settings), keys=keys)
        routes = [
            web.post("/echo", self.echo),
            web.get("/wait", self.wait),
            web.get("/flood", self.flood),
            web.get("/half", self.half),
        ]
        limits = ConnectionLimits(HEADERS_S, 75.0, MOST, self.timers.call_later)
        app = build_app(Idle(), protection=protection, routes=routes)
        self.side = SideServer(app, "127.0.0.1", 0, limits=limits)
        return self.side

    async def echo(self, request: web.Request) -> web.Response:
        self.begun.set()
        try:
            return web.json_response(await json_body(request))
        except asyncio.CancelledError:
            self.cancelled.set()
            raise

    async def wait(self, request: web.Request) -> web.Response:
        self.begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            self.cancelled.set()
        return web.Response()

    async def flood(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        try:
            while True:
                await response.write(b"x" * 2**16)
        finally:
            self.cancelled.set()

    async def half(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b"begun")
        raise ValueError("a defect in mid-answer")


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))  # noqa: PTH208 -- names of descriptors, not paths


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    """A bench; when the test is over no coroutine and no descriptor of it is left."""
    gc.collect()
    tasks, files = len(asyncio.all_tasks()), descriptors()
    bench = Bench()
    yield bench
    await eventually(lambda: len(asyncio.all_tasks()) <= tasks, what="no coroutine left")
    await eventually(lambda: descriptors() <= files, what="no descriptor left")


async def others_are_answered(bench: Bench) -> None:
    async with connected(bench.port) as other:
        await other.send(GET)
        assert (await other.answer())[0] == 200


async def alone(bench: Bench) -> None:
    await eventually(lambda: bench.side.connections == 0, what="no connection left")


def post(body: bytes, *lines: str, length: int | None = None) -> bytes:
    """Return a request whose length may be a lie."""
    said = len(body) if length is None else length
    head = ["POST /echo HTTP/1.1", "Host: x", f"Content-Length: {said}", *lines, "", ""]
    return "\r\n".join(head).encode() + body


@pytest.mark.parametrize("begin", [b"", b"G", b"GET /health HTTP/1.1\r\nHost: x\r\nX-A: "])
async def test_headers_that_never_end_are_cut_off(bench: Bench, begin: bytes) -> None:
    """However they trickle; others are answered meanwhile, and aren't cut off with them."""
    async with bench.server(), connected(bench.port) as slow, connected(bench.port) as idle:
        await slow.send(begin)
        await idle.send(GET)
        await idle.answer()
        await others_are_answered(bench)
        await eventually(lambda: len(bench.timers.pending(HEADERS_S)) == 1)

        assert bench.timers.fire(HEADERS_S) == 1

        assert await slow.rest() == b""
        await idle.send(GET)
        assert (await idle.answer())[0] == 200
    await alone(bench)


async def test_headers_of_a_later_request_have_a_deadline_too(bench: Bench) -> None:
    """It begins with their first byte: until then the connection is only idle."""
    async with bench.server(), connected(bench.port) as slow:
        await slow.send(GET)
        await slow.answer()
        assert bench.timers.pending(HEADERS_S) == []

        await slow.send(b"GET /hea")
        await eventually(lambda: bench.timers.pending(HEADERS_S))
        await slow.send(b"lth HTTP/1.1\r\n")
        assert bench.timers.fire(HEADERS_S) == 1

        assert await slow.rest() == b""


async def test_body_that_does_not_come_is_not_waited_for(bench: Bench) -> None:
    """408, and the connection is closed: what follows could be anything."""
    async with bench.server(body_timeout_s=0.05), connected(bench.port) as slow:
        await slow.send(post(b'{"a": ', length=100))

        assert await slow.failure() == (408, "REQUEST_TIMEOUT")
        await others_are_answered(bench)
    await alone(bench)


async def test_client_that_goes_in_mid_body_ends_its_handler(bench: Bench) -> None:
    """With the connection's end, not with a deadline."""
    async with bench.server():
        async with connected(bench.port) as raw:
            await raw.send(post(b'{"a": ', length=100))
            await asyncio.wait_for(bench.begun.wait(), 30)
        await alone(bench)
        await others_are_answered(bench)


async def test_client_that_goes_cancels_its_handler(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    """Nobody is left to work for; the log says so."""
    caplog.set_level("INFO", "daemon.server.access")
    async with bench.server():
        async with connected(bench.port) as raw:
            await raw.send(b"GET /wait HTTP/1.1\r\nHost: x\r\n\r\n")
            await asyncio.wait_for(bench.begun.wait(), 30)
        await asyncio.wait_for(bench.cancelled.wait(), 30)
        await alone(bench)

    [record] = [each for each in caplog.records if each.name == "daemon.server.access"]
    fields: dict[str, Any] = record.fields  # type: ignore[attr-defined]
    assert (fields["route"], fields["status"]) == ("/wait", 499)


async def test_half_closed_connection_is_a_gone_client(bench: Bench) -> None:
    """Who ends his sending side gets no answer: `docs/security.md` says so."""
    async with bench.server(), connected(bench.port) as raw:
        await raw.send(b"GET /wait HTTP/1.1\r\nHost: x\r\n\r\n")
        await asyncio.wait_for(bench.begun.wait(), 30)

        raw.writer.write_eof()

        await asyncio.wait_for(bench.cancelled.wait(), 30)
        assert await raw.rest() == b""
    await alone(bench)


@pytest.mark.parametrize(
    "garbage",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"\x00" * 200 + b"\r\n\r\n",
        b"hello\r\n\r\n",
        b"GET\r\n\r\n",
        b"GET /health HTTP/9.9\r\n\r\n",
        b"GET /health HTTP/1.1\r\nX-API-Key s3cret-7\r\n\r\n",
        b"GET /health HTTP/1.1\r\nX-API-Key: s3cret-7\x00\r\n\r\n",
        b"POST /echo HTTP/1.1\r\nContent-Length: many\r\n\r\n",
        b"POST /echo HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
        b"POST /echo HTTP/1.1\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{}",
        b"POST /echo HTTP/1.1\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n{}",
    ],
)
async def test_garbage_is_answered_in_the_one_shape(
    bench: Bench, garbage: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    """Nothing of it is sent back or logged: a key may be among it."""
    async with bench.server(), connected(bench.port) as raw:
        await raw.send(garbage)

        assert await raw.failure() == (400, "BAD_REQUEST")
        assert await raw.rest() == b""
        await others_are_answered(bench)
    assert caplog.text == ""


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (b"GET /" + b"x" * 9000 + b" HTTP/1.1\r\n\r\n", 431),
        (b"GET / HTTP/1.1\r\nX-A: " + b"x" * 9000 + b"\r\n\r\n", 431),
        (b"GET / HTTP/1.1\r\n" + b"X-A: x\r\n" * 200 + b"\r\n", 400),
    ],
    ids=["request line", "header", "headers"],
)
async def test_oversized_heads_are_refused(bench: Bench, request_bytes: bytes, status: int) -> None:
    """Before they are whole."""
    async with bench.server(), connected(bench.port) as raw:
        await raw.send(request_bytes)

        assert await raw.failure() == (status, "BAD_REQUEST")
        await others_are_answered(bench)
    await alone(bench)


async def test_broken_chunks_are_refused(bench: Bench) -> None:
    """A body whose coding is broken is the client's fault."""
    head = b"POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    async with bench.server(), connected(bench.port) as raw:
        await raw.send(head, b"2\r\n{}\r\n", b"not a length\r\n")

        assert await raw.failure() == (400, "BAD_REQUEST")
    await alone(bench)


async def test_pipelined_requests_are_answered_in_their_order(bench: Bench) -> None:
    """All of them, also more than are kept at once, with errors among them."""
    async with bench.server(), connected(bench.port) as raw:
        await raw.send(b"".join(post(str(number).encode()) for number in range(100)), GET)

        bodies = [(await raw.answer())[2] for _ in range(100)]
        assert bodies == [str(number).encode() for number in range(100)]
        assert (await raw.answer())[0] == 200


async def test_connections_are_bounded(bench: Bench) -> None:
    """Of a flood the rest is closed at once; those that stand go on, and places come back."""
    async with bench.server():
        async with connected(bench.port) as standing:
            flood = [connected(bench.port) for _ in range(MOST - 1)]
            for each in flood:
                await each.__aenter__()
            await eventually(lambda: bench.side.connections == MOST)
            for _ in range(20):
                async with connected(bench.port) as late:
                    assert await late.rest() == b""

            await standing.send(GET)
            assert (await standing.answer())[0] == 200
            await flood[0].__aexit__(None, None, None)
            await eventually(lambda: bench.side.connections == MOST - 1)
            await others_are_answered(bench)
            for each in flood[1:]:
                await each.__aexit__(None, None, None)
        await alone(bench)


@pytest.mark.parametrize(
    ("lines", "length", "expected"),
    [
        (["Expect: 100-continue"], 5000, (413, "PAYLOAD_TOO_LARGE")),
        ([], 5000, (413, "PAYLOAD_TOO_LARGE")),
        (["Expect: 100-continue", "X-API-Key: wrong"], 10, (401, "UNAUTHORIZED")),
        (["Expect: 100-continue", "Content-Type: text/plain"], 10, (415, "UNSUPPORTED_MEDIA_TYPE")),
    ],
)
async def test_refusal_comes_before_the_body(
    bench: Bench, lines: list[str], length: int, expected: tuple[int, str]
) -> None:
    """Nothing of it is asked for, and nothing need be sent."""
    if not any(line.startswith("X-API-Key") for line in lines):
        lines = [*lines, "X-API-Key: right"]
    keys = KeyRing([("web", "right")])
    async with bench.server(keys, max_body_bytes=2000), connected(bench.port) as raw:
        await raw.send(post(b"", *lines, length=length))

        assert await raw.failure() == expected


async def test_welcome_body_is_asked_for(bench: Bench) -> None:
    """`Expect: 100-continue` is answered when the handler wants the body."""
    async with bench.server(), connected(bench.port) as raw:
        await raw.send(post(b"", "Expect: 100-continue", length=2))
        assert (await raw.answer())[0] == 100

        await raw.send(b"17")

        assert (await raw.answer())[2] == b"17"


async def test_client_that_takes_nothing_is_cut_off(bench: Bench) -> None:
    """A full socket holds its handler for a while, not for ever."""
    async with bench.server(), connected(bench.port) as raw:
        await raw.send(b"GET /flood HTTP/1.1\r\nHost: x\r\n\r\n")
        await eventually(lambda: bench.timers.pending(WRITE_S))
        await others_are_answered(bench)

        bench.timers.fire(WRITE_S)

        await asyncio.wait_for(bench.cancelled.wait(), 30)
        await eventually(lambda: bench.side.connections == 0)


async def test_answer_that_fails_midway_is_broken_off(bench: Bench) -> None:
    """A second answer in it would be read as part of the first."""
    async with bench.server(), connected(bench.port) as raw:
        await raw.send(b"GET /half HTTP/1.1\r\nHost: x\r\n\r\n")

        answer = await raw.rest()

        assert answer.startswith(b"HTTP/1.1 200 ")
        assert answer.count(b"HTTP/1.1") == 1
        assert b"begun" in answer
        assert not answer.endswith(b"0\r\n\r\n")  # the end of a whole answer in chunks


async def test_file_of_keys_is_read_again_while_the_server_runs(
    bench: Bench, tmp_path: Path
) -> None:
    """The old key closes and the new one opens; connections stay."""
    file = tmp_path / "keys"
    file.write_text("web: first-key")
    keys = KeyRing((), file, look_every_s=0.01)

    async def status_of(raw: Raw, key: str) -> int:
        await raw.send(f"GET /status HTTP/1.1\r\nHost: x\r\nX-API-Key: {key}\r\n\r\n".encode())
        return (await raw.answer())[0]

    async with bench.server(keys), connected(bench.port) as raw:
        assert await status_of(raw, "first-key") == 200
        file.write_text("web: second-key")

        async def moved() -> bool:
            return await status_of(raw, "second-key") == 200

        # A guess too many would be answered with a pause; the right key before has spared it.
        await eventually(moved)
        assert await status_of(raw, "first-key") == 401


async def test_access_is_logged_with_what_was_sent(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    """Through aiohttp's own call, with the bytes of the answer, its head included."""
    caplog.set_level("INFO", "daemon.server.access")
    async with bench.server(), connected(bench.port) as raw:
        await raw.send(post(json.dumps("hello").encode(), "X-Request-Id: id-7"))
        _, headers, body = await raw.answer()
    await eventually(lambda: [r for r in caplog.records if r.name == "daemon.server.access"])

    [record] = [each for each in caplog.records if each.name == "daemon.server.access"]
    fields: dict[str, Any] = record.fields  # type: ignore[attr-defined]
    assert headers["x-request-id"] == "id-7"
    assert fields["seconds"] >= 0
    assert fields["bytes"] > len(body) + sum(map(len, headers))
    assert {key: fields[key] for key in fields if key not in {"seconds", "bytes"}} == {
        "caller": "anonymous", "client": "127.0.0.1", "method": "POST", "route": "/echo",
        "status": 200, "request_id": "id-7",
    }  # fmt: skip

"""Broken and oversized requests on real sockets: others are answered, and nothing is left."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from hostile_bench import GET, Bench, alone, nothing_left, others_are_answered, post
from raw_http import connected

from daemon.server.keys import KeyRing


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    """A bench of which nothing may be left."""
    async with nothing_left() as bench:
        yield bench


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


async def test_broken_compression_is_the_clients_fault(bench: Bench) -> None:
    """400, not a defect of the worker."""
    async with bench.server(), connected(bench.port) as raw:
        await raw.send(post(b"", "Content-Encoding: gzip", length=9))
        await asyncio.wait_for(bench.begun.wait(), 30)
        await raw.send(b"not gzip!")

        assert await raw.failure() == (400, "BAD_REQUEST")
        await others_are_answered(bench)
    await alone(bench)


async def test_chunks_that_break_are_waited_for_as_if_they_were_slow(bench: Bench) -> None:
    """Aiohttp doesn't tell the handler; the body's deadline ends it all the same."""
    head = b"POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    async with bench.server(body_timeout_s=0.5), connected(bench.port) as raw:
        await raw.send(head, b"2\r\n{}\r\n")
        await asyncio.wait_for(bench.begun.wait(), 30)
        await raw.send(b"not a length\r\n")

        assert await raw.failure() == (408, "REQUEST_TIMEOUT")
        await others_are_answered(bench)
    await alone(bench)


async def test_pipelined_requests_are_answered_in_their_order(bench: Bench) -> None:
    """All of them, also more than are kept at once, with errors among them."""
    async with bench.server(), connected(bench.port) as raw:
        await raw.send(b"".join(post(str(number).encode()) for number in range(100)), GET)

        bodies = [(await raw.answer())[2] for _ in range(100)]
        assert bodies == [str(number).encode() for number in range(100)]
        assert (await raw.answer())[0] == 200


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


async def test_answer_that_fails_midway_is_broken_off(bench: Bench) -> None:
    """A second answer in it would be read as part of the first."""
    async with bench.server(), connected(bench.port) as raw:
        await raw.send(b"GET /half HTTP/1.1\r\nHost: x\r\n\r\n")

        answer = await raw.rest()

        assert answer.startswith(b"HTTP/1.1 200 ")
        assert answer.count(b"HTTP/1.1") == 1
        assert b"begun" in answer
        assert not answer.endswith(b"0\r\n\r\n")  # the end of a whole answer in chunks

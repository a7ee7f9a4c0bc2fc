"""Slow and vanishing clients on real sockets: others are answered, and nothing is left."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from eventually import eventually
from hostile_bench import (
    GET,
    HEADERS_S,
    MOST,
    Bench,
    alone,
    nothing_left,
    others_are_answered,
    post,
)
from raw_http import Raw, connected

from daemon.server.connections import WRITE_S
from daemon.server.keys import KeyRing


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    """A bench of which nothing may be left."""
    async with nothing_left() as bench:
        yield bench


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

        status, headers, body = await slow.answer()
        assert (status, json.loads(body)["error_code"]) == (408, "REQUEST_TIMEOUT")
        assert headers["connection"] == "close"
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


async def test_client_that_takes_nothing_is_cut_off(bench: Bench) -> None:
    """A full socket holds its handler for a while, not for ever."""
    async with bench.server(), connected(bench.port) as raw:
        await raw.send(b"GET /flood HTTP/1.1\r\nHost: x\r\n\r\n")
        await eventually(lambda: bench.timers.pending(WRITE_S))
        await others_are_answered(bench)

        bench.timers.fire(WRITE_S)

        await asyncio.wait_for(bench.cancelled.wait(), 30)
        await eventually(lambda: bench.side.connections == 0)


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

"""The Realtime source against a server that misbehaves in every recorded way."""

import asyncio
import logging
from collections.abc import Iterator
from dataclasses import replace
from http import HTTPStatus
from urllib.parse import quote_plus

import pytest
from realtime_server import (
    CLIENT_WARNING,
    IMPATIENT,
    KEY,
    USUAL,
    Script,
    ScriptedServer,
    Session,
    good,
    refuses_the_join,
    running,
    scripted,
    unsafe_lines,
    woken,
)
from websockets.datastructures import Headers
from websockets.http11 import Response

pytestmark = pytest.mark.filterwarnings(CLIENT_WARNING)


@pytest.fixture
def wake() -> asyncio.Event:
    return asyncio.Event()


@pytest.fixture(autouse=True)
def nothing_shown(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """No test's log holds the key or a row, at any level."""
    caplog.set_level(logging.DEBUG)
    yield
    assert unsafe_lines(caplog.get_records("call")) == []


async def never_answers(session: Session) -> None:
    await session.joined()
    await session.hold()


async def finds_no_table(session: Session) -> None:
    await session.joined()
    await session.accept()
    await session.system("error", "Unable to subscribe to changes with given parameters")
    await session.hold()


async def hangs_up(session: Session) -> None:
    session.socket.transport.abort()


@pytest.mark.parametrize(
    ("script", "error"),
    [
        (never_answers, "not confirmed within 1.5 s, still connecting"),
        (refuses_the_join, "Unauthorized: no rights"),
        (finds_no_table, "Unable to subscribe to changes"),
        (hangs_up, "no close frame"),
    ],
)
async def test_tries_again_when_it_never_became_ready(
    script: Script, error: str, wake: asyncio.Event
) -> None:
    """Whatever fails before readiness, a new connection follows, and the old one is closed."""
    async with (
        scripted(script, script, good) as server,
        running(server, wake, IMPATIENT) as source,
    ):
        await woken(wake)
        for number in (1, 2):
            await (await server.session(number)).closed.wait()
        state = source.state()
    assert error in state["last_error"]
    assert (state["state"], state["generations"]) == ("ready", 3)


async def aborts(session: Session) -> None:
    session.socket.transport.abort()


def closes(code: int) -> Script:
    async def close(session: Session) -> None:
        await session.socket.close(code, "for the test")

    return close


async def reports_an_error(session: Session) -> None:
    await session.system("error", "Realtime was unable to connect to the tenant database")


async def expires(session: Session) -> None:
    await session.system("error", "Token has expired 0 seconds ago")
    await session.send("phx_close", {}, ref=session.join["ref"])


async def closes_the_channel(session: Session) -> None:
    await session.send("phx_close", {}, ref="stale")


async def crashes_the_channel(session: Session) -> None:
    await session.send("phx_error", {}, ref=session.join["ref"])


async def sends_too_much(session: Session) -> None:
    await session.send("broadcast", {"event": "e", "payload": {"text": "x" * 2**20}})


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param(aborts, id="1006"),
        *[pytest.param(closes(code), id=str(code)) for code in (1000, 1001, 1011, 1012)],
        reports_an_error,
        expires,
        closes_the_channel,
        crashes_the_channel,
        sends_too_much,
    ],
)
async def test_recovers_from_a_lost_connection(fault: Script, wake: asyncio.Event) -> None:
    """A ready connection ends in any way: a new one becomes ready, wakes, and hears changes."""
    async with scripted(good) as server, running(server, wake) as source:
        await woken(wake)
        first = await server.session(1)
        await fault(first)
        await woken(wake)
        await first.closed.wait()

        await (await server.session(2)).change()
        await woken(wake)

        state = source.state()
    assert (state["state"], state["generations"], state["hints"]) == ("ready", 2, 1)
    assert state["last_error"]
    assert server.sessions[0].topic != server.sessions[1].topic


async def test_says_why_the_handshake_was_refused(wake: asyncio.Event) -> None:
    """The server's own words reach the operator, and the key in the address doesn't."""
    async with scripted(good) as server:
        body = b'{"error":"bad"}'
        headers = Headers({"Content-Length": str(len(body))})
        server.refusals = [Response(HTTPStatus.UNAUTHORIZED, "Unauthorized", headers, body)]
        async with running(server, wake) as source:
            await woken(wake)
            error = source.state()["last_error"]
    assert "HTTP 401" in error
    assert '{"error":"bad"}' in error
    assert quote_plus(KEY) in server.paths[0]


async def test_waits_for_a_server_that_is_down(wake: asyncio.Event) -> None:
    """Refused connections are tried again for ever, and the server's return is found."""
    server = ScriptedServer(good)
    async with await server.listen():
        pass
    async with running(server, wake) as source:
        while source.state()["generations"] < 8:  # More than the client's own five tries.
            await asyncio.sleep(0)
        assert not source.ready
        async with await server.listen():
            await woken(wake)
            assert source.ready


async def test_ends_a_connection_on_which_nothing_is_heard(wake: asyncio.Event) -> None:
    """A server that answers no heartbeat is given up, though its socket is open."""

    async def falls_silent(session: Session) -> None:
        await session.joined()
        await session.accept()
        await session.confirm()
        await session.socket.wait_closed()

    times = replace(USUAL, silent_for_s=1.5)
    async with scripted(falls_silent, good) as server, running(server, wake, times) as source:
        await woken(wake)
        await (await server.session(2)).confirmed.wait()
        assert source.state()["last_error"] == "nothing heard for 1.5 s"


async def test_an_exception_in_a_callback_does_not_deafen(wake: asyncio.Event) -> None:
    """A callback that raises ends its connection at once instead of leaving it deaf."""

    class Raising(asyncio.Event):
        raised = 0

        def set(self) -> None:
            if self.raised < 2:
                self.raised += 1
                raise RuntimeError("for the test")
            super().set()

    raising = Raising()
    async with scripted(good) as server, running(server, raising) as source:
        await woken(raising)
        state = source.state()
    assert (state["generations"], state["state"]) == (3, "ready")
    assert state["last_error"] == "in a callback: RuntimeError: for the test"


async def test_notices_that_the_client_stopped_listening(wake: asyncio.Event) -> None:
    """The client's reading can die while its socket and heartbeat stay up."""
    async with scripted(good) as server, running(server, wake) as source:
        await woken(wake)
        source._serving._client._listen_task.cancel()
        await woken(wake)
        await (await server.session(1)).closed.wait()
        assert source.state()["last_error"] == "stopped listening"

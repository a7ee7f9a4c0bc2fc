"""The Realtime source against a scripted server that misbehaves in every recorded way."""

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from http import HTTPStatus
from typing import Any
from urllib.parse import quote_plus

import pytest
from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.datastructures import Headers
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

from daemon.wakeups.backoff import Backoff
from daemon.wakeups.generation import GenerationTimes
from daemon.wakeups.realtime import BroadcastSource, RealtimeSource

# The client logs a closed connection through an attribute that websockets has deprecated.
pytestmark = pytest.mark.filterwarnings(
    "ignore:ConnectionClosed.(code|reason) is deprecated:DeprecationWarning"
)

KEY = "sb_secret_do+not/show=this"
FAST = GenerationTimes(
    ready_within_s=0.3, silent_for_s=30, wake_again_s=30, close_within_s=0.3, stop_within_s=0.3
)


class Session:
    """The server's side of one connection, frames as the recorded server sends them."""

    def __init__(self, socket: ServerConnection) -> None:
        self.socket = socket
        self.join: dict[str, Any] = {}
        self.confirmed = asyncio.Event()
        self.heartbeats = 0
        self.closed = asyncio.Event()

    async def send(self, event: str, payload: Any, **more: Any) -> None:
        await self.socket.send(
            json.dumps(
                {"ref": None, "event": event, "payload": payload, "topic": self.topic} | more,
                separators=(",", ":"),
            )
        )

    @property
    def topic(self) -> str:
        return self.join["topic"] if self.join else "phoenix"

    async def joined(self) -> None:
        """Read on until the client joins."""
        while not self.join:
            await self.read()

    async def read(self) -> None:
        frame = json.loads(await self.socket.recv())
        if frame["event"] == "phx_join":
            self.join = frame
        elif frame["event"] == "heartbeat":
            self.heartbeats += 1
            answer = {"status": "ok", "response": {}}
            await self.send("phx_reply", answer, topic="phoenix")

    async def accept(self) -> None:
        changes = [
            {"id": number, **binding}
            for number, binding in enumerate(self.join["payload"]["config"]["postgres_changes"])
        ]
        answer = {"status": "ok", "response": {"postgres_changes": changes}}
        await self.send("phx_reply", answer, ref=self.join["ref"])

    async def system(self, status: str, message: str, extension: str = "postgres_changes") -> None:
        channel = self.topic.removeprefix("realtime:")
        await self.send(
            "system",
            {
                "channel": channel,
                "extension": extension,
                "message": message,
                "status": status,
            },
        )

    async def confirm(self) -> None:
        await self.system("ok", "Subscribed to PostgreSQL")
        self.confirmed.set()

    async def change(self, **data: Any) -> None:
        record = {"id": "241abfa6-2fb4-4ccd-bcb8-4d03fb1e3d4f", "status": "queued"}
        insert: dict[str, Any] = {
            "table": "jobs",
            "type": "INSERT",
            "record": record,
            "columns": [{"name": "id", "type": "uuid"}, {"name": "status", "type": "text"}],
            "errors": None,
            "schema": "public",
            "commit_timestamp": "2026-11-22T21:39:19.323Z",
        }
        await self.send("postgres_changes", {"data": insert | data, "ids": [0]})

    async def hold(self) -> None:
        """Answer heartbeats until the connection ends."""
        with suppress(ConnectionClosed):
            while True:
                await self.read()


Script = Callable[[Session], Awaitable[None]]


async def good(session: Session) -> None:
    await session.joined()
    await session.accept()
    await session.confirm()
    await session.hold()


class ScriptedServer:
    """Plays one script per connection, the last one for all further ones."""

    def __init__(self, *scripts: Script) -> None:
        self.scripts = scripts
        self.sessions: list[Session] = []
        self.refusals: list[Response] = []
        self.paths: list[str] = []
        self.port = 0
        self._changed = asyncio.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def session(self, number: int) -> Session:
        """Wait for the nth connection, from 1."""
        while len(self.sessions) < number:
            self._changed.clear()
            await self._changed.wait()
        return self.sessions[number - 1]

    async def listen(self) -> Server:
        server = await serve(
            self._play, "127.0.0.1", self.port, process_request=self._refuse, max_size=None
        )
        self.port = next(iter(server.sockets)).getsockname()[1]
        return server

    def _refuse(self, _socket: ServerConnection, request: Request) -> Response | None:
        self.paths.append(request.path)
        return self.refusals.pop(0) if self.refusals else None

    async def _play(self, socket: ServerConnection) -> None:
        session = Session(socket)
        self.sessions.append(session)
        self._changed.set()
        script = self.scripts[min(len(self.sessions), len(self.scripts)) - 1]
        with suppress(ConnectionClosed):
            await script(session)
        await socket.wait_closed()
        session.closed.set()


@asynccontextmanager
async def scripted(*scripts: Script) -> AsyncIterator[ScriptedServer]:
    server = ScriptedServer(*scripts)
    async with await server.listen():
        yield server


@asynccontextmanager
async def running(
    server: ScriptedServer,
    wake: asyncio.Event,
    times: GenerationTimes = FAST,
    recycle_after_s: float = 3600,
) -> AsyncIterator[RealtimeSource]:
    source = RealtimeSource(
        server.url,
        KEY,
        recycle_after_s=recycle_after_s,
        times=times,
        backoff=Backoff(lambda: 0.5, first_s=0.01, cap_s=0.02),
        random=lambda: 0.5,
    )
    async with living(source, wake):
        yield source


@asynccontextmanager
async def living(source: RealtimeSource, wake: asyncio.Event) -> AsyncIterator[None]:
    life = asyncio.create_task(source.run(wake))
    try:
        yield
        assert not life.done()
    finally:
        life.cancel()
        await asyncio.wait({life})
    assert life.cancelled()


async def woken(wake: asyncio.Event) -> None:
    async with asyncio.timeout(10):
        await wake.wait()
    wake.clear()


@pytest.fixture
def wake() -> asyncio.Event:
    return asyncio.Event()


@pytest.fixture(autouse=True)
def nothing_shown(caplog: pytest.LogCaptureFixture) -> AsyncIterator[None]:
    """No log line at any level holds the key or a row, and asyncio has nothing to complain of."""
    caplog.set_level(logging.DEBUG)
    yield
    ours = [r for r in caplog.get_records("call") if not r.name.startswith("websockets.server")]
    text = "\n".join(record.getMessage() for record in ours)
    for spelling in (KEY, quote_plus(KEY), "241abfa6-2fb4"):
        assert spelling not in text
    complaints = [r for r in ours if r.name == "asyncio" and r.levelno >= logging.WARNING]
    assert complaints == []


async def test_wakes_when_confirmed_and_at_each_change(wake: asyncio.Event) -> None:
    """The confirmation wakes, for what came before it; then each change does."""
    async with scripted(good) as server, running(server, wake) as source:
        await woken(wake)
        assert source.ready

        await (await server.session(1)).change()
        await woken(wake)

        state = source.state()
    assert (state["name"], state["state"], state["hints"]) == ("realtime", "ready", 1)
    assert (state["generations"], state["last_error"]) == (1, None)


async def test_asks_for_rows_that_become_queued(wake: asyncio.Event) -> None:
    """New rows and re-queued rows, filtered by the server, without their content."""
    async with scripted(good) as server, running(server, wake):
        await woken(wake)
        join = (await server.session(1)).join

    queued = {
        "schema": "public",
        "table": "jobs",
        "filter": "status=eq.queued",
        "select": ["id"],
    }
    assert join["payload"]["config"]["postgres_changes"] == [
        {"event": "INSERT"} | queued,
        {"event": "UPDATE"} | queued,
    ]
    assert join["payload"]["access_token"] == KEY
    assert len(join["topic"]) > len("realtime:ourvidz-jobs-")


async def test_a_broadcast_is_a_hint(wake: asyncio.Event) -> None:
    """The trigger's private topic: ready when the server says that it delivers, then hints."""

    async def broadcasts(session: Session) -> None:
        await session.joined()
        await session.accept()
        message = "Replication connection established"
        await session.system("ok", message, extension="system")
        session.confirmed.set()
        await session.hold()

    async with scripted(broadcasts) as server:
        source = BroadcastSource(server.url, KEY, recycle_after_s=3600, times=FAST)
        async with living(source, wake):
            await woken(wake)
            assert source.ready
            session = await server.session(1)
            hint = {"event": "wake", "payload": {}, "type": "broadcast"}
            await session.send("broadcast", hint)
            await woken(wake)

            assert source.state()["name"] == "broadcast"
            assert source.state()["hints"] == 1
    assert session.join["topic"] == "realtime:ourvidz:jobs"
    config = session.join["payload"]["config"]
    assert (config["private"], config["broadcast"]["replication_ready"]) == (True, True)


async def test_a_change_with_an_error_is_a_hint_too(wake: asyncio.Event) -> None:
    """The client drops a change that the key may not read; it still says that there is one."""
    async with scripted(good) as server, running(server, wake):
        await woken(wake)
        denied = {"errors": ["Error 401: Unauthorized"], "commit_timestamp": None, "record": {}}
        await (await server.session(1)).change(**denied)
        await woken(wake)


async def test_wakes_again_after_a_confirmation(wake: asyncio.Event) -> None:
    """The server may confirm before its replication slot exists, so one look isn't enough."""
    times = GenerationTimes(wake_again_s=0.05)
    async with scripted(good) as server, running(server, wake, times):
        await woken(wake)
        await woken(wake)


async def test_wakes_at_an_unasked_second_confirmation(wake: asyncio.Event) -> None:
    """The server confirms again after it rebuilt its side; rows between went unannounced."""
    async with scripted(good) as server, running(server, wake) as source:
        await woken(wake)
        await (await server.session(1)).confirm()
        await woken(wake)
        assert source.state()["generations"] == 1


async def test_joined_is_not_ready(wake: asyncio.Event) -> None:
    """A reply to the join proves nothing: without a confirmation the connection is given up."""

    async def unconfirmed(session: Session) -> None:
        await session.joined()
        await session.accept()
        await session.hold()

    async with scripted(unconfirmed, good) as server, running(server, wake) as source:
        await (await server.session(1)).closed.wait()
        await woken(wake)
        assert source.state()["last_error"] == "not confirmed within 0.3 s, still joined"
        assert source.state()["generations"] == 2


async def never_answers(session: Session) -> None:
    await session.joined()
    await session.hold()


async def refuses_the_join(session: Session) -> None:
    await session.joined()
    error = {"status": "error", "response": {"reason": "Unauthorized: no rights"}}
    await session.send("phx_reply", error, ref=session.join["ref"])
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
        (never_answers, "not confirmed within 0.3 s, still connecting"),
        (refuses_the_join, "Unauthorized: no rights"),
        (finds_no_table, "Unable to subscribe to changes"),
        (hangs_up, "no close frame"),
    ],
)
async def test_tries_again_when_it_never_became_ready(
    script: Script, error: str, wake: asyncio.Event
) -> None:
    """Whatever fails before readiness, a new connection follows, and the old one is closed."""
    async with scripted(script, script, good) as server, running(server, wake) as source:
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

    times = GenerationTimes(silent_for_s=0.1, wake_again_s=30)
    async with scripted(falls_silent, good) as server, running(server, wake, times) as source:
        await woken(wake)
        await (await server.session(2)).confirmed.wait()
        assert source.state()["last_error"] == "nothing heard for 0.1 s"


async def test_replies_to_heartbeats_are_life(wake: asyncio.Event) -> None:
    """A quiet table is no dead connection: replies to heartbeats keep it."""
    replies = 30

    async def answers(session: Session) -> None:
        await session.joined()
        await session.accept()
        await session.confirm()
        for _ in range(replies):
            await asyncio.sleep(0.02)
            answer = {"status": "ok", "response": {}}
            await session.send("phx_reply", answer, topic="phoenix")
        await session.change()
        await session.hold()

    times = GenerationTimes(silent_for_s=0.3, wake_again_s=30)
    async with scripted(answers) as server, running(server, wake, times) as source:
        await woken(wake)
        await woken(wake)
        assert source.state()["generations"] == 1


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


async def test_replaces_an_old_connection_without_a_gap(wake: asyncio.Event) -> None:
    """At the age limit the next connection is ready before the old one is closed."""
    open_at_confirmation = []

    async def watches(session: Session) -> None:
        await session.joined()
        await session.accept()
        open_at_confirmation.append([not other.closed.is_set() for other in server.sessions])
        await session.confirm()
        await session.hold()

    async with scripted(watches) as server, running(server, wake, recycle_after_s=0.1) as source:
        for _ in range(3):
            await woken(wake)
            assert source.ready
        await (await server.session(2)).closed.wait()
    assert open_at_confirmation[1] == [True, True]
    assert open_at_confirmation[2][1:] == [True, True]


async def test_keeps_the_old_connection_while_no_new_one_is_ready(wake: asyncio.Event) -> None:
    """A replacement that fails costs nothing: the old connection goes on serving."""
    async with (
        scripted(good, refuses_the_join, refuses_the_join, good) as server,
        running(server, wake, recycle_after_s=0.05) as source,
    ):
        await woken(wake)
        await (await server.session(3)).closed.wait()
        first = await server.session(1)
        assert source.ready
        assert not first.closed.is_set()

        await first.change()
        await woken(wake)
        await (await server.session(4)).confirmed.wait()
        await first.closed.wait()


async def test_a_doubted_connection_is_replaced(wake: asyncio.Event) -> None:
    """Whoever finds a row that was never announced can have the connection replaced."""
    async with scripted(good) as server, running(server, wake) as source:
        await woken(wake)
        source.doubt("a row waited 4 s unannounced")
        assert not source.ready
        await woken(wake)
        assert source.state()["last_error"] == "doubted: a row waited 4 s unannounced"
        assert source.state()["generations"] == 2


async def test_late_words_of_an_ended_connection_are_ignored(wake: asyncio.Event) -> None:
    """What a connection says after its end sets nothing and counts nothing."""
    async with scripted(good) as server, running(server, wake) as source:
        await woken(wake)
        ended = source._serving
        source.doubt("for the test")
        await woken(wake)

        ended._heard('{"event":"postgres_changes"}')
        ended._guarded(ended._on_system)(object())

        assert not wake.is_set()
        assert source.state()["hints"] == 0

"""The Realtime source while all is well: readiness, hints, and replacement without a gap."""

import asyncio
import logging
from collections.abc import Iterator
from dataclasses import replace

import pytest
from realtime_server import (
    CLIENT_WARNING,
    CREDENTIALS,
    IMPATIENT,
    TOKEN,
    USUAL,
    Session,
    good,
    living,
    refuses_the_join,
    running,
    scripted,
    unsafe_lines,
    woken,
)

from daemon.wakeups.generation import GenerationTimes
from daemon.wakeups.realtime import BroadcastSource

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
    """New rows and re-queued rows, filtered by the server, without their content; the canary."""
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
        {
            "event": "UPDATE",
            "schema": "public",
            "table": "ourvidz_canary",
            "select": ["id", "serial"],
        },
    ]
    assert join["payload"]["access_token"] == TOKEN
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
        source = BroadcastSource(server.url, CREDENTIALS, recycle_after_s=3600, times=USUAL)
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

    async with scripted(unconfirmed, good) as server, running(server, wake, IMPATIENT) as source:
        await (await server.session(1)).closed.wait()
        await woken(wake)
        assert source.state()["last_error"] == "not confirmed within 1.5 s, still joined"
        assert source.state()["generations"] == 2


async def test_replies_to_heartbeats_are_life(wake: asyncio.Event) -> None:
    """A quiet table is no dead connection: replies to heartbeats keep it."""
    replies = 60

    async def answers(session: Session) -> None:
        await session.joined()
        await session.accept()
        await session.confirm()
        for _ in range(replies):
            await asyncio.sleep(0.05)
            answer = {"status": "ok", "response": {}}
            await session.send("phx_reply", answer, topic="phoenix")
        await session.change()
        await session.hold()

    times = replace(USUAL, silent_for_s=2)
    async with scripted(answers) as server, running(server, wake, times) as source:
        await woken(wake)
        await woken(wake)
        assert source.state()["generations"] == 1


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

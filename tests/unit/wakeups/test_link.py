"""A connection's states, the delays between connections, and what may be shown of them."""

from itertools import product

import pytest

from daemon.wakeups.backoff import Backoff
from daemon.wakeups.link import TRANSITIONS, Link, LinkEvent, LinkState
from daemon.wakeups.redaction import error_text, redact, secrets_of


def test_every_state_takes_every_event() -> None:
    """No word of a server, however late, can find the machine without an answer."""
    assert set(TRANSITIONS) == set(product(LinkState, LinkEvent))


def test_a_connection_becomes_ready_by_the_confirmation_alone() -> None:
    """The reply to the join isn't readiness."""
    link = Link(now=0)
    link.move(LinkEvent.JOINED, now=1)
    assert not link.ready

    link.move(LinkEvent.CONFIRMED, now=2)

    assert link.ready
    assert link.ready_for(now=5) == 3


def test_an_ended_connection_stays_ended() -> None:
    """A late confirmation doesn't revive what was given up."""
    link = Link(now=0)
    link.move(LinkEvent.ENDED, now=1)

    link.move(LinkEvent.JOINED, now=2)
    link.move(LinkEvent.CONFIRMED, now=3)

    assert (link.state, link.since, link.ready_for(now=9)) == (LinkState.BACKING_OFF, 1, 0)


def test_a_second_confirmation_keeps_the_time_of_the_first() -> None:
    """Health counts from when the connection became ready."""
    link = Link(now=0)
    link.move(LinkEvent.CONFIRMED, now=2)
    link.move(LinkEvent.CONFIRMED, now=30)
    assert link.ready_for(now=40) == 38


def test_delays_are_full_jitter_up_to_a_cap() -> None:
    """The upper end doubles with each failure; the delay is anywhere below it."""
    highest = Backoff(lambda: 1.0)
    assert [highest.delay_after(0) for _ in range(7)] == [1, 2, 4, 8, 15, 15, 15]
    lowest = Backoff(lambda: 0.0)
    assert [lowest.delay_after(0) for _ in range(3)] == [0, 0, 0]


def test_only_health_starts_the_delays_anew() -> None:
    """A server that accepts and drops at once is called less and less often."""
    backoff = Backoff(lambda: 1.0)
    assert [backoff.delay_after(ready) for ready in (0, 29, 29, 30, 0)] == [1, 2, 4, 1, 2]


@pytest.mark.parametrize(
    "text",
    [
        "wss://x.supabase.co/realtime/v1/websocket?apikey=sb_k%2Fe%3Dy&vsn=1.0.0 isn't a valid URI",
        "wss://x.supabase.co/realtime/v1/websocket?vsn=1.0.0&apikey=sb_k/e=y",
        "the key sb_k/e=y is wrong",
        "apikey=another-one",
    ],
)
def test_no_spelling_of_a_key_is_shown(text: str) -> None:
    """The key travels in the websocket's address, and some exceptions quote the address."""
    shown = redact(text, "sb_k/e=y")
    assert "[redacted]" in shown
    for secret in ("sb_k/e=y", "sb_k%2Fe%3Dy", "sb_k", "another-one"):
        assert secret not in shown


def test_neither_dsn_nor_password_is_shown() -> None:
    """Messages of the database driver may quote its connection string, or the password."""
    dsn = "postgres://worker:p%40ss@db.example.org:5432/postgres"
    shown = redact(f"can't parse {dsn}; bad password p@ss or p%40ss", *secrets_of(dsn))
    assert shown == "can't parse [redacted]; bad password [redacted] or [redacted]"


def test_an_unreadable_dsn_is_hidden_whole() -> None:
    """What can't be taken apart isn't shown in parts."""
    dsn = "postgres://worker:secret@[::1/postgres"
    assert redact(f"bad: {dsn}", *secrets_of(dsn)) == "bad: [redacted]"


def test_errors_are_one_short_line() -> None:
    """A page of a proxy doesn't fill the status."""
    shown = error_text(ValueError("first\nsecond " + "x" * 1000))
    assert shown.startswith("ValueError: first second xxx")
    assert len(shown) == 300


def test_an_error_without_words_shows_its_name() -> None:
    """A timeout has no text of its own."""
    assert error_text(TimeoutError()) == "TimeoutError"


def test_the_servers_answer_is_part_of_the_error() -> None:
    """A refused handshake says why in its body."""

    class RefusedError(Exception):
        class response:  # noqa: N801  as websockets' exception has it
            body = bytearray(b'{"error":"Token has expired"}')

    assert error_text(RefusedError("HTTP 401")).endswith('HTTP 401: {"error":"Token has expired"}')

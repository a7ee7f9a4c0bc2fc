"""What a source has heard, and what that proves. Time is given."""

from daemon.wakeups.link import Link, LinkEvent
from daemon.wakeups.record import SourceRecord


def ready_link(since: float) -> Link:
    link = Link(now=0)
    link.move(LinkEvent.CONFIRMED, now=since)
    return link


def test_the_state_is_shown_with_its_age() -> None:
    """An operator reads seconds, not readings of a clock."""
    record = SourceRecord("realtime", hints=2, generations=1)
    record.hint(now=11)
    record.took(0.25)

    assert record.state(Link(now=10), now=12.5) == {
        "name": "realtime",
        "state": "connecting",
        "ready": False,
        "since": 2.5,
        "hints": 3,
        "last_proof_s": 1.5,
        "canary_delay_s": 0.25,
        "canaries": 0,
        "missed_canaries": 0,
        "missed_hints": 0,
        "doubts": 0,
        "generations": 1,
        "last_error": None,
    }


def test_nothing_heard_is_no_proof() -> None:
    """The other side's word that it announces rows isn't enough."""
    assert not SourceRecord("realtime").proven(ready_link(since=1), now=2, holds_s=60)


def test_hints_and_canaries_prove() -> None:
    """Both came the whole way."""
    hinted, sung = SourceRecord("a"), SourceRecord("b")
    hinted.hint(now=5)
    sung.canary(1, now=5)

    assert hinted.proven(ready_link(since=1), now=6, holds_s=60)
    assert sung.proven(ready_link(since=1), now=6, holds_s=60)


def test_a_proof_belongs_to_its_connection() -> None:
    """What an earlier connection heard says nothing about this one."""
    record = SourceRecord("realtime")
    record.canary(1, now=5)

    assert not record.proven(ready_link(since=8), now=9, holds_s=60)


def test_a_proof_grows_old() -> None:
    """A source that has been silent for too long isn't proven any more."""
    record = SourceRecord("realtime")
    record.canary(1, now=5)

    assert record.proven(ready_link(since=1), now=65, holds_s=60)
    assert not record.proven(ready_link(since=1), now=65.1, holds_s=60)


def test_a_lost_connection_isnt_proven() -> None:
    """Whatever it heard before."""
    record, link = SourceRecord("realtime"), ready_link(since=1)
    record.canary(1, now=5)
    link.move(LinkEvent.ENDED, now=6)

    assert not record.proven(link, now=6, holds_s=60)


def test_a_canary_counts_once() -> None:
    """A connection and its successor hear the same one while both live."""
    record, news = SourceRecord("realtime"), []
    record.heard_canary = lambda: news.append(1)
    record.canary(7, now=1)
    record.canary(7, now=2)

    assert (record.canaries, record.heard_at(7), len(news)) == (1, 1, 1)
    assert record.heard_at(8) is None


def test_old_canaries_are_forgotten() -> None:
    """A worker runs for months."""
    record = SourceRecord("realtime")
    for serial in range(1000):
        record.canary(serial, now=serial)

    assert record.heard_at(999) == 999
    assert record.heard_at(900) is None


def test_the_delay_is_the_middle_of_the_last_hundred() -> None:
    """One slow canary doesn't change it; a negative one is a clock's reading, not a delay."""
    record = SourceRecord("realtime")
    assert record.delay_s is None
    for delay in (-1.0, 0.3, 20.0):
        record.took(delay)
    assert record.delay_s == 0.3
    for _ in range(100):
        record.took(-1.0)
    assert record.delay_s == 0.0

"""Lanes: order, leaving from the middle, and that withdrawn entries don't pile up."""

import pytest
from virtual_gpu import CHAT, SDXL, request

from daemon.scheduling.lanes import Lane


def lane() -> Lane:
    return Lane(CHAT, CHAT.qualities["fast"], interactive=False)


def test_withdrawn_requests_leave_no_pile() -> None:
    """A thousand come and go behind one that waits: the heap stays small."""
    one = lane()
    one.add(request("first", "chat"), 0)
    for number in range(1000):
        one.remove(one.add(request(f"{number}", "chat", at=1), 0))

    assert [each.request.id for each in one] == ["first"]
    assert len(one._heap) < 50


def test_the_head_skips_who_has_left() -> None:
    """The oldest that still waits."""
    one = lane()
    oldest = one.add(request("oldest", "chat", at=1), 0)
    one.add(request("next", "chat", at=2), 0)
    one.remove(oldest)

    assert one.head().request.id == "next"


def test_being_passed_over_begins_with_the_first_to_wait_or_the_last_end() -> None:
    """Whichever was later; who waits behind a run isn't passed over."""
    one = lane()
    one.add(request("a", "chat"), 5)
    one.add(request("b", "chat"), 7)
    assert one.since_s == 5
    one.run_started()
    one.run_ended(9)

    assert one.since_s == 9


def test_the_order_is_priority_then_fair_tag_then_age_then_arrival() -> None:
    """Each decides only between those that the ones before leave equal."""
    one = lane()
    for name, priority, tag, at in [
        ("later", 0, 1.0, 5),
        ("last", 0, 1.0, 5),
        ("older", 0, 1.0, 4),
        ("fairer", 0, 0.5, 9),
        ("urgent", 2, 9.0, 9),
        ("patient", -1, 0.0, 0),
    ]:
        one.add(request(name, "chat", at=at, priority=priority), 9, tag)
    order = []
    while one.waiting:
        head = one.head()
        order.append(head.request.id)
        one.remove(head)

    assert order == ["urgent", "fairer", "older", "later", "last", "patient"]


@pytest.mark.parametrize(("waiting", "rounds"), [(1, 1), (2, 1), (3, 2), (4, 2)])
def test_waiting_work_is_served_in_rounds(waiting: int, rounds: int) -> None:
    """SDXL's fast quality runs two at once; the last slot may stay empty."""
    one = Lane(SDXL, SDXL.qualities["fast"], interactive=False)
    for number in range(waiting):
        one.add(request(f"{number}", "sdxl"), 0)
    piece = one.piece(10.0)

    assert (piece.weight, piece.seconds) == (waiting, 10.0 * rounds)
    assert piece.rate == waiting / (10.0 * rounds)


def test_work_in_the_table_counts_as_work() -> None:
    """It comes as soon as it is asked for."""
    one = Lane(SDXL, SDXL.qualities["fast"], interactive=False)
    one.add(request("a", "sdxl"), 0)
    assert one.piece(10.0).seconds == 10
    one.unclaimed = 5

    assert (one.backlog, one.piece(10.0).weight, one.piece(10.0).seconds) == (6, 6, 30)
    assert one.piece(20.0).seconds == 60


def test_a_request_waits_on_the_clock_of_its_lane() -> None:
    """From what it showed when it came."""
    one = lane()
    early, late = one.add(request("a", "chat"), 10), one.add(request("b", "chat"), 15)

    assert (early.waits(20).queue, late.waits(20).queue) == (10, 5)


def test_a_priority_weighs_only_while_its_request_is_first_in_line() -> None:
    """Ten times at 100, a tenth at -100; who comes after it weighs as ever."""
    one = lane()
    one.add(request("a", "chat"), 0)
    usual = one.piece(10).weight
    urgent = one.add(request("b", "chat", priority=100), 0)
    assert one.piece(10).weight == pytest.approx(2 * 10 * usual)
    one.remove(urgent)

    assert one.piece(10).weight == usual
    assert one._prioritised == 0

"""Lanes: order, leaving from the middle, and that withdrawn entries don't pile up."""

from virtual_gpu import CHAT, request

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

"""Fairness among users: seconds of a device count, not jobs; and who caused a load pays for it."""

import pytest
from virtual_gpu import SDXL, VIDEO, VirtualGpu, device, request, started, warm

from daemon.scheduling.fairness import _MANY, FairShares
from daemon.scheduling.scheduler import Scheduler
from daemon.values import Loaded


def test_a_thousand_jobs_of_one_user_do_not_delay_anothers_first() -> None:
    """It starts as soon as the run that is going on has ended."""
    gpu = warm("video")
    for number in range(1000):
        gpu.submit(request(f"m{number}", "video", user="many", at=1000), run_s=10)
    gpu.submit(request("one", "video", user="few", at=1000), run_s=10)
    gpu.advance(1025)

    assert gpu.started["one"] == 1010


def test_users_share_by_seconds_and_not_by_jobs() -> None:
    """A job that takes twice as long counts as two."""
    shares = FairShares()
    short = [shares.tag("short", 5) for _ in range(4)]
    long = [shares.tag("long", 10) for _ in range(2)]

    assert short == [0, 5, 10, 15]
    assert long == [0, 10]


def test_whoever_comes_late_has_saved_up_nothing() -> None:
    """The first job of a newcomer begins where the queue has come to."""
    shares = FairShares()
    for _ in range(10):
        shares.started(shares.tag("old", 10))

    assert shares.tag("new", 10) == 90


def test_jobs_of_nobody_are_in_the_order_of_their_age() -> None:
    """Rows without a user don't count as one user's."""
    gpu = warm("video")
    for name, at in [("running", 0), ("c", 3), ("a", 1), ("b", 2)]:
        gpu.submit(request(name, "video", at=at))
    gpu.finish()

    assert started(gpu) == ["running", "a", "b", "c"]


def test_two_users_take_turns() -> None:
    """However many each has put into the queue at once."""
    gpu = warm("video")
    for number in range(3):
        gpu.submit(request(f"a{number}", "video", user="a", at=1000))
    for number in range(3):
        gpu.submit(request(f"b{number}", "video", user="b", at=1000))
    gpu.finish()

    assert started(gpu) == ["a0", "b0", "a1", "b1", "a2", "b2"]


def test_priority_goes_before_fairness_and_age() -> None:
    """Within a lane; no run is stopped for it."""
    gpu = warm("video")
    gpu.submit(request("running", "video", user="a"))
    gpu.submit(request("old", "video", user="b", at=1))
    gpu.submit(request("urgent", "video", user="a", at=999, priority=1))
    gpu.finish()

    assert started(gpu) == ["running", "urgent", "old"]


def test_priority_does_not_reach_into_other_lanes() -> None:
    """A row of high priority doesn't go before a client that waits."""
    gpu = warm("video")
    gpu.submit(request("running", "video"))
    gpu.submit(request("row", "video", priority=9, at=1))
    gpu.submit(request("client", "video", interactive=True, at=900))
    gpu.finish()

    assert started(gpu) == ["running", "client", "row"]


def test_a_load_is_charged_to_who_caused_it() -> None:
    """His next job comes after those of somebody who has caused none."""
    one = Scheduler([VIDEO], [device(24)], max_pass_over_s=60)
    one.submit(request("a0", "video", user="a"), 0)
    one.load_done("video", 0, Loaded(VIDEO.weights_bytes, 0.0), 10)
    one.submit(request("a1", "video", user="a", at=11), 11)
    one.submit(request("b0", "video", user="b", at=12), 12)
    one.submit(request("b1", "video", user="b", at=12), 12)
    order = []
    for name in ("a0", "b0", "b1"):
        order += [each.request_id for each in one.run_ended(name, 20)]

    assert order == ["b0", "b1", "a1"]


@pytest.mark.parametrize("user", [None, "a"])
def test_who_pays_for_loads_and_who_cannot(user: str | None) -> None:
    """A load is charged in the seconds that it takes; nobody's is charged to nobody."""
    shares = FairShares()
    shares.charge(user, 8)

    assert shares.tag("a", 1) == (8 if user else 0)


def test_what_the_table_is_told_that_users_owe() -> None:
    """Loads that they caused, and runs that took longer than their kind does; each once."""
    one = Scheduler([VIDEO], [device(24)], max_pass_over_s=60)
    usual_s, load_s = VIDEO.qualities["fast"].run_s, VIDEO.load_s
    one.submit(request("a0", "video", user="a"), 0)
    one.load_done("video", 0, Loaded(VIDEO.weights_bytes, 0.0), 10)
    assert one.take_charges() == {"a": load_s}

    one.run_ended("a0", 10 + 1.05 * usual_s)
    now = 10 + 1.05 * usual_s
    for name, user in (("b0", "b"), ("nobody", None)):
        one.submit(request(name, "video", user=user, at=now), now)
        one.run_ended(name, now := now + 3 * usual_s)

    assert one.take_charges() == {"b": pytest.approx(2 * usual_s)}
    assert one.take_charges() == {}


def test_what_is_owed_is_bounded() -> None:
    """Where nobody asks for it, it doesn't grow; who is in it already goes on owing."""
    shares = FairShares()
    for number in range(2 * _MANY):
        shares.charge(f"user {number}", 1.0)
    shares.owe("user 0", 2.0)
    owed = shares.take_owed()

    assert len(owed) == _MANY
    assert owed["user 0"] == 3


def test_users_with_nothing_outstanding_are_forgotten() -> None:
    """A million users in a year are no million entries."""
    shares = FairShares()
    for number in range(3 * _MANY):
        shares.started(shares.tag(f"user {number}", 1.0) + number)

    assert len(shares._finish_s) <= _MANY + 1
    assert shares.tag("user 0", 1.0) == shares._virtual_s


def test_a_small_job_runs_beside_a_large_one_when_bytes_allow() -> None:
    """A chat doesn't wait for the video that was there first, nor for the second one."""
    gpu = warm("video", "chat")
    gpu.submit(request("v0", "video", at=1000), run_s=100)
    gpu.submit(request("v1", "video", at=1000), run_s=100)
    gpu.submit(request("c", "chat", at=1000), run_s=2)

    assert gpu.started == {**gpu.started, "v0": 1000, "c": 1000}


def test_small_jobs_beside_a_large_one_do_not_starve_it() -> None:
    """SDXL's high quality needs the model for itself and gets it within the bound."""
    gpu = VirtualGpu([SDXL])
    for number in range(60):
        gpu.submit_at(number, request(f"f{number}", "sdxl", at=number, user="a"), run_s=5)
    gpu.submit_at(20, request("h", "sdxl", "high", at=20, user="b"), run_s=5)
    gpu.finish()

    assert gpu.started["h"] <= 20 + 60 + 5

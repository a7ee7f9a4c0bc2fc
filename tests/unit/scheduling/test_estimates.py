"""Reservations: from the table, then from what runs took; and how often they were enough."""

import pytest
from virtual_gpu import SDXL, device, request

from daemon.scheduling.estimates import ENOUGH, MARGIN, WINDOW, Coverage, Estimates
from daemon.scheduling.learning import Measured
from daemon.scheduling.models import GIB
from daemon.scheduling.scheduler import Scheduler
from daemon.values import Loaded

TABLE = SDXL.activation_bytes("fast")


def test_larger_weights_leave_less_for_each_run() -> None:
    """The stated concurrency stays inside the budget when weights turn out larger."""
    estimates = Estimates([SDXL])
    estimates.weights_measured("sdxl", 8 * GIB)

    assert estimates.weights("sdxl") == 8 * GIB
    assert estimates.activation("sdxl", "high") == 4 * GIB
    assert estimates.activation("sdxl", "fast") == SDXL.activation_bytes("fast")


def test_much_larger_weights_leave_each_run_its_share_of_the_rest() -> None:
    """Half of what is left, since two run at once."""
    estimates = Estimates([SDXL])
    estimates.weights_measured("sdxl", SDXL.budget_bytes - GIB)

    assert estimates.activation("sdxl", "fast") == GIB // 2
    assert estimates.reservation(request("r", "sdxl")) == GIB // 2


def test_larger_weights_lower_what_was_learned_of_runs() -> None:
    """At once, although the reservation was asked for before."""
    estimates = Estimates([SDXL])
    estimates.took(request("r", "sdxl"), 5 * GIB, TABLE)
    assert estimates.reservation(request("s", "sdxl")) == int(5 * GIB * MARGIN)
    estimates.weights_measured("sdxl", SDXL.budget_bytes - GIB)

    assert estimates.reservation(request("t", "sdxl")) == GIB


def test_smaller_weights_change_no_expectation() -> None:
    """A load that took less may take more next time."""
    estimates = Estimates([SDXL])
    estimates.weights_measured("sdxl", GIB)

    assert estimates.weights("sdxl") == SDXL.weights_bytes
    assert estimates.activation("sdxl", "high") == SDXL.activation_bytes("high")


def test_the_table_counts_until_enough_runs_were_seen() -> None:
    """Then the high quantile with its margin, whether it is more or less than the table."""
    estimates = Estimates([SDXL])
    each = request("r", "sdxl")
    for number in range(ENOUGH):
        assert estimates.reservation(each) == TABLE
        estimates.took(each, (number + 1) * TABLE // 100, TABLE)

    assert estimates.reservation(each) == int(ENOUGH * TABLE // 100 * MARGIN)


def test_one_run_that_took_more_raises_the_next_reservation_at_once() -> None:
    """Waiting for enough of them would overflow that often."""
    estimates = Estimates([SDXL])
    estimates.took(request("r", "sdxl"), 2 * TABLE, TABLE)

    assert estimates.reservation(request("s", "sdxl")) == int(2 * TABLE * MARGIN)


def test_one_odd_run_of_a_window_doesnt_decide() -> None:
    """The quantile leaves it out as soon as the window is full."""
    estimates = Estimates([SDXL])
    each = request("r", "sdxl")
    estimates.took(each, 5 * GIB, TABLE)
    for _ in range(WINDOW - 1):
        estimates.took(each, GIB, TABLE)

    assert estimates.reservation(each) == int(GIB * MARGIN)


@pytest.mark.parametrize("other", [{"size": 1 << 20}, {"batch": 2}, {"quality": "high"}])
def test_only_runs_alike_teach(other: dict[str, object]) -> None:
    """Another size, batch or quality takes other memory."""
    estimates = Estimates([SDXL])
    for _ in range(ENOUGH):
        estimates.took(request("r", "sdxl"), GIB // 8, TABLE)

    assert estimates.reservation(request("s", "sdxl", **other)) >= TABLE


def test_no_reservation_exceeds_the_budget() -> None:
    """Whatever was seen: beside the weights there is no more."""
    estimates = Estimates([SDXL])
    estimates.took(request("r", "sdxl"), 50 * GIB, TABLE)

    spare = SDXL.budget_bytes - SDXL.weights_bytes
    assert estimates.reservation(request("s", "sdxl")) == spare


def test_runs_beside_one_another_only_raise_what_is_promised() -> None:
    """Their sum says nothing about one of them, unless it was more than all were promised."""
    estimates = Estimates([SDXL])
    each = request("r", "sdxl")
    estimates.shared(each, 0.5, TABLE)
    assert estimates.reservation(each) == TABLE
    estimates.shared(each, 1.5, TABLE)

    assert estimates.reservation(each) == int(int(1.5 * TABLE) * MARGIN)


def test_a_run_out_of_memory_raises_what_is_promised() -> None:
    """The next one alike gets a quarter more."""
    estimates = Estimates([SDXL])
    estimates.overflowed(request("r", "sdxl"), TABLE)

    assert estimates.reservation(request("s", "sdxl")) > 1.2 * TABLE


def test_coverage_counts_who_stayed_within_the_promise() -> None:
    """Alone, beside others, and out of memory."""
    estimates = Estimates([SDXL])
    each = request("r", "sdxl")
    estimates.took(each, TABLE, TABLE)
    estimates.took(each, TABLE + 1, TABLE)
    estimates.shared(each, 1.0, TABLE)
    estimates.overflowed(each, TABLE)

    assert estimates.coverage == {("sdxl", "fast"): Coverage(runs=4, within=2)}


def test_what_the_engine_measured_reaches_the_next_reservation() -> None:
    """The peak less the weights, of a run that had the engine for itself."""
    one = Scheduler([SDXL], [device(24)], max_pass_over_s=60)
    one.submit(request("a", "sdxl"), 0)
    one.load_done("sdxl", 0, Loaded(SDXL.weights_bytes, 1.0), 1)
    one.run_ended("a", 2, Measured(peak_bytes=SDXL.weights_bytes + 2 * GIB))
    one.submit(request("b", "sdxl"), 3)

    assert one.state.runs["b"].promised == int(2 * GIB * MARGIN)


def test_who_overlapped_another_run_isnt_taken_for_what_the_engine_held() -> None:
    """Two within what both were promised: the table goes on counting."""
    one = Scheduler([SDXL], [device(24)], max_pass_over_s=60)
    for name in "ab":
        one.submit(request(name, "sdxl"), 0)
    one.load_done("sdxl", 0, Loaded(SDXL.weights_bytes, 1.0), 1)
    for name in "ab":
        one.run_ended(name, 2, Measured(peak_bytes=SDXL.weights_bytes + 2 * TABLE))
    one.submit(request("c", "sdxl"), 3)

    assert one.state.runs["c"].promised == TABLE
    assert one.state.estimates.coverage["sdxl", "fast"] == Coverage(2, 2)


def test_a_peak_that_is_told_after_its_engine_is_gone_says_nothing() -> None:
    """Which weights to take from it isn't known any more."""
    one = Scheduler([SDXL], [device(24)], max_pass_over_s=60)
    one.submit(request("a", "sdxl"), 0)
    one.load_done("sdxl", 0, Loaded(SDXL.weights_bytes, 1.0), 1)
    one.engine_lost("sdxl", 0, 2)
    one.unload_done("sdxl", 0, 3)
    one.run_ended("a", 4, Measured(peak_bytes=SDXL.weights_bytes + GIB))

    assert one.state.estimates.reservation(request("b", "sdxl")) == TABLE
    assert one.state.estimates.coverage == {}


def test_a_run_out_of_memory_teaches_although_its_engine_died_of_it() -> None:
    """What it was promised wasn't enough, whatever is there now."""
    one = Scheduler([SDXL], [device(24)], max_pass_over_s=60)
    one.submit(request("a", "sdxl"), 0)
    one.load_done("sdxl", 0, Loaded(SDXL.weights_bytes, 1.0), 1)
    one.engine_lost("sdxl", 0, 2)
    one.run_ended("a", 3, Measured(completed=False, overflowed=True))

    assert one.state.estimates.reservation(request("b", "sdxl")) > TABLE


def test_shares_of_an_excess_follow_the_most_that_was_promised_at_once() -> None:
    """Two that overlapped took half as much again as both were promised: so did each."""
    one = Scheduler([SDXL], [device(24)], max_pass_over_s=60)
    for name in "ab":
        one.submit(request(name, "sdxl"), 0)
    one.load_done("sdxl", 0, Loaded(SDXL.weights_bytes, 1.0), 1)
    one.run_ended("a", 2, Measured(peak_bytes=SDXL.weights_bytes + 3 * TABLE))

    assert one.state.estimates.reservation(request("c", "sdxl")) == int(int(1.5 * TABLE) * MARGIN)


def test_what_was_learned_is_shown() -> None:
    """Only what doesn't follow the table."""
    one = Scheduler([SDXL], [device(24)], max_pass_over_s=60)
    one.state.estimates.took(request("a", "sdxl", size=1 << 20, batch=2), 2 * TABLE, TABLE)
    (shown,) = one.snapshot(0).reservations
    (coverage,) = one.snapshot(0).coverage

    assert (shown.model, shown.quality, shown.size, shown.batch) == ("sdxl", "fast", 1 << 20, 2)
    assert shown.reserved_bytes == int(2 * TABLE * MARGIN)
    assert (coverage.model, coverage.quality) == ("sdxl", "fast")
    assert (coverage.runs, coverage.covered) == (1, 0.0)


@pytest.mark.parametrize(
    "measured",
    [
        Measured(peak_bytes=SDXL.budget_bytes),
        Measured(completed=False, overflowed=True),
    ],
    ids=["took it all", "overflowed"],
)
def test_a_run_that_had_the_device_for_itself_teaches_no_reservation(measured: Measured) -> None:
    """It was promised all that there is, and may have saved memory besides."""
    one = Scheduler([SDXL], [device(24)], max_pass_over_s=60)
    one.submit(request("a", "sdxl", exclusive=True), 0)
    one.load_done("sdxl", 0, Loaded(SDXL.weights_bytes, 1.0), 1)
    one.run_ended("a", 3, measured)

    assert one.state.estimates.reservation(request("b", "sdxl")) == TABLE

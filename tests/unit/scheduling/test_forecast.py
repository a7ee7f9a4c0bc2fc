"""When what runs and waits will end, and that foretelling it changes nothing."""

import pickle

import pytest
from virtual_gpu import CHAT, SDXL, VIDEO, WAN, VirtualGpu, device, request, warm

from daemon.jobs import ErrorCode
from daemon.scheduling.forecast import (
    HORIZON_S,
    MOST_PER_CLASS,
    SOON_S,
    Forecast,
    forecast_of,
    foresee,
)
from daemon.scheduling.models import GIB
from daemon.scheduling.residency import Residency
from daemon.scheduling.scheduler import Scheduler
from daemon.scheduling.seconds import Fixed, Seen
from daemon.values import Loaded, Offloaded

RUN_S = 10.0
"""What the models of these tests expect of a run."""


def ahead(gpu: VirtualGpu) -> Forecast:
    return forecast_of(gpu.scheduler, gpu.now)


def test_a_run_ends_when_it_is_expected_to() -> None:
    """By the class's mean, or by its own pace where it has told one."""
    gpu = warm("video")
    gpu.submit(request("v", "video"), run_s=30)
    gpu.advance(1004)
    assert ahead(gpu).ends_s == {"v": 1000 + gpu.scheduler.state.durations.run_s(("video", "fast"))}
    gpu.scheduler.expect_end("v", 1030)

    assert ahead(gpu).ends_s == {"v": 1030}


def test_what_is_over_its_time_ends_soon() -> None:
    """A run, and a load: nobody knows when, but it isn't the past."""
    one = Scheduler([SDXL, CHAT], [device(24)], max_pass_over_s=60)
    one.submit(request("s", "sdxl"), 0)
    one.load_done("sdxl", 0, Loaded(SDXL.weights_bytes, 0.0), 10)
    one.submit(request("c", "chat"), 10)
    foreseen = forecast_of(one, 45)

    assert foreseen.ends_s["s"] == 45 + SOON_S
    assert foreseen.starts_s == {"c": 45 + SOON_S}


def test_who_waits_starts_after_loads_and_runs() -> None:
    """The whole queue is played on, with what each act is expected to take."""
    gpu = VirtualGpu([VIDEO])
    for number in range(3):
        gpu.submit(request(f"{number}", "video", at=number))
    foreseen = ahead(gpu)

    assert foreseen.starts_s == {"0": 10, "1": 10 + RUN_S, "2": 10 + 2 * RUN_S}
    assert foreseen.ends_s["2"] == 10 + 3 * RUN_S


def test_the_forecast_comes_true_when_everything_takes_what_is_expected() -> None:
    """The shipped scheduler decides in both, switches and all."""
    gpu = VirtualGpu([SDXL, VIDEO, WAN, CHAT], host_gb=0)
    names = ["sdxl", "video", "wan", "chat"]
    for number in range(40):
        gpu.submit(request(f"{number}", names[number % 4], at=number), run_s=RUN_S)
    foreseen = ahead(gpu)
    gpu.finish()

    assert foreseen.ends_s == pytest.approx(gpu.ended)


def test_jobs_of_the_table_compete() -> None:
    """They come behind what was claimed, and the last of a class says what the next waits."""
    gpu = warm("video")
    gpu.submit(request("v", "video"))
    gpu._take(gpu.scheduler.count_unclaimed({("video", "fast"): 3}, gpu.now))
    run_s = gpu.scheduler.state.durations.run_s(("video", "fast"))
    foreseen = ahead(gpu)

    assert foreseen.next_wait_s == {("video", "fast"): pytest.approx(3 * run_s)}
    assert foreseen.made_s == 1000
    assert gpu.scheduler.state.lane("video", "fast").unclaimed == 3


def test_jobs_of_the_table_have_ends_in_the_order_of_the_queue() -> None:
    """Of each class on its own; two of them at a time, where two may run beside one another."""
    gpu = warm("video", "wan")
    gpu._take(gpu.scheduler.count_unclaimed({("video", "fast"): 2, ("wan", "high"): 3}, gpu.now))
    run_s = gpu.scheduler.state.durations.run_s(("video", "fast"))
    ends_s = ahead(gpu).table_ends_s

    assert ends_s["video", "fast"] == pytest.approx((1000 + run_s, 1000 + 2 * run_s))
    assert ends_s["wan", "high"] == pytest.approx((1000 + RUN_S, 1000 + RUN_S, 1000 + 2 * RUN_S))


def test_a_long_queue_is_foreseen_step_by_step() -> None:
    """What happens in between is not in it: it is of the moment at which it was begun."""
    gpu = warm("video")
    for number in range(5):
        gpu.submit(request(f"{number}", "video"), run_s=RUN_S)
    at_once, steps = ahead(gpu), foresee(gpu.scheduler, gpu.now)
    rests = 0
    while True:
        try:
            next(steps)
        except StopIteration as end:
            foreseen = end.value
            break
        rests += 1
        gpu.advance(gpu.now + 7)

    assert rests > 5
    assert foreseen == at_once


def test_no_more_of_the_table_than_anybody_looks_at() -> None:
    """A million rows are foretold as fast as a few dozen."""
    gpu = warm("video")
    gpu._take(gpu.scheduler.count_unclaimed({("video", "fast"): 10**6}, gpu.now))

    starts = ahead(gpu).starts_s
    assert len(starts) == MOST_PER_CLASS


def test_nothing_beyond_the_horizon_is_foretold() -> None:
    """Who would start later has no moment."""
    gpu = warm("video")
    gpu.scheduler.state.durations.runs["video", "fast"].expected_s = HORIZON_S / 2
    for number in range(6):
        gpu.submit(request(f"{number}", "video", at=number), run_s=1e5)

    assert sorted(ahead(gpu).starts_s) == ["1", "2"]


@pytest.mark.parametrize("moving", [Residency.LOADING, Residency.OFFLOADING, Residency.EVICTING])
def test_moves_that_are_under_way_go_on(moving: Residency) -> None:
    """Their expected seconds count from when they began."""
    host_gb = 64 if moving is Residency.OFFLOADING else 0
    one = Scheduler([SDXL, VIDEO], [device(24)], max_pass_over_s=60, host_bytes=host_gb * GIB)
    one.submit(request("s", "sdxl", "high"), 0)
    if moving is not Residency.LOADING:
        one.load_done("sdxl", 0, Loaded(SDXL.weights_bytes, 0.0, offloads=host_gb > 0), 10)
        one.run_ended("s", 20)
        one.state.durations.unloads["sdxl"].expected_s = 15
        one.state.durations.offloads["sdxl"].expected_s = 15
        one.submit(request("v", "video", "high", interactive=True), 100)
    assert one.state.placements["sdxl", 0].residency is moving

    if moving is Residency.LOADING:
        assert forecast_of(one, 4).starts_s == {"s": 10}
    else:
        assert forecast_of(one, 104).starts_s == {"v": 115}


def test_a_restore_takes_what_restores_take() -> None:
    """One that is under way, and one that has to come."""
    one = Scheduler([SDXL, VIDEO], [device(24)], max_pass_over_s=60, host_bytes=64 * GIB)
    one.submit(request("s", "sdxl", "high"), 0)
    one.load_done("sdxl", 0, Loaded(SDXL.weights_bytes, 0.0, offloads=True), 10)
    one.run_ended("s", 20)
    one.submit(request("v", "video", "high"), 100)
    one.load_done("video", 0, Loaded(VIDEO.weights_bytes, 0.0, offloads=True), 110)
    one.offload_done("sdxl", 0, Offloaded(0, SDXL.weights_bytes, 1.0), 111)
    one.run_ended("v", 120)
    state = one.state.durations
    restore_s = state.restore_s("sdxl")
    one.submit(request("t", "sdxl", "high", interactive=True), 130)
    assert one.state.placements["sdxl", 0].restoring

    starts = forecast_of(one, 131).starts_s
    assert starts["t"] == 130 + max(restore_s, state.offload_s("video"))


def test_a_back_off_is_waited_for() -> None:
    """Requests that are there when it begins were refused; another copy's load may be in one."""
    one = Scheduler([VIDEO], [device(24)], max_pass_over_s=60)
    one.state.submit(request("v", "video"), 0)
    one.state.back_offs["video"].failed(ErrorCode.MODEL_LOAD_FAILED, "bad", 0)

    assert forecast_of(one, 1).starts_s == {"v": 5 + 10}


def test_what_can_never_start_has_no_moment() -> None:
    """Other programs hold the memory, as far as anybody knows for ever."""
    gpu = VirtualGpu([VIDEO])
    gpu.others_use(20)
    gpu.submit(request("v", "video"))

    assert ahead(gpu).starts_s == {}


def test_foretelling_changes_nothing() -> None:
    """Neither what is decided, nor what is learned, nor the account of the waits."""
    gpu = VirtualGpu([SDXL, VIDEO, WAN, CHAT], host_gb=32)
    names = ["sdxl", "video", "wan", "chat"]
    for number in range(30):
        gpu.submit_at(2.0 * number, request(f"{number}", names[number % 4], at=2.0 * number))
    for moment in range(0, 120, 7):
        gpu.advance(moment)
        before = pickle.dumps(gpu.scheduler)
        ahead(gpu)
        assert pickle.dumps(gpu.scheduler) == before


def test_a_copy_learns_nothing_and_lives_its_own_life() -> None:
    """Its events are none of the original's."""
    gpu = warm("video")
    gpu.submit(request("v", "video"), run_s=30)
    gpu.submit(request("w", "video"), run_s=30)
    copy = gpu.scheduler.copy()
    run_s = gpu.scheduler.state.durations.run_s(("video", "fast"))
    assert [each.request_id for each in copy.run_ended("v", 1500)] == ["w"]

    assert copy.state.durations.run_s(("video", "fast")) == run_s
    assert set(gpu.scheduler.state.runs) == {"v"}
    assert gpu.scheduler.knows("w")


def test_fixed_expectations_stay() -> None:
    """What is seen during a look ahead isn't real."""
    seen = Seen(10.0)
    seen.observe(20.0)
    fixed = Fixed(seen.expected_s)
    fixed.observe(1000.0)

    assert fixed.expected_s == seen.expected_s == 12
    assert fixed.quantile(0.5) == 12


def test_quantiles_are_of_what_was_seen() -> None:
    """Of the last sixty-four; the table's figure while there is nothing."""
    seen = Seen(10.0)
    assert seen.quantile(0.9) == 10
    for number in range(100):
        seen.observe(number)

    assert seen.quantile(0.5) == 36 + 32
    assert seen.quantile(1.0) == 99
    assert seen.expected_s == (sum(range(36, 100)) + 4 * 10) / 68

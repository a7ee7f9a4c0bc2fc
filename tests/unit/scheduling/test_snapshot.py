"""The snapshot: what each device holds, what runs, what waits and why."""

import pytest
from virtual_gpu import CHAT, SDXL, VIDEO, VirtualGpu, device, moves, request, warm

from daemon.jobs import ErrorCode
from daemon.scheduling.models import GIB
from daemon.scheduling.reasons import Reason
from daemon.scheduling.residency import Residency
from daemon.scheduling.scheduler import Scheduler
from daemon.scheduling.snapshot import MOST_WAITING
from daemon.values import Loaded


def test_the_snapshot_says_what_is_where_and_why() -> None:
    """Bytes, runs, waiting lanes with a reason, back-offs."""
    gpu = VirtualGpu()
    gpu.failing.add("wan")
    gpu.submit(request("w", "wan"))
    gpu.advance(10)
    gpu.submit(request("v", "video", "high"), run_s=100)
    gpu.advance(22)
    gpu.submit(request("v2", "video"))
    gpu.submit(request("s", "sdxl", "high", at=21))
    gpu.scheduler.drain()
    view = gpu.scheduler.snapshot(24)

    (shown,) = view.devices
    (placement,) = shown.placements
    assert (shown.capacity_bytes, shown.reserve_bytes) == (24 * GIB, GIB)
    assert shown.free_bytes == 3 * GIB
    assert (placement.model, placement.residency) == ("video", Residency.RESIDENT)
    assert (placement.weights_bytes, placement.reserved_bytes) == (12 * GIB, 8 * GIB)
    assert [(run.request_id, run.running_s) for run in placement.runs] == [("v", 4)]
    assert [(lane.model, lane.waiting, lane.oldest_s, lane.why) for lane in view.lanes] == [
        ("sdxl", 1, 2, "the memory it needs is held by video: 12 GB needed, 3 GB free"),
        ("video", 1, 2, "every slot of video is taken; a run ends in about 6 s"),
    ]
    assert [(each.model, each.failures, each.error) for each in view.back_offs] == [
        ("wan", 1, "wan can't be read")
    ]
    assert view.draining


def test_the_snapshot_tells_loading_unloading_and_kept_back() -> None:
    """The three other reasons to wait."""
    gpu = VirtualGpu([SDXL, VIDEO, CHAT])
    gpu.submit(request("v", "video"), run_s=1)
    loading = gpu.scheduler.snapshot(1).lanes[0].why
    gpu.advance(60)
    gpu.submit(request("s", "sdxl", "high", interactive=True), run_s=200)
    gpu.submit(request("v2", "video"))
    unloading = [lane.why for lane in gpu.scheduler.snapshot(61).lanes if lane.model == "video"]
    gpu.advance(80)
    gpu.advance(150)
    gpu.submit(request("s2", "sdxl"))
    kept = gpu.scheduler.snapshot(150)

    assert loading == "video is being loaded: 1 s of about 10 s"
    assert unloading == [
        "video is just being put away for an interactive request of sdxl high, and must come back"
    ]
    assert {lane.why for lane in kept.lanes if lane.model == "video"} == {
        "the memory of sdxl is being freed for it, after runs that are over their time"
    }


def test_a_run_shows_what_it_was_promised_and_how_long_it_takes() -> None:
    """Past its expected end there is nothing left to expect."""
    gpu = warm("video")
    gpu.submit(request("v", "video", "high", interactive=True), run_s=30)
    gpu.scheduler.expect_end("v", 1020)
    gpu.advance(1004)
    (run,) = gpu.scheduler.snapshot(1004).devices[0].placements[0].runs

    assert (run.request_id, run.quality, run.interactive, run.exclusive) == (
        "v",
        "high",
        True,
        False,
    )
    assert (run.promised_bytes, run.running_s, run.expected_s) == (8 * GIB, 4, 16)
    assert gpu.scheduler.snapshot(1025).devices[0].placements[0].runs[0].expected_s == 0


def test_weights_that_wait_on_the_host_are_shown() -> None:
    """With what they hold in either memory."""
    gpu = VirtualGpu(host_gb=16)
    gpu.submit(request("s", "sdxl", "high"), run_s=1)
    gpu.advance(100)
    gpu.submit(request("v", "video", "high"), run_s=50)
    gpu.advance(120)
    view = gpu.scheduler.snapshot(120)
    (sdxl,) = [each for each in view.devices[0].placements if each.model == "sdxl"]

    assert moves(gpu)[1] == "~sdxl"
    assert (sdxl.residency, sdxl.weights_bytes, sdxl.host_bytes) == (
        Residency.HOST,
        GIB // 2,
        SDXL.weights_bytes,
    )
    assert view.host_capacity_bytes == 16 * GIB
    assert view.host_free_bytes == 16 * GIB - SDXL.weights_bytes


def test_no_more_waiting_requests_are_shown_than_anybody_reads() -> None:
    """The lanes say how many there are."""
    gpu = warm("video")
    for number in range(MOST_WAITING + 20):
        gpu.submit(request(f"{number}", "video"), run_s=9)
    gpu._take(gpu.scheduler.count_unclaimed({("video", "fast"): 500}, 1000))
    view = gpu.scheduler.snapshot(1003)

    assert len(view.waiting) == MOST_WAITING
    assert [(lane.waiting, lane.in_table) for lane in view.lanes] == [(MOST_WAITING + 19, 500)]
    assert view.waiting[0].waited_s == {"queue": 3, "vram": 0, "switch": 0, "load": 0}


def test_moves_show_what_was_measured() -> None:
    """The table's figures count for four measurements."""
    one = Scheduler([SDXL], [device(24)], max_pass_over_s=60)
    one.submit(request("s", "sdxl"), 0)
    one.load_done("sdxl", 0, Loaded(SDXL.weights_bytes, 0.0), 20)
    (shown,) = one.snapshot(21).moves

    assert (shown.model, shown.load_s, shown.restore_s) == ("sdxl", 12.0, 2.0)
    assert (shown.offload_s, shown.unload_s) == (2.0, 1.0)


@pytest.mark.parametrize(
    ("arrange", "reason", "why"),
    [
        ("back-off", Reason.LOAD, "loading video failed (bad); next try in 4 s"),
        (
            "too much",
            Reason.VRAM,
            "it needs more memory than there is: 24 GB, and the largest device offers 23 GB",
        ),
        ("slots", Reason.QUEUE, "every slot of video is taken; a run ends in about 7 s"),
    ],
)
def test_a_lane_says_in_words_why_it_waits(arrange: str, reason: Reason, why: str) -> None:
    """As an operator would ask."""
    gpu = warm("video") if arrange == "slots" else VirtualGpu([VIDEO])
    state = gpu.scheduler.state
    if arrange == "slots":
        gpu.submit(request("v", "video"), run_s=50)
    state.submit(request("w", "video"), gpu.now)
    if arrange == "back-off":
        state.back_offs["video"].failed(ErrorCode.MODEL_LOAD_FAILED, "bad", gpu.now)
    if arrange == "too much":
        state.estimates.weights_measured("video", 24 * GIB)
    (lane,) = gpu.scheduler.snapshot(gpu.now + 1).lanes

    assert (lane.reason, lane.why) == (reason, why)

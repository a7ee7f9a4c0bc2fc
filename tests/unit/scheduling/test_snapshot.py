"""The snapshot: what each device holds, what runs, what waits and why."""

from virtual_gpu import CHAT, SDXL, VIDEO, VirtualGpu, request

from daemon.scheduling.models import GIB
from daemon.scheduling.residency import Residency


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
        ("sdxl", 1, 2, "the memory it needs is held by video"),
        ("video", 1, 2, "every slot of video is taken"),
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

    assert loading == "video is being loaded"
    assert unloading == ["the memory of sdxl is being freed for it"]
    assert {lane.why for lane in kept.lanes if lane.model == "video"} == {
        "the memory of sdxl is being freed for it"
    }

"""Runs that need a device for themselves: who goes for them, who waits, and that nobody starves."""

from virtual_gpu import (
    CHAT,
    NOOP,
    SDXL,
    VIDEO,
    WAN,
    VirtualGpu,
    device,
    model,
    moves,
    request,
    started,
    warm,
)

from daemon.jobs import ErrorCode
from daemon.scheduling.commands import Command, LoadModel, RefuseRequest, StartRun, UnloadModel
from daemon.scheduling.models import GIB
from daemon.scheduling.scheduler import Scheduler
from daemon.values import Loaded


def test_everybody_else_goes_first() -> None:
    """The idle one stays until the other has drained: it may be of use until then."""
    gpu = warm("chat", "wan")
    gpu.submit(request("w", "wan"), run_s=20)
    gpu.submit(request("x", "sdxl", exclusive=True), run_s=5)
    gpu.finish()

    assert sorted(moves(gpu)) == ["+sdxl", "-chat", "-wan"]
    assert [at for at, command in gpu.log if isinstance(command, UnloadModel)] == [1020, 1020]
    assert gpu.started["x"] == 1020 + 1 + 10


def test_its_own_model_stays_but_drains() -> None:
    """There is no reason to load it again; two runs of it end first."""
    gpu = warm("sdxl")
    gpu.submit(request("a", "sdxl"), run_s=10)
    gpu.submit(request("b", "sdxl"), run_s=20)
    gpu.submit(request("x", "sdxl", exclusive=True), run_s=5)
    gpu.submit(request("c", "sdxl"), run_s=5)
    gpu.finish()

    assert moves(gpu) == []
    assert (gpu.started["x"], gpu.started["c"]) == (1020, 1025)


def test_it_is_promised_all_that_its_budget_leaves() -> None:
    """The memory ran out before although it was promised."""
    gpu = warm("sdxl")
    gpu.submit(request("x", "sdxl", exclusive=True), run_s=5)

    run = gpu.scheduler.state.runs["x"]
    assert run.promised == SDXL.budget_bytes - SDXL.weights_bytes


def test_it_may_save_memory_as_far_as_its_engine_can() -> None:
    """The load has told how far."""
    one = Scheduler([SDXL], [device(24)], max_pass_over_s=60)
    one.submit(request("x", "sdxl", exclusive=True), 0)
    one.load_done("sdxl", 0, Loaded(SDXL.weights_bytes, 0.0, savings=2), 10)

    assert one.savings("x") == 2


def test_nothing_starts_or_loads_beside_it() -> None:
    """Neither what fits, nor what needs no memory at all."""
    gpu = warm("noop")
    gpu.submit(request("x", "chat", exclusive=True), run_s=50)
    gpu.advance(1020)
    assert "x" in gpu.started
    gpu.submit(request("n", "noop"))
    gpu.submit(request("c", "chat"))
    gpu.submit(request("w", "wan", interactive=True))
    gpu.advance(1059)
    assert started(gpu) == ["x"]
    assert {each.count for each in gpu.scheduler.demand(1059)} == {1}  # to look ahead
    gpu.finish()

    assert set(gpu.ended) >= {"x", "n", "c", "w"}


def test_a_device_beside_goes_on() -> None:
    """Only the one that was claimed is kept free."""
    gpu = VirtualGpu([CHAT, WAN], [device(24), device(24, 1)])
    gpu.submit(request("c", "chat"), run_s=1)
    gpu.submit(request("w", "wan"), run_s=1)
    gpu.advance(100)
    gpu.submit(request("x", "chat", exclusive=True), run_s=100)
    gpu.submit(request("w2", "wan"), run_s=1)

    assert (gpu.started["x"], gpu.started["w2"]) == (100, 100)


def test_two_of_them_take_turns_by_age() -> None:
    """The one that has waited longer has the device first."""
    gpu = warm("chat")
    gpu.submit(request("c", "chat"), run_s=10)
    gpu.submit(request("young", "chat", exclusive=True, at=1000), run_s=5)
    gpu.submit(request("old", "wan", exclusive=True, at=990), run_s=5)
    gpu.finish()

    assert started(gpu) == ["c", "old", "young"]


def test_they_do_not_starve_rows_that_were_passed_over_for_the_bound() -> None:
    """A stream of them has to let the others in."""
    gpu = warm("chat", "wan")
    gpu.submit(request("x", "chat", exclusive=True), run_s=10)
    gpu.submit(request("w", "wan", at=1000), run_s=5)
    for number in range(50):
        gpu.submit(request(f"x{number}", "chat", exclusive=True, at=1000), run_s=10)
    gpu.finish()

    assert gpu.started["w"] <= 1000 + 60 + 10 + 1 + 10


def test_a_device_that_is_too_small_for_its_run_is_not_used() -> None:
    """There its weights would fit, and its run would be promised nothing."""
    small_first = Scheduler([VIDEO, NOOP], [device(13), device(24, 1)], max_pass_over_s=60)

    assert small_first.submit(request("x", "video", exclusive=True), 0) == [LoadModel("video", 1)]
    assert small_first.load_done("video", 1, Loaded(VIDEO.weights_bytes, 0.0), 10) == [
        StartRun("x", "video", 1)
    ]


def test_what_was_learned_does_not_keep_it_out() -> None:
    """It needs as much as the table says, though such runs have taken more."""
    one = Scheduler([SDXL], [device(24)], max_pass_over_s=60)
    each = request("x", "sdxl", exclusive=True)
    one.state.estimates.took(each, 50 * GIB, 0)
    one.used_by_others(0, 23 * GIB - SDXL.weights_bytes - GIB, 0)
    assert one.submit(each, 0) == [LoadModel("sdxl", 0)]

    assert one.load_done("sdxl", 0, Loaded(SDXL.weights_bytes, 0.0), 10) == [
        StartRun("x", "sdxl", 0)
    ]
    assert one.state.runs["x"].promised == GIB


def test_it_does_not_start_with_less_than_its_run_takes() -> None:
    """Its model is there and alone, but other programs have the rest."""
    gpu = warm("video")
    gpu.others_use(10)
    gpu.submit(request("x", "video", exclusive=True))
    assert started(gpu) == []
    [lane] = gpu.scheduler.snapshot(gpu.now).lanes
    assert lane.why == (
        "the memory it needs is held by other programs (10 GB): 4 GB needed, 1 GB free"
    )

    assert gpu.others_use(5) == [StartRun("x", "video", 0)]


def test_memory_of_others_that_keeps_it_out_keeps_nobody_else_out() -> None:
    """It waits for other programs to end; whoever fits beside them goes on."""
    gpu = warm("chat")
    gpu.others_use(10)
    gpu.submit(request("x", "video", exclusive=True), run_s=5)
    for number in range(20):
        gpu.submit(request(f"c{number}", "chat", at=1000), run_s=20)
    gpu.advance(1200)
    assert len(started(gpu)) == 20
    gpu.others_use(0)
    gpu.finish()

    assert gpu.started["x"] == 1200 + 1 + 10


def test_a_lost_engine_ends_its_exclusiveness_with_its_run() -> None:
    """The device is for others as soon as the run has ended and the engine is gone."""
    one = Scheduler([CHAT, WAN], [device(24)], max_pass_over_s=60)
    one.submit(request("x", "chat", exclusive=True), 0)
    one.load_done("chat", 0, Loaded(CHAT.weights_bytes, 0.0), 10)
    one.submit(request("w", "wan"), 11)
    one.engine_lost("chat", 0, 12)
    assert one.unload_done("chat", 0, 13) == []

    assert one.run_ended("x", 14) == [LoadModel("wan", 0)]
    assert one.state.exclusive == {}


def test_a_withdrawn_one_keeps_nobody_out() -> None:
    """Its claim goes with it."""
    one = Scheduler([CHAT, WAN], [device(24)], max_pass_over_s=60)
    one.submit(request("c", "chat"), 0)
    one.load_done("chat", 0, Loaded(CHAT.weights_bytes, 0.0), 10)
    one.submit(request("x", "wan", exclusive=True), 11)
    assert one.submit(request("d", "chat"), 12) == []

    assert StartRun("d", "chat", 0) in one.withdraw("x", 13)


def test_it_loads_as_soon_as_the_bytes_of_the_others_are_free() -> None:
    """An idle model goes at once; the load waits until it is gone."""
    whole = model("whole", 23, 20, 1, fast=(23, 1))
    one = Scheduler([whole, CHAT], [device(24)], max_pass_over_s=60)
    one.submit(request("c", "chat"), 0)
    one.load_done("chat", 0, Loaded(CHAT.weights_bytes, 0.0), 10)
    one.run_ended("c", 11)

    assert one.submit(request("x", "whole", exclusive=True), 20) == [UnloadModel("chat", 0)]
    assert one.unload_done("chat", 0, 21) == [LoadModel("whole", 0)]


def test_its_claim_and_a_queues_do_not_change_devices_with_what_loads_there() -> None:
    """Or wan would load where there is room, make the claims change places, and go, for ever."""
    gpu = VirtualGpu([VIDEO, WAN], [device(22), device(24, 1)])
    for number in range(8):
        at = 0 if number < 4 else 11
        gpu.submit_at(at, request(f"v{number}", "video", interactive=True), run_s=300)
    gpu.submit_at(20, request("x", "video", at=1, exclusive=True, interactive=True), run_s=5)
    gpu.submit_at(31, request("w", "wan", at=31, interactive=True), run_s=5)
    gpu.advance(290)

    assert [each for each in moves(gpu) if "wan" in each] in (["+wan"], ["+wan1"], [])
    gpu.finish()
    assert set(gpu.ended) == set(gpu.submitted)


def out_of_memory(gpu: VirtualGpu, name: str) -> list[Command]:
    """Let the load of a model that is under way run out of memory."""
    code = ErrorCode.VRAM_OVERFLOW
    return gpu.scheduler.load_failed(name, 0, code, "out of memory", gpu.now)


def test_a_load_that_runs_out_of_memory_beside_others_is_tried_alone() -> None:
    """One request gets the device for itself; the others wait for what comes of it."""
    gpu = VirtualGpu([CHAT, SDXL])
    one = gpu.scheduler
    one.submit(request("c", "chat"), 0)
    one.load_done("chat", 0, Loaded(CHAT.weights_bytes, 0.0), 1)
    one.run_ended("c", 2)
    one.submit_all([request("a", "sdxl"), request("b", "sdxl")], 3)
    gpu.now = 7
    assert out_of_memory(gpu, "sdxl") == [UnloadModel("chat", 0)]
    assert one.unload_done("chat", 0, 8) == [LoadModel("sdxl", 0)]

    assert one.load_done("sdxl", 0, Loaded(SDXL.weights_bytes, 0.0), 9) == [
        StartRun("a", "sdxl", 0)
    ]
    assert sum(one.waited("a")) == 6
    assert one.run_ended("a", 10) == [StartRun("b", "sdxl", 0)]


def test_a_load_that_runs_out_of_memory_alone_is_a_failed_load() -> None:
    """There is nobody left who could make room: all are told, and loads back off."""
    gpu = VirtualGpu([CHAT, SDXL])
    one = gpu.scheduler
    one.submit(request("c", "chat"), 0)
    one.load_done("chat", 0, Loaded(CHAT.weights_bytes, 0.0), 1)
    one.run_ended("c", 2)
    one.submit_all([request("a", "sdxl"), request("b", "sdxl")], 3)
    gpu.now = 7
    out_of_memory(gpu, "sdxl")
    one.unload_done("chat", 0, 8)
    refused = out_of_memory(gpu, "sdxl")

    assert sorted(each.request_id for each in refused if isinstance(each, RefuseRequest)) == [
        "a",
        "b",
    ]
    assert one.state.back_offs["sdxl"].failures == 1

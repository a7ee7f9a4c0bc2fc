"""Weights that wait in the host's memory: how they get there, what they keep, and the way back."""

import pytest
from virtual_gpu import CHAT, SDXL, VIDEO, VirtualGpu, device, moves, request

from daemon.jobs import ErrorCode
from daemon.scheduling.commands import LoadModel, OffloadModel, StartRun, UnloadModel
from daemon.scheduling.models import GIB
from daemon.scheduling.residency import Residency
from daemon.scheduling.scheduler import Scheduler
from daemon.scheduling.victims import back_s, goes_to_host, leave_s
from daemon.values import Loaded, Offloaded

SWITCH = [OffloadModel("sdxl", 0), LoadModel("video", 0)]


def idle_sdxl(host_gb: float = 16, *, offloads: bool = True) -> Scheduler:
    """Return a scheduler on which sdxl is resident and idle for long, at second 100."""
    one = Scheduler(
        [SDXL, VIDEO, CHAT], [device(24)], max_pass_over_s=60, host_bytes=int(host_gb * GIB)
    )
    one.submit(request("first", "sdxl"), 0)
    one.load_done("sdxl", 0, Loaded(SDXL.weights_bytes, 0.0, offloads=offloads), 10)
    one.run_ended("first", 20)
    return one


def offloading_sdxl(host_gb: float = 16) -> Scheduler:
    """Return one in which sdxl is leaving for the host's memory since second 100, for video."""
    one = idle_sdxl(host_gb)
    assert one.submit(request("v", "video", "high"), 100) == SWITCH
    return one


def waiting_sdxl(left_gb: float = 0.5) -> Scheduler:
    """Return one in which sdxl waits in the host's memory, and video runs, at second 120."""
    one = offloading_sdxl()
    one.load_done("video", 0, Loaded(VIDEO.weights_bytes, 0.0, offloads=True), 110)
    one.offload_done("sdxl", 0, Offloaded(int(left_gb * GIB), SDXL.weights_bytes, 1.0), 111)
    return one


def residency(one: Scheduler, model: str) -> Residency:
    return one.state.placements[model, 0].residency


def test_a_switch_there_and_back_goes_by_way_of_the_hosts_memory() -> None:
    """The second load takes a restore's seconds and not a load's."""
    gpu = VirtualGpu(host_gb=32)
    gpu.submit(request("s", "sdxl", "high"), run_s=1)
    gpu.advance(100)
    gpu.submit(request("v", "video", "high"), run_s=1)
    gpu.advance(200)
    gpu.submit(request("t", "sdxl", "high"), run_s=1)
    gpu.finish()

    assert moves(gpu) == ["+sdxl", "~sdxl", "+video", "~video", "+sdxl"]
    assert gpu.started["v"] == 110
    assert gpu.started["t"] == 200 + gpu.restore_s


@pytest.mark.parametrize(
    ("host_gb", "offloads"), [(0, True), (6, True), (16, False)], ids=["none", "small", "unable"]
)
def test_weights_that_cannot_wait_there_go_to_disk(host_gb: float, offloads: bool) -> None:
    """No room, too little of it, or an engine that can't."""
    one = idle_sdxl(host_gb, offloads=offloads)

    assert one.submit(request("v", "video", "high"), 100) == [
        UnloadModel("sdxl", 0),
        LoadModel("video", 0),
    ]


def test_the_device_has_its_bytes_back_only_when_the_move_is_done() -> None:
    """Meanwhile both memories hold them."""
    one = offloading_sdxl()
    ledger, host = one.state.ledgers[0], one.state.host
    assert residency(one, "sdxl") is Residency.OFFLOADING
    assert ledger.weights_of("sdxl") == host.held_by("sdxl", 0) == SDXL.weights_bytes
    assert one.load_done("video", 0, Loaded(VIDEO.weights_bytes, 0.0), 110) == []

    assert one.offload_done("sdxl", 0, Offloaded(GIB, 7 * GIB, 1.0), 111) == [
        StartRun("v", "video", 0)
    ]
    assert residency(one, "sdxl") is Residency.HOST
    assert (ledger.weights_of("sdxl"), host.held_by("sdxl", 0)) == (GIB, 7 * GIB)


def test_what_the_engine_keeps_on_the_device_is_not_promised_again() -> None:
    """A run that needs those bytes too must wait, and the engine go to disk for it."""
    one = offloading_sdxl()
    one.load_done("video", 0, Loaded(VIDEO.weights_bytes, 0.0, offloads=True), 110)

    assert one.offload_done("sdxl", 0, Offloaded(4 * GIB, 7 * GIB, 1.0), 111) == [
        UnloadModel("sdxl", 0)
    ]
    assert one.unload_done("sdxl", 0, 112) == [StartRun("v", "video", 0)]
    assert one.state.host.held_by("sdxl", 0) == 0


def test_a_load_that_comes_back_gives_the_hosts_memory_back() -> None:
    """There is one copy, wherever it is."""
    one = waiting_sdxl()
    one.submit(request("s", "sdxl", "high", interactive=True), 130)
    assert one.run_ended("v", 140) == [UnloadModel("video", 0), LoadModel("sdxl", 0)]
    assert one.state.host.free_bytes == 16 * GIB - SDXL.weights_bytes
    one.load_done("sdxl", 0, Loaded(SDXL.weights_bytes, 0.0, offloads=True), 142)

    assert one.state.host.free_bytes == 16 * GIB


def test_the_host_is_full_with_the_first_to_come() -> None:
    """Video's weights don't fit beside SDXL's: they go to disk."""
    one = waiting_sdxl()
    assert one.state.host.free_bytes < VIDEO.weights_bytes
    assert not goes_to_host(one.state, one.state.placements["video", 0])


@pytest.mark.parametrize("moved", [False, True])
def test_an_engine_that_dies_on_the_way_or_there_gives_everything_back_when_gone(
    moved: bool,
) -> None:
    """Both memories' bytes are held until then."""
    one = waiting_sdxl() if moved else offloading_sdxl()
    ledger, host = one.state.ledgers[0], one.state.host
    held = ledger.weights_of("sdxl")
    one.engine_lost("sdxl", 0, 130)
    assert residency(one, "sdxl") is Residency.EVICTING
    assert (ledger.weights_of("sdxl"), host.held_by("sdxl", 0)) == (held, SDXL.weights_bytes)
    one.unload_done("sdxl", 0, 131)

    assert (ledger.weights_of("sdxl"), host.held_by("sdxl", 0)) == (0, 0)


def test_a_restore_that_fails_leaves_nothing() -> None:
    """Its engine is gone; the back-off is the same as after a load from disk."""
    one = waiting_sdxl()
    one.run_ended("v", 120)
    one.submit(request("s", "sdxl", "high", interactive=True), 130)
    commands = one.load_failed("sdxl", 0, ErrorCode.MODEL_LOAD_FAILED, "died", 132)

    assert [each.request_id for each in commands] == ["s"]
    assert residency(one, "sdxl") is Residency.COLD
    assert one.state.host.free_bytes == 16 * GIB
    assert one.state.ledgers[0].weights_of("sdxl") == 0
    assert one.next_deadline(132) == 137


def test_who_has_the_device_for_himself_sends_others_to_disk() -> None:
    """Also those that wait on the host: their engines keep bytes of the device."""
    gpu = VirtualGpu(host_gb=64)
    gpu.submit(request("s", "sdxl", "high"), run_s=1)
    gpu.advance(100)
    gpu.submit(request("v", "video", "high"), run_s=1)
    gpu.advance(200)
    gpu.log.clear()
    gpu.submit(request("c", "chat", exclusive=True), run_s=1)
    gpu.finish()

    assert sorted(moves(gpu)) == ["+chat", "-sdxl", "-video"]
    assert gpu.scheduler.state.host.free_bytes == 64 * GIB


def test_what_a_victim_costs_depends_on_where_it_can_wait() -> None:
    """To the host and back, or to disk and back."""
    there, not_there = idle_sdxl(16), idle_sdxl(0)
    for one in (there, not_there):
        one.state.durations.offloads["sdxl"].expected_s = 3
        one.state.durations.restores["sdxl"].expected_s = 4
        one.state.durations.unloads["sdxl"].expected_s = 5
        one.state.durations.loads["sdxl"].expected_s = 6
    places = [(one.state, one.state.placements["sdxl", 0]) for one in (there, not_there)]

    assert [leave_s(*each) for each in places] == [3, 5]
    assert [back_s(*each) for each in places] == [4, 6]


def test_who_waits_there_already_costs_a_way_to_disk_and_back() -> None:
    """Its engine ends for the bytes that it keeps on the device."""
    one = waiting_sdxl()
    place = one.state.placements["sdxl", 0]
    durations = one.state.durations

    assert leave_s(one.state, place) == durations.unload_s("sdxl")
    assert back_s(one.state, place) == durations.load_s("sdxl")


def test_restores_and_loads_are_learned_apart() -> None:
    """What took ten seconds from disk and two from the host says so of each."""
    one = waiting_sdxl()
    one.run_ended("v", 120)
    one.submit(request("s", "sdxl", "high", interactive=True), 130)
    one.load_done("sdxl", 0, Loaded(SDXL.weights_bytes, 0.0), 134)
    durations = one.state.durations

    assert durations.load_s("sdxl") == 10
    assert durations.restore_s("sdxl") == (4 + 4 * SDXL.restore_s) / 5
    assert durations.offload_s("sdxl") == (11 + 4 * SDXL.restore_s) / 5


def test_a_restore_is_charged_as_one() -> None:
    """Whoever causes it pays for two seconds, not for ten."""
    one = waiting_sdxl()
    one.run_ended("v", 120)
    one.submit(request("s", "sdxl", "high", user="a", interactive=True), 130)

    run_s = SDXL.qualities["high"].run_s
    assert one.state.shares.tag("a", 0) == run_s + SDXL.restore_s


def test_a_model_comes_back_where_it_waits() -> None:
    """The other device has more room, but there it would take a load from disk."""
    gpu = VirtualGpu(devices=(device(24), device(24, 1)), host_gb=32)
    gpu.submit(request("s", "sdxl", "high"), run_s=1)
    gpu.submit(request("c", "chat"), run_s=1)
    gpu.advance(100)
    assert gpu.scheduler.state.placements["sdxl", 0].residency is Residency.RESIDENT
    gpu.submit(request("v1", "video", "high"), run_s=30)
    gpu.submit(request("v2", "video", "high", interactive=True), run_s=30)
    gpu.advance(200)
    assert gpu.scheduler.state.placements["sdxl", 0].residency is Residency.HOST
    gpu.log.clear()
    gpu.submit(request("t", "sdxl", "fast"), run_s=1)

    assert moves(gpu) == ["+sdxl"]


def test_an_engine_that_waits_on_the_host_is_not_spared() -> None:
    """Its next job doesn't find it on the device anyway, and no deadline would tell of it."""
    one = Scheduler([SDXL, VIDEO, CHAT], [device(21)], max_pass_over_s=60, host_bytes=64 * GIB)
    one.submit(request("c", "chat"), 0)
    one.load_done("chat", 0, Loaded(CHAT.weights_bytes, 0.0, offloads=True), 1)
    one.submit(request("v", "video", "high"), 2)
    one.run_ended("c", 5)
    one.count_unclaimed({("video", "high"): 40}, 5)
    assert one.submit(request("s", "sdxl", interactive=True), 5.05) == [OffloadModel("chat", 0)]
    one.withdraw("s", 5.06)

    assert one.offload_done("chat", 0, Offloaded(4 * GIB, CHAT.weights_bytes, 0.0), 5.07) == [
        UnloadModel("chat", 0)
    ]


def test_a_way_back_that_its_engine_did_not_survive_becomes_a_load_from_disk() -> None:
    """Its seconds are those of a load, from the second try on, and say nothing of restores."""
    one = waiting_sdxl()
    one.run_ended("v", 130)
    one.submit(request("back", "sdxl"), 140)
    assert residency(one, "sdxl") is Residency.LOADING
    restore_s = one.state.durations.restore_s("sdxl")
    load_s = one.state.durations.load_s("sdxl")

    one.load_lost("sdxl", 0, 150)
    one.load_done("sdxl", 0, Loaded(SDXL.weights_bytes, 0.0), 150 + 3 * load_s)

    assert one.state.durations.restore_s("sdxl") == restore_s
    assert one.state.durations.load_s("sdxl") > load_s
    assert "back" in one.state.runs

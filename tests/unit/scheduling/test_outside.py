"""Memory that other programs use: it isn't promised, and when it is free again work goes on."""

from virtual_gpu import CHAT, SDXL, VIDEO, device, request

from daemon.scheduling.commands import LoadModel, StartRun, UnloadModel
from daemon.scheduling.models import GIB
from daemon.scheduling.scheduler import Scheduler
from daemon.values import Loaded


def scheduler() -> Scheduler:
    return Scheduler([SDXL, VIDEO, CHAT], [device(24)], max_pass_over_s=60)


def resident_sdxl() -> Scheduler:
    """Return one in which sdxl runs `first`, with 15 GB beside it free."""
    one = scheduler()
    one.submit(request("first", "sdxl", "high"), 0)
    one.load_done("sdxl", 0, Loaded(SDXL.weights_bytes, 0.0), 10)
    return one


def test_a_load_waits_until_its_bytes_are_free() -> None:
    """Nothing is refused: other programs end."""
    one = scheduler()
    one.used_by_others(0, 12 * GIB, 0)
    assert one.submit(request("v", "video"), 1) == []
    assert one.submit(request("c", "chat"), 1) == [LoadModel("chat", 0)]

    one.load_done("chat", 0, Loaded(CHAT.weights_bytes, 0.0), 10)

    assert one.used_by_others(0, 0, 11) == [LoadModel("video", 0)]


def test_a_run_waits_until_its_bytes_are_free() -> None:
    """Its model is there and stays there."""
    one = resident_sdxl()
    one.run_ended("first", 11)
    one.used_by_others(0, 15 * GIB, 12)
    assert one.submit(request("h", "sdxl", "high"), 13) == []

    assert one.used_by_others(0, 10 * GIB, 14) == [StartRun("h", "sdxl", 0)]


def test_what_was_promised_before_stays() -> None:
    """The run goes on; nothing new is promised until the count is right again."""
    one = resident_sdxl()
    one.used_by_others(0, 20 * GIB, 12)
    assert one.state.ledgers[0].free_bytes == -9 * GIB
    assert one.submit(request("c", "chat", interactive=True), 13) == []
    one.state.ledgers[0].check()

    one.used_by_others(0, 0, 14)
    assert one.state.placements["chat", 0].load_number == 1


def test_the_same_figure_again_is_no_news() -> None:
    """It comes every second."""
    one = resident_sdxl()
    one.used_by_others(0, GIB, 12)
    changes = one.state.changes

    assert one.used_by_others(0, GIB, 13) == []
    assert one.state.changes == changes


def test_an_idle_model_makes_room_for_what_others_leave_too_little_for() -> None:
    """Three gigabytes less than usual, so that chat can't stay."""
    one = scheduler()
    one.submit(request("c", "chat"), 0)
    one.load_done("chat", 0, Loaded(CHAT.weights_bytes, 0.0), 10)
    one.run_ended("c", 11)
    one.used_by_others(0, 5 * GIB, 12)

    assert one.submit(request("v", "video", interactive=True), 20) == [
        UnloadModel("chat", 0),
        LoadModel("video", 0),
    ]


def test_the_other_device_is_used_instead() -> None:
    """Others are on the first one."""
    one = Scheduler([SDXL], [device(24), device(24, 1)], max_pass_over_s=60)
    one.used_by_others(0, 20 * GIB, 0)

    assert one.submit(request("s", "sdxl"), 1) == [LoadModel("sdxl", 1)]


def test_why_says_who_has_the_memory() -> None:
    """An operator looks for the other program, not for a model."""
    one = scheduler()
    one.used_by_others(0, 20 * GIB, 0)
    one.submit(request("v", "video"), 1)
    view = one.snapshot(2)

    assert [lane.why for lane in view.lanes] == [
        "the memory it needs is held by other programs (20 GB): 16 GB needed, 3 GB free"
    ]
    assert (view.devices[0].outside_bytes, view.devices[0].free_bytes) == (20 * GIB, 3 * GIB)

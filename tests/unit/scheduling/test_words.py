"""What an operator reads at night: why something waits, who is in the way, and for how long."""

from collections.abc import Callable

import pytest
from virtual_gpu import CHAT, SDXL, VIDEO, VirtualGpu, device, request, warm

from daemon.jobs import ErrorCode
from daemon.scheduling.models import GIB
from daemon.scheduling.scheduler import Scheduler
from daemon.scheduling.snapshot import LaneSnapshot
from daemon.values import Loaded, Offloaded


def lanes_of(gpu: VirtualGpu, model: str) -> dict[str, str]:
    """Return why each class of a model waits, by quality; what is urgent is marked."""
    shown: tuple[LaneSnapshot, ...] = gpu.scheduler.snapshot(gpu.now).lanes
    return {
        lane.quality + "!" * lane.interactive + "*" * lane.exclusive: lane.why
        for lane in shown
        if lane.model == model
    }


def test_first_start() -> None:
    """One model loads, and says for how long it will; the next one waits for that."""
    gpu = VirtualGpu([VIDEO, CHAT])
    gpu.submit(request("v", "video"))
    gpu.submit(request("c", "chat"))
    gpu.advance(4)

    assert lanes_of(gpu, "video") == {"fast": "video is being loaded: 4 s of about 10 s"}
    assert lanes_of(gpu, "chat") == {"fast": "video is being loaded first: one model at a time"}


def test_a_model_comes_back_from_the_host() -> None:
    """That is a copy, not a load."""
    one = Scheduler([SDXL, VIDEO], [device(24)], max_pass_over_s=60, host_bytes=64 * GIB)
    one.submit(request("s", "sdxl", "high"), 0)
    one.load_done("sdxl", 0, Loaded(SDXL.weights_bytes, 0.0, offloads=True), 10)
    one.run_ended("s", 20)
    one.submit(request("v", "video", "high", interactive=True), 100)
    one.offload_done("sdxl", 0, Offloaded(0, SDXL.weights_bytes, 1.0), 101)
    one.load_done("video", 0, Loaded(VIDEO.weights_bytes, 0.0, offloads=True), 111)
    one.run_ended("v", 121)
    one.submit(request("t", "sdxl", "high", interactive=True), 130)
    offloading = one.snapshot(130).lanes[0].why
    if one.state.placements["video", 0].residency == "offloading":
        one.offload_done("video", 0, Offloaded(0, VIDEO.weights_bytes, 1.0), 131)

    assert offloading in {
        "the memory of video is being freed for it",
        "sdxl comes back from the host's memory: 0 s of about 2 s",
    }
    assert one.snapshot(131).lanes[0].why.startswith("sdxl comes back from the host's memory: ")


@pytest.mark.parametrize(
    ("failures", "why"),
    [
        (1, "loading video failed (no such file); next try in 4 s"),
        (2, "loading video failed 2 times (no such file); next try in 9 s"),
    ],
)
def test_back_off(failures: int, why: str) -> None:
    """How often, with what, and when it is tried again; the table's jobs aren't claimed for it."""
    gpu = VirtualGpu([VIDEO])
    for _ in range(failures):
        gpu.scheduler.state.back_offs["video"].failed(
            ErrorCode.MODEL_LOAD_FAILED, "no such\nfile", gpu.now
        )
    gpu.scheduler.state.submit(request("v", "video"), gpu.now)
    gpu._take(gpu.scheduler.count_unclaimed({("video", "high"): 2}, gpu.now))
    gpu.now += 1

    assert lanes_of(gpu, "video") == {
        "fast": why,
        "high": f"not claimed before it could start: {why}",
    }


def test_a_long_error_is_cut() -> None:
    """The whole of it stands under `back_offs`."""
    gpu = VirtualGpu([VIDEO])
    gpu.scheduler.state.back_offs["video"].failed(ErrorCode.MODEL_LOAD_FAILED, "x" * 900, 0)
    gpu.scheduler.state.submit(request("v", "video"), 0)

    assert len(lanes_of(gpu, "video")["fast"]) < 200


def test_an_interactive_request_goes_first() -> None:
    """Who drains for it and how long that takes; who waits for its slot knows for whom."""
    gpu = warm("video")
    gpu.submit(request("v", "video", "high"), run_s=50)
    gpu.submit(request("i", "sdxl", "high", interactive=True))
    gpu.submit(request("w", "video", "high"))
    gpu.advance(1003)

    assert lanes_of(gpu, "sdxl") == {
        "high!": "the memory of video is being freed for it, after runs that end in about 7 s"
    }
    assert lanes_of(gpu, "video")["high"].startswith("every slot of video is taken; a run ends in")


def test_a_slot_is_kept_for_an_interactive_request() -> None:
    """It lacks the bytes of a run that goes on; nobody of the others may take its slot."""
    gpu = warm("sdxl", "chat")
    gpu.submit(request("a", "sdxl"), run_s=50)
    gpu.submit(request("i", "sdxl", "high", interactive=True))
    gpu.submit(request("b", "sdxl"))

    assert lanes_of(gpu, "sdxl") == {
        "high!": "sdxl has used up its budget; a run ends in about 8 s",
        "fast": "its slot is kept for an interactive request of sdxl high, which goes first",
    }


def test_other_programs_have_the_memory() -> None:
    """An operator looks for them, not for a model; and for the models where both hold some."""
    alone = VirtualGpu([VIDEO])
    alone.others_use(20)
    alone.submit(request("v", "video"))
    assert lanes_of(alone, "video") == {
        "fast": "the memory it needs is held by other programs (20 GB): 16 GB needed, 3 GB free"
    }

    both = warm("sdxl")
    both.submit(request("s", "sdxl"), run_s=500)
    both.others_use(8)
    both.submit(request("v", "video"))
    assert lanes_of(both, "video") == {
        "fast": "the memory it needs is held by other programs (8 GB) and sdxl: "
        "16 GB needed, 7.7 GB free"
    }


def test_an_exclusive_run() -> None:
    """Before it everybody's runs end; during it nobody starts; all of them know why."""
    gpu = warm("chat")
    gpu.submit(request("c", "chat"), run_s=30)
    gpu.submit(request("x", "chat", exclusive=True), run_s=40)
    gpu.submit(request("d", "chat"))
    gpu.advance(1002)
    assert lanes_of(gpu, "chat") == {
        "fast*": "it needs the device for itself, after runs that end in about 6 s",
        "fast": "its slot is kept for a run of chat fast that needs the device for itself, "
        "which goes first",
    }

    gpu.advance(1034)
    assert set(gpu.scheduler.state.runs) == {"x"}
    assert lanes_of(gpu, "chat") == {
        "fast": "a run of chat has the device for itself, after runs that end in about 8 s"
    }


def test_a_full_memory_of_the_host() -> None:
    """A model that can't wait there goes for good, and the host's free bytes say why."""
    gpu = VirtualGpu([SDXL, VIDEO], [device(20)], host_gb=4)
    gpu.submit(request("s", "sdxl", "high"), run_s=1)
    gpu.advance(40)
    gpu.submit(request("v", "video", interactive=True))
    view = gpu.scheduler.snapshot(gpu.now)

    assert lanes_of(gpu, "video") == {"fast!": "video is being loaded: 0 s of about 10 s"}
    assert view.devices[0].placements[0].residency == "evicting"
    assert view.host_free_bytes == 4 * GIB


def test_a_model_that_turns_out_too_large() -> None:
    """No patience helps: the numbers say what would."""
    gpu = VirtualGpu([VIDEO])
    gpu.scheduler.state.submit(request("v", "video", "high"), 0)
    gpu.scheduler.state.estimates.weights_measured("video", 24 * GIB)

    assert lanes_of(gpu, "video") == {
        "high": "it needs more memory than there is: 24 GB, and the largest device offers 23 GB"
    }


def test_a_run_that_is_over_its_time() -> None:
    """Nobody makes up when it will end: it may hang."""
    gpu = warm("video")
    gpu.submit(request("v", "video", "high"), run_s=500)
    gpu.submit(request("w", "video", "high"))
    gpu.submit(request("i", "sdxl", "high", interactive=True))
    gpu.advance(1100)

    assert lanes_of(gpu, "video") == {
        "high": "every slot of video is taken; a run is over its time"
    }
    assert lanes_of(gpu, "sdxl") == {
        "high!": "the memory of video is being freed for it, after runs that are over their time"
    }


def test_users_take_turns() -> None:
    """Whose share is used up sees how many of the others go before him."""
    gpu = warm("video")
    gpu.submit(request("v", "video", user="a"), run_s=50)
    for number in range(3):
        gpu.submit(request(f"a{number}", "video", user="a"))
    gpu.submit(request("b", "video", user="b"))
    ahead = {each.request_id: each.ahead for each in gpu.scheduler.snapshot(gpu.now).waiting}

    assert ahead == {"b": 0, "a0": 1, "a1": 2, "a2": 3}


def test_an_engine_that_leaks() -> None:
    """Its slots look free, and nobody gets one."""
    gpu = warm("chat")
    gpu.submit(request("c", "chat"), run_s=30)
    gpu.scheduler.state.placements["chat", 0].doomed = True
    gpu.scheduler.state.doomed.append(gpu.scheduler.state.placements["chat", 0])
    gpu.submit(request("d", "chat"))

    assert lanes_of(gpu, "chat") == {
        "fast": "the engine of chat leaks: it is replaced when idle, "
        "after runs that end in about 8 s"
    }


BACKPRESSURE = (
    "not claimed before it could start: every slot of video is taken; a run ends in about 8 s"
)


@pytest.mark.parametrize(
    ("arrange", "why"),
    [
        (lambda _: None, "about to be claimed"),
        (lambda gpu: gpu.scheduler.drain(), "not claimed: the worker drains"),
        (
            lambda gpu: gpu.submit(request("v", "video"), run_s=50),
            BACKPRESSURE,
        ),
    ],
    ids=["soon", "draining", "backpressure"],
)
def test_jobs_that_are_left_in_the_table(arrange: Callable[[VirtualGpu], None], why: str) -> None:
    """A class of which nothing is held is shown as well: an operator sees the queue, not claims."""
    gpu = warm("video")
    arrange(gpu)
    gpu._take(gpu.scheduler.count_unclaimed({("video", "high"): 7}, gpu.now))
    (lane,) = gpu.scheduler.snapshot(gpu.now).lanes

    assert (lane.quality, lane.waiting, lane.in_table, lane.oldest_s) == ("high", 0, 7, 0)
    assert lane.why == why

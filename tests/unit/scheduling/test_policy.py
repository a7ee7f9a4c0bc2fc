"""What runs next: the policy's decisions, one situation each, in virtual time."""

import pytest
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

from daemon.scheduling.commands import LoadModel, StartRun, UnloadModel
from daemon.scheduling.models import ModelSpec


def test_a_cold_model_is_loaded_and_then_runs() -> None:
    """The shortest way of a request."""
    gpu = VirtualGpu()
    gpu.submit(request("a", "sdxl"))
    gpu.finish()

    assert gpu.commands() == [LoadModel("sdxl", 0), StartRun("a", "sdxl", 0)]
    assert gpu.ended == {"a": 15}


def test_a_resident_model_starts_at_once() -> None:
    """No command but the start."""
    gpu = warm("chat")

    assert gpu.submit(request("a", "chat")) == [StartRun("a", "chat", 0)]


def test_the_oldest_starts_first_whenever_it_came() -> None:
    """Age is what the request says, not when it was submitted."""
    gpu = warm("video")
    for name, at in [("running", 0), ("young", 9), ("old", 1), ("middle", 5)]:
        gpu.submit(request(name, "video", at=at))
    gpu.finish()

    assert started(gpu) == ["running", "old", "middle", "young"]


def test_requests_of_the_same_age_keep_their_order() -> None:
    """First come, first served."""
    gpu = warm("video")
    for name in "abcd":
        gpu.submit(request(name, "video"))
    gpu.finish()

    assert started(gpu) == ["a", "b", "c", "d"]


def test_interactive_requests_go_before_batch() -> None:
    """A client that waits comes before older rows."""
    gpu = warm("video")
    gpu.submit(request("running", "video"))
    gpu.submit(request("row", "video", at=1))
    gpu.submit(request("client", "video", at=500, interactive=True))
    gpu.finish()

    assert started(gpu) == ["running", "client", "row"]


@pytest.mark.parametrize(
    ("spec", "qualities", "expected"),
    [
        (SDXL, ["fast"] * 4, 2),
        (SDXL, ["high"] * 4, 1),
        (SDXL, ["fast", "high"], 1),
        (WAN, ["fast"] * 6, 4),
        (WAN, ["high"] * 6, 2),
        (WAN, ["high", "high", "fast", "fast", "fast"], 4),
        (WAN, ["high", "fast", "fast", "fast", "fast"], 4),
        (VIDEO, ["fast"] * 3, 1),
        (CHAT, ["fast"] * 12, 8),
        (NOOP, ["fast"] * 300, 256),
        (model("light", 0, 0, 4, fast=(0, 2), high=(0, 4)), ["fast"] * 4, 2),
        (model("light", 0, 0, 4, fast=(0, 2), high=(0, 4)), ["fast"] * 2 + ["high"] * 4, 4),
    ],
)
def test_as_many_run_at_once_as_slots_and_bytes_allow(
    spec: ModelSpec, qualities: list[str], expected: int
) -> None:
    """Per quality, per model, and mixed within the budget."""
    gpu = VirtualGpu([spec])
    for number, quality in enumerate(qualities):
        gpu.submit(request(f"{number}", spec.name, quality, at=number), run_s=100)
    gpu.advance(20)

    assert len(started(gpu)) == expected


def test_models_that_fit_together_stay_together() -> None:
    """Chat, images of both kinds: one load each and no eviction."""
    gpu = VirtualGpu()
    for number in range(30):
        gpu.submit_at(number, request(f"{number}", ["chat", "sdxl", "wan"][number % 3], at=number))
    gpu.finish()

    assert sorted(moves(gpu)) == ["+chat", "+sdxl", "+wan"]


def test_nothing_loads_beside_another_load() -> None:
    """The second load waits for the first, on the same device only."""
    one, two = VirtualGpu(), VirtualGpu(devices=(device(24), device(24, 1)))
    for gpu in (one, two):
        gpu.submit(request("a", "chat"))
        gpu.submit(request("b", "sdxl"))

    assert moves(one) == ["+chat"]
    assert moves(two) == ["+chat", "+sdxl1"]
    one.advance(10)
    assert moves(one) == ["+chat", "+sdxl"]


@pytest.mark.parametrize(
    ("loaded", "quality", "expected"),
    [
        (["wan", "sdxl"], "fast", ["-sdxl", "+video"]),
        (["sdxl", "wan"], "fast", ["-sdxl", "+video"]),
        (["wan", "sdxl", "chat"], "fast", ["-sdxl", "+video"]),
        (["wan", "sdxl", "chat"], "high", ["-sdxl", "+video", "-chat"]),
    ],
)
def test_idle_models_that_nobody_waits_for_make_room(
    loaded: list[str], quality: str, expected: list[str]
) -> None:
    """Those whose bytes are least missed, and no more than are needed."""
    gpu = warm(*loaded)
    gpu.submit(request("a", "video", quality))
    gpu.finish()

    assert sorted(moves(gpu)) == sorted(expected)


def test_a_model_that_has_just_become_idle_lingers() -> None:
    """Its next job is usually on its way: a moment of patience saves two loads."""
    gpu = warm("sdxl", devices=(device(17),))
    gpu.submit(request("s1", "sdxl"), run_s=5)
    gpu.submit(request("v", "video"))
    gpu.submit_at(1005.1, request("s2", "sdxl"), run_s=5)
    gpu.advance(1010.25)

    assert (started(gpu), moves(gpu)) == (["s1", "s2"], [])
    gpu.advance(1010.35)
    assert moves(gpu) == ["-sdxl"]


def test_work_for_a_resident_model_goes_before_a_load() -> None:
    """A younger row of the loaded model is served before an older one that needs a load."""
    gpu = warm("video")
    gpu.submit(request("v1", "video", at=5), run_s=5)
    gpu.submit(request("s1", "sdxl", "high", at=1), run_s=5)
    gpu.submit(request("v2", "video", at=6), run_s=5)
    gpu.finish()

    assert started(gpu) == ["v1", "v2", "s1"]


def test_two_idle_models_that_block_one_another_do_not_stand_still() -> None:
    """Both are resident, neither has the bytes for its run: one of them makes room at once."""
    gpu = warm("sdxl", "video")
    gpu.submit(request("v0", "video"), run_s=5)
    gpu.submit(request("h", "sdxl", "high", at=2))
    gpu.submit(request("v1", "video", "high", at=1))
    gpu.finish()

    assert moves(gpu)[0] == "-video"
    assert gpu.started["h"] == 1006
    assert gpu.started["v1"] < 1040


def test_two_models_that_must_go_leave_at_the_same_time() -> None:
    """The second one doesn't wait for the first one's bytes to be back."""
    big = model("big", 20, 10, 1, fast=(11, 1), high=(20, 1))
    gpu = VirtualGpu([CHAT, SDXL, big])
    for name in ("chat", "sdxl", "big"):
        gpu.submit(request(f"warm-{name}", name), run_s=1)
        gpu.advance(gpu.now + 30)
    gpu.submit(request("b", "big", "high", interactive=True))

    assert moves(gpu)[:3] == ["+chat", "+sdxl", "+big"]
    assert sorted(moves(gpu)[3:]) == ["-chat", "-sdxl"]


def test_a_second_device_takes_a_second_copy() -> None:
    """Work that finds every slot taken is spread over devices with room."""
    gpu = VirtualGpu(devices=(device(24), device(24, 1)))
    for number in range(8):
        gpu.submit(request(f"{number}", "video"), run_s=30)
    gpu.finish()

    assert moves(gpu) == ["+video", "+video1"]
    assert len({each.device for each in gpu.commands() if isinstance(each, StartRun)}) == 2


def test_a_copy_takes_the_room_of_models_that_were_idle_for_the_whole_bound() -> None:
    """An idle model on another device isn't thrown out for a copy that soon."""
    gpu = warm("video", "sdxl", devices=(device(24), device(13, 1)))
    gpu.submit(request("v", "video"), run_s=41)
    gpu.advance(1050)
    for number in range(30):
        gpu.submit(request(f"s{number}", "sdxl", "high"), run_s=30)
    gpu.advance(1100.9)
    assert moves(gpu) == []
    gpu.advance(1120)

    assert moves(gpu) == ["-video", "+sdxl"]


def test_runs_go_where_least_is_running() -> None:
    """Two copies share the work."""
    gpu = VirtualGpu(devices=(device(24), device(24, 1)))
    for number in range(4):
        gpu.submit(request(f"warm{number}", "sdxl"), run_s=30)
    gpu.finish()
    gpu.log.clear()
    gpu.submit(request("a", "sdxl"))
    gpu.submit(request("b", "sdxl"))

    assert {each.device for each in gpu.commands()} == {0, 1}


def test_a_model_goes_to_the_only_device_that_is_large_enough() -> None:
    """Bytes decide, not the order of devices."""
    gpu = VirtualGpu(devices=(device(8), device(24, 1)))
    gpu.submit(request("a", "video"))

    assert moves(gpu) == ["+video1"]


def test_asking_changes_nothing() -> None:
    """The policy may be asked speculatively: the same answer twice, the same state."""
    gpu = warm("video")
    state = gpu.scheduler.state
    state.submit(request("a", "sdxl", "high"), 1000)
    policy = gpu.scheduler._policy

    assert policy.next_command(state, 1000) == policy.next_command(state, 1000)
    assert policy.next_command(state, 1000) == UnloadModel("video", 0)
    assert state.resident("video")

"""Events in, commands out: refusals, failed loads, lost engines, deadlines, snapshots."""

import pytest
from virtual_gpu import ALL, CHAT, SDXL, VIDEO, device, model, request

from daemon.jobs import ErrorCode
from daemon.scheduling import moves
from daemon.scheduling.claims import Claim
from daemon.scheduling.commands import Command, LoadModel, RefuseRequest, StartRun, UnloadModel
from daemon.scheduling.models import GIB, ModelSpec
from daemon.scheduling.scheduler import Scheduler
from daemon.scheduling.state import State
from daemon.values import Loaded


def scheduler(*models: ModelSpec, usable: float = 23) -> Scheduler:
    return Scheduler(models or ALL, [device(usable + 1)], max_pass_over_s=60)


def resident(*models: ModelSpec, usable: float = 23) -> Scheduler:
    """Return a scheduler with one run `r` on the first model."""
    one = scheduler(*models, usable=usable)
    name = models[0].name
    one.submit(request("r", name), 0)
    one.load_done(name, 0, Loaded(models[0].weights_bytes, 0.0), 10)
    return one


@pytest.mark.parametrize(("name", "quality"), [("flux", "fast"), ("chat", "high")])
def test_what_is_not_served_is_refused(name: str, quality: str) -> None:
    """Another worker's model, or a quality that the model doesn't have."""
    (refusal,) = scheduler().submit(request("a", name, quality), 0)

    assert refusal == RefuseRequest(
        "a",
        ErrorCode.MODEL_LOAD_FAILED,
        f"model {name} in quality {quality} isn't served by this worker",
    )


def test_what_never_fits_is_refused_with_its_numbers() -> None:
    """A device that is too small for the quality, but not for the other one."""
    one = scheduler(VIDEO, usable=17)
    (refusal,) = one.submit(request("a", "video", "high"), 0)

    assert refusal == RefuseRequest(
        "a",
        ErrorCode.VRAM_OVERFLOW,
        "model video in quality high needs 12 GB of weights and 8 GB for the run; "
        "its budget is 20 GB and the largest device offers 17 GB",
    )
    assert one.submit(request("b", "video", "fast"), 0) == [LoadModel("video", 0)]


def test_a_request_is_submitted_once() -> None:
    """Neither while it waits nor while it runs may its id come again."""
    one = scheduler(CHAT)
    one.submit(request("a", "chat"), 0)
    with pytest.raises(ValueError, match="request a was submitted before"):
        one.submit(request("a", "chat"), 1)
    one.load_done("chat", 0, Loaded(CHAT.weights_bytes, 0.0), 10)
    with pytest.raises(ValueError, match="request a was submitted before"):
        one.submit(request("a", "chat"), 11)


def test_a_withdrawn_request_never_starts() -> None:
    """It is forgotten; the load that it asked for goes on."""
    one = scheduler(CHAT)
    one.submit(request("a", "chat"), 0)

    assert one.withdraw("a", 1) == []
    assert one.load_done("chat", 0, Loaded(CHAT.weights_bytes, 0.0), 10) == []
    with pytest.raises(KeyError):
        one.withdraw("a", 11)
    with pytest.raises(KeyError):
        one.run_ended("a", 11)


def test_a_failed_load_answers_everybody_and_blocks_nobody_else() -> None:
    """Waiters of the model get its error; the next model loads at once."""
    one = scheduler()
    one.submit(request("a", "video"), 0)
    one.submit(request("b", "video", interactive=True), 0)
    one.submit(request("c", "sdxl"), 0)
    commands = one.load_failed("video", 0, ErrorCode.MODEL_LOAD_FAILED, "no such file", 3)

    assert sorted(map(str, commands)) == sorted(
        map(
            str,
            [
                RefuseRequest("a", ErrorCode.MODEL_LOAD_FAILED, "no such file"),
                RefuseRequest("b", ErrorCode.MODEL_LOAD_FAILED, "no such file"),
                LoadModel("sdxl", 0),
            ],
        )
    )


def test_during_back_off_requests_are_refused_and_none_are_demanded() -> None:
    """The error says what happened and when the next try is; then it is tried again."""
    one = scheduler(CHAT)
    one.submit(request("a", "chat"), 0)
    one.load_failed("chat", 0, ErrorCode.VRAM_OVERFLOW, "out of memory", 3)

    assert one.demand(4) == ()
    assert one.next_deadline(4) == 8
    assert one.submit(request("b", "chat"), 4) == [
        RefuseRequest("b", ErrorCode.VRAM_OVERFLOW, "out of memory (next try to load in 4 s)")
    ]
    assert [each.count for each in one.demand(8)] == [1]
    assert one.submit(request("c", "chat"), 8) == [LoadModel("chat", 0)]


def test_a_copy_that_fails_to_load_harms_nobody() -> None:
    """The model is resident elsewhere: its requests go on waiting for a slot there."""
    one = Scheduler([VIDEO], [device(24), device(24, 1)], max_pass_over_s=60)
    one.submit(request("a", "video"), 0)
    one.load_done("video", 0, Loaded(VIDEO.weights_bytes, 0.0), 10)

    assert one.submit(request("b", "video"), 11) == []
    assert one.submit(request("d", "video"), 12) == [LoadModel("video", 1)]
    assert one.load_failed("video", 1, ErrorCode.MODEL_LOAD_FAILED, "bad", 12) == []
    assert one.submit(request("c", "video"), 13) == []
    assert one.run_ended("a", 14) == [StartRun("b", "video", 0)]


def test_weights_above_the_budget_count_as_a_failed_load() -> None:
    """They are unloaded at once, and the waiters learn the numbers."""
    one = scheduler(CHAT)
    one.submit(request("a", "chat"), 0)

    assert one.load_done("chat", 0, Loaded(5 * GIB, 0.0), 10) == [
        UnloadModel("chat", 0),
        RefuseRequest(
            "a",
            ErrorCode.VRAM_OVERFLOW,
            "weights of model chat took 5 GB, its budget is 4 GB",
        ),
    ]
    assert one.unload_done("chat", 0, 11) == []
    assert one.submit(request("b", "chat"), 16) == [LoadModel("chat", 0)]


def test_weights_above_what_is_free_are_loaded_again_with_enough_room() -> None:
    """The load is undone; then more is evicted than before; nobody is refused."""
    first, second = model("first", 8, 4, 1, fast=(6, 1)), model("second", 8, 3, 1, fast=(4, 1))
    one = resident(first, second, usable=9)
    one.run_ended("r", 20)
    one.tick(30)
    assert one.submit(request("a", "second"), 30) == [LoadModel("second", 0)]

    assert one.load_done("second", 0, Loaded(6 * GIB, 0.0), 40) == [
        UnloadModel("second", 0),
        UnloadModel("first", 0),
    ]
    assert one.unload_done("second", 0, 41) == []
    assert one.unload_done("first", 0, 42) == [LoadModel("second", 0)]
    assert one.load_done("second", 0, Loaded(6 * GIB, 0.0), 52) == [StartRun("a", "second", 0)]


def test_requests_that_larger_weights_leave_no_room_for_are_refused() -> None:
    """What is learned at a load holds for those who wait already, and for those who come."""
    tight = model("tight", 20, 4, 1, fast=(6, 1), high=(8, 1))
    one = scheduler(tight, usable=8)
    one.submit(request("a", "tight"), 0)
    one.submit(request("b", "tight", "high"), 0)
    commands = one.load_done("tight", 0, Loaded(6 * GIB, 0.0), 10)

    assert [type(each) for each in commands] == [RefuseRequest, StartRun]
    assert [each.error_code for each in one.submit(request("c", "tight", "high"), 11)] == [
        ErrorCode.VRAM_OVERFLOW
    ]


def test_bytes_of_a_lost_engine_are_free_only_when_it_is_gone() -> None:
    """Its runs may end before; the other model loads after `unload_done`."""
    one = resident(VIDEO, SDXL, usable=18)
    one.submit(request("s", "sdxl"), 20)

    assert one.engine_lost("video", 0, 21) == []
    assert one.run_ended("r", 22) == []
    assert one.state.ledgers[0].free_bytes == 2 * GIB
    assert one.unload_done("video", 0, 23) == [LoadModel("sdxl", 0)]


def test_a_run_of_a_lost_engine_may_end_after_its_successor_has_loaded() -> None:
    """It frees nothing then: its bytes were freed with its engine."""
    one = resident(VIDEO)
    one.submit(request("next", "video"), 11)
    one.engine_lost("video", 0, 20)

    assert one.unload_done("video", 0, 21) == [LoadModel("video", 0)]
    assert one.load_done("video", 0, Loaded(VIDEO.weights_bytes, 0.0), 31) == [
        StartRun("next", "video", 0)
    ]
    assert one.run_ended("r", 32) == []
    one.state.ledgers[0].check()
    assert one.state.ledgers[0].reserved_by("video") == 4 * GIB


def test_an_engine_that_dies_while_it_is_unloaded_is_no_news() -> None:
    """The unload goes on."""
    one = resident(VIDEO, SDXL)
    one.run_ended("r", 20)
    assert one.submit(request("s", "sdxl", "high", interactive=True), 30) == [
        UnloadModel("video", 0),
        LoadModel("sdxl", 0),
    ]

    assert one.engine_lost("video", 0, 31) == []
    assert one.load_done("sdxl", 0, Loaded(SDXL.weights_bytes, 0.0), 40) == []
    assert one.unload_done("video", 0, 41) == [StartRun("s", "sdxl", 0)]


def test_ticks_at_the_deadline_suffice() -> None:
    """Nothing happens between deadlines, and something may at each."""
    one = resident(VIDEO, SDXL, usable=18)
    one.submit(request("s", "sdxl"), 20)
    assert one.next_deadline(20) == 80
    one.run_ended("r", 30)

    assert one.next_deadline(30) == 30.2
    assert one.tick(30.19) == []
    assert one.tick(30.2) == [UnloadModel("video", 0)]


@pytest.mark.parametrize("ended_s", [0.03570464027210636, 0.1835293888878827])
def test_a_tick_at_a_deadline_decides_whatever_its_fraction(ended_s: float) -> None:
    """No rounding lets the moment pass: nobody would look again before the next event."""
    one = scheduler(VIDEO, SDXL, usable=18)
    one.submit(request("r", "video"), 0)
    one.load_done("video", 0, Loaded(VIDEO.weights_bytes, 0.0), 0)
    one.submit(request("s", "sdxl"), 0)
    one.run_ended("r", ended_s)

    assert one.next_deadline(ended_s) == ended_s + 0.2
    assert one.tick(ended_s + 0.2) == [UnloadModel("video", 0)]


def test_a_policy_that_answers_nonsense_is_stopped() -> None:
    """State checks every command, so that a better policy can't be a worse one."""
    one = resident(CHAT, SDXL)
    with pytest.raises(AssertionError, match="has 1 runs"):
        moves.evict(one.state, "chat", 0, 20)
    with pytest.raises(AssertionError, match="has 1 runs"):
        moves.offload(one.state, "chat", 0, 20)
    moves.load(one.state, "sdxl", 0, 20)
    one.state.submit(request("s", "sdxl"), 20)
    with pytest.raises(AssertionError, match="no slot of sdxl on 0"):
        one.state.start("s", 0, 20)
    both = scheduler(CHAT, SDXL)
    moves.load(both.state, "sdxl", 0, 20)
    with pytest.raises(AssertionError, match="beside what goes on there"):
        moves.load(both.state, "chat", 0, 20)
    with pytest.raises(AssertionError, match="can't be offloaded"):
        moves.offload(scheduler(CHAT).state, "chat", 0, 20)


def test_a_policy_may_refuse() -> None:
    """The command is carried out like any other."""

    class Refusing:
        fair = True

        def next_command(self, state: State, now: float) -> Command | None:
            return next(
                (RefuseRequest(name, ErrorCode.NETWORK_ERROR, "no") for name in state.waiting), None
            )

        def claims(self, state: State, now: float) -> dict[int, Claim]:
            return {}

        def next_deadline(self, state: State, now: float) -> None:
            return None

        def fresh(self) -> "Refusing":
            return self

    one = Scheduler([CHAT], [device(24)], max_pass_over_s=60, policy=Refusing())

    assert one.submit(request("a", "chat"), 0) == [
        RefuseRequest("a", ErrorCode.NETWORK_ERROR, "no")
    ]
    assert one.state.waiting == {}

"""Why requests wait: each second has one reason, and the seconds add up."""

import random
from dataclasses import dataclass, field

import pytest
from virtual_gpu import ALL, CHAT, SDXL, VIDEO, VirtualGpu, device, moves, request, warm

from daemon.jobs import ErrorCode
from daemon.scheduling.reasons import Reason, WaitClock
from daemon.scheduling.scheduler import Scheduler
from daemon.values import NO_WAIT, Waits


@dataclass
class Accounted:
    """Runs a host and keeps its account as the daemon does: after each event."""

    gpu: VirtualGpu
    step_s: float = 0.25
    waits: dict[str, Waits] = field(default_factory=dict)

    def __post_init__(self) -> None:
        take = self.gpu._take

        def taken(commands: list[object]) -> list[object]:
            take(commands)
            self.gpu.scheduler.account(self.gpu.now)
            self.waits |= {
                name: self.gpu.scheduler.waited(name) for name in self.gpu.scheduler.state.runs
            }
            return commands

        self.gpu._take = taken

    def waited(self, name: str) -> dict[str, float]:
        """Return what a request has waited for."""
        return {why: round(s, 6) for why, s in self.waits[name]._asdict().items() if s > 1e-9}


def test_a_clock_adds_up_by_reason() -> None:
    """Its readings are of all time; what a request waited is the difference of two."""
    clock = WaitClock()
    clock.turn(Reason.LOAD, 10)
    first = clock.at(12)
    clock.turn(Reason.SWITCH, 15)
    clock.turn(Reason.SWITCH, 16)

    assert first == Waits(queue=10, vram=0, switch=0, load=2)
    assert clock.at(18).since(first) == Waits(queue=0, vram=0, switch=3, load=3)


def test_who_starts_at_once_has_waited_for_nothing() -> None:
    """Its model is there, and a slot."""
    one = Accounted(warm("video"))
    one.gpu.submit(request("v", "video"))

    assert one.waits["v"] == NO_WAIT


def test_a_cold_model_is_waited_for() -> None:
    """From the first moment to the end of the load."""
    one = Accounted(VirtualGpu())
    one.gpu.submit(request("v", "video"))
    one.gpu.finish()

    assert one.waited("v") == {"load": 10}


def test_a_taken_slot_is_a_queue() -> None:
    """The model is there and has its bytes."""
    one = Accounted(warm("video"))
    one.gpu.submit(request("a", "video"), run_s=7)
    one.gpu.submit(request("b", "video"), run_s=7)
    one.gpu.finish()

    assert one.waited("b") == {"queue": 7}


def test_a_switch_is_the_time_until_others_have_gone() -> None:
    """A run drains for it; then comes the load."""
    one = Accounted(warm("video"))
    one.gpu.submit(request("v", "video", "high"), run_s=20)
    one.gpu.advance(1001)
    one.gpu.submit(request("s", "sdxl", "high", interactive=True))
    one.gpu.finish()

    assert one.waited("s") == {"switch": 19, "load": 10}


def test_bytes_that_are_on_their_way_back_are_a_switch() -> None:
    """Its model is there; an idle one goes for it, and nobody has to drain any more."""
    one = Accounted(warm("sdxl", "video"))
    one.gpu.submit(request("v", "video", "high", interactive=True))
    one.gpu.finish()

    assert moves(one.gpu) == ["-sdxl"]
    assert one.waited("v") == {"switch": 1}


def test_bytes_of_work_that_goes_on_are_vram() -> None:
    """The work of two models excludes one another, and the other one is worth more."""
    one = Accounted(warm("video"))
    for number in range(8):
        one.gpu.submit(request(f"v{number}", "video", "high"), run_s=5)
    one.gpu.submit(request("s", "sdxl", "high"))
    one.gpu.advance(1003)

    assert one.gpu.scheduler.state.lane("sdxl", "high").clock.reason is Reason.VRAM


def test_bytes_of_other_programs_are_vram() -> None:
    """Nobody leaves for it: there is nobody."""
    one = Accounted(VirtualGpu())
    one.gpu.others_use(20)
    one.gpu.submit(request("v", "video"))
    one.gpu.advance(30)
    one.gpu.others_use(0)
    one.gpu.finish()

    assert one.waited("v") == {"vram": 30, "load": 10}


def test_a_back_off_counts_as_a_load() -> None:
    """The pause before the next try is part of it."""
    one = Scheduler([VIDEO], [device(24), device(24, 1)], max_pass_over_s=60)
    one.state.back_offs["video"].failed(ErrorCode.MODEL_LOAD_FAILED, "bad", 0)
    one.state.submit(request("v", "video"), 1)
    one.account(1)

    assert one.snapshot(3).waiting[0].waited_s == {"queue": 0, "vram": 0, "switch": 0, "load": 2}


def test_a_slot_that_is_kept_for_somebody_is_a_queue() -> None:
    """It is free, but whoever needs the device for himself goes first."""
    gpu = warm("sdxl")
    gpu.submit(request("a", "sdxl"), run_s=50)
    gpu.submit(request("x", "sdxl", exclusive=True))
    gpu.submit(request("b", "sdxl"))
    lanes = {lane.exclusive: lane for lane in gpu.scheduler.snapshot(1000).lanes}

    assert lanes[False].reason is Reason.QUEUE
    assert lanes[False].why == (
        "its slot is kept for a run of sdxl fast that needs the device for itself, which goes first"
    )
    assert lanes[True].reason is Reason.QUEUE


@pytest.mark.parametrize("seed", range(4))
def test_the_seconds_of_each_request_add_up(seed: int) -> None:
    """Start less submission, whatever it has waited for in between."""
    draw = random.Random(seed)
    one = Accounted(VirtualGpu(ALL, host_gb=draw.choice([0, 32])))
    for number in range(80):
        at = draw.uniform(0, 200)
        spec = draw.choice([each for each in ALL if each.name != "noop"])
        each = request(
            f"{number}",
            spec.name,
            draw.choice(sorted(spec.qualities)),
            at=at,
            interactive=draw.random() < 0.3,
            exclusive=draw.random() < 0.1,
        )
        one.gpu.submit_at(at, each, run_s=draw.uniform(1, 20))
    one.gpu.finish()

    assert set(one.waits) == set(one.gpu.started)
    for name, waits in one.waits.items():
        waited_s = one.gpu.started[name] - one.gpu.submitted[name].created_s
        assert sum(waits) == pytest.approx(waited_s)
        assert min(waits) >= -1e-9


def test_who_waits_for_another_models_load_waits_for_its_turn() -> None:
    """Nobody holds the memory it needs: models load one by one."""
    gpu = VirtualGpu([CHAT, SDXL])
    gpu.submit(request("c", "chat"))
    gpu.submit(request("s", "sdxl"))
    gpu.advance(4)
    (lane,) = [each for each in gpu.scheduler.snapshot(4).lanes if each.model == "sdxl"]

    assert lane.why == "chat is being loaded first: one model at a time"
    assert gpu.scheduler.state.waiting["s"].waits(4).queue == 4

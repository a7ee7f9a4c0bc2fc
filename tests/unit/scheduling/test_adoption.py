"""Engines that are there before the scheduler is: their bytes count from the first decision on."""

from virtual_gpu import CHAT, SDXL, VIDEO, device, request

from daemon.scheduling.commands import LoadModel, StartRun, UnloadModel
from daemon.scheduling.models import GIB
from daemon.scheduling.residency import Residency
from daemon.scheduling.scheduler import Scheduler
from daemon.values import Loaded


def scheduler(gb: int = 24, preload: tuple[str, ...] = ()) -> Scheduler:
    return Scheduler([SDXL, VIDEO, CHAT], [device(gb)], max_pass_over_s=60, preload=preload)


def test_an_adopted_engine_serves_at_once() -> None:
    """No load is commanded, and none is learned of: that it took no time is no measurement."""
    one = scheduler()
    expected_s = one.state.durations.load_s("chat")

    assert one.adopt([("chat", 0, Loaded(CHAT.weights_bytes, 7.0))], 5) == []

    assert one.submit(request("c", "chat"), 6) == [StartRun("c", "chat", 0)]
    assert one.state.durations.load_s("chat") == expected_s
    one.state.ledgers[0].check()


def test_what_it_really_holds_is_held() -> None:
    """The measured bytes, not the expected ones; and nothing is loaded into them."""
    one = scheduler(preload=("video",))
    taken = CHAT.weights_bytes + GIB // 4

    one.adopt([("chat", 0, Loaded(taken, 7.0)), ("sdxl", 0, Loaded(SDXL.weights_bytes, 7.0))], 5)

    ledger = one.state.ledgers[0]
    assert (ledger.weights_of("chat"), ledger.weights_of("sdxl")) == (taken, SDXL.weights_bytes)
    ledger.check()


def test_decisions_come_after_all_were_taken_in() -> None:
    """A model that is to be there in any case isn't loaded into the room of the next engine."""
    one = scheduler(gb=16, preload=("video",))
    both = [("chat", 0, Loaded(CHAT.weights_bytes, 7.0)), ("sdxl", 0, Loaded(8 * GIB, 7.0))]

    assert not any(isinstance(each, LoadModel) for each in one.adopt(both, 5))

    one.state.ledgers[0].check()


def test_one_that_does_not_fit_is_unloaded() -> None:
    """Another model's budget may have grown: its bytes stay held until it is gone."""
    one = scheduler(gb=16)
    held = [("video", 0, Loaded(12 * GIB, 9.0)), ("sdxl", 0, Loaded(SDXL.weights_bytes, 7.0))]

    commands = one.adopt(held, 5)

    assert commands == [UnloadModel("sdxl", 0)]
    assert one.state.placements["sdxl", 0].residency is Residency.EVICTING
    one.unload_done("sdxl", 0, 6)
    one.state.ledgers[0].check()
    assert one.state.ledgers[0].held_bytes == 12 * GIB

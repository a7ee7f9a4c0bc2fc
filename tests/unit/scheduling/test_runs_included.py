"""Models that take at their load what their runs will need: runs add nothing, slots still count."""

import pytest
from virtual_gpu import CHAT, SDXL, VirtualGpu, device, request, started

from daemon.job_types import Model
from daemon.model_specs import specs_from
from daemon.scheduling import moves
from daemon.scheduling.commands import LoadModel, StartRun, UnloadModel
from daemon.scheduling.learning import Measured
from daemon.scheduling.models import GIB, check_fits
from daemon.scheduling.scheduler import Scheduler
from daemon.settings import load_settings
from daemon.values import Loaded, Offloaded

WHOLE = CHAT.including_runs()


def serving(measured_gb: float = 3.5, capacity_gb: float = 24, host_gb: int = 0) -> Scheduler:
    """Return a scheduler with `WHOLE` loaded for nine requests."""
    one = Scheduler(
        [WHOLE, SDXL], [device(capacity_gb)], max_pass_over_s=60, host_bytes=host_gb * GIB
    )
    for number in range(9):
        one.submit(request(f"{number}", "chat"), 0)
    one.load_done("chat", 0, Loaded(int(measured_gb * GIB), 1.0, offloads=host_gb > 0), 10)
    return one


@pytest.mark.parametrize("measured_gb", [1.0, 3.5, 4.0])
def test_as_many_run_at_once_as_there_are_slots(measured_gb: float) -> None:
    """On a device that holds the budget and not a byte more; the ninth waits for a slot."""
    one = serving(measured_gb, capacity_gb=5)
    ledger = one.state.ledgers[0]
    ledger.check()

    assert set(one.state.runs) == {f"{number}" for number in range(8)}
    assert (ledger.weights_of("chat"), ledger.reserved_by("chat")) == (4 * GIB, 0)
    assert ledger.free_bytes == 0
    assert one.run_ended("3", 11) == [StartRun("8", "chat", 0)]
    ledger.check()


def test_the_budget_is_held_from_the_beginning_of_the_load() -> None:
    """Nothing else may get the bytes that the load is about to take."""
    one = Scheduler([WHOLE, SDXL], [device(16.5)], max_pass_over_s=60)
    assert one.submit(request("chat", "chat"), 0) == [LoadModel("chat", 0)]

    assert one.state.ledgers[0].weights_of("chat") == 4 * GIB


def test_what_a_load_has_not_taken_yet_stays_its_own() -> None:
    """Its runs may take it at any time, without asking."""
    one = serving(measured_gb=1.0)

    assert one.state.ledgers[0].weights_of("chat") == 4 * GIB


def test_a_load_that_took_more_than_the_budget_is_undone() -> None:
    """As with any other model."""
    one = Scheduler([WHOLE], [device(24)], max_pass_over_s=60)
    one.submit(request("a", "chat"), 0)
    commands = one.load_done("chat", 0, Loaded(int(4.2 * GIB), 1.0), 10)

    assert UnloadModel("chat", 0) in commands
    one.state.ledgers[0].check()


def test_filling_what_was_granted_is_no_leak() -> None:
    """A KV cache is touched little by little; growth beyond the budget is a leak all the same."""
    one = serving(measured_gb=1.0)
    for number in range(9):
        one.run_ended(f"{number}", 20 + number, Measured(held_bytes=int((1 + number / 3) * GIB)))
    assert one.state.doomed == []

    commands = []
    for held_gb in (5, 6, 7):
        one.submit(request(f"{held_gb} GB", "chat"), 40)
        commands += one.run_ended(f"{held_gb} GB", 41, Measured(held_bytes=held_gb * GIB))

    assert commands == [UnloadModel("chat", 0)]


def test_peaks_teach_nothing_about_its_runs() -> None:
    """They are promised nothing, whatever was measured."""
    one = serving()
    for number in range(8):
        one.run_ended(f"{number}", 20, Measured(peak_bytes=5 * GIB, held_bytes=3 * GIB))
    one.submit(request("next", "chat"), 30)

    assert one.state.runs["next"].promised == 0
    assert one.state.estimates.learned() == {}


def test_after_a_stay_on_the_host_the_whole_budget_is_held_again() -> None:
    """What its weights take on the host is what it says, without the cache of its runs."""
    one = serving(host_gb=64)
    for number in range(9):
        one.run_ended(f"{number}", 20 + number)
    moves.offload(one.state, "chat", 0, 40)
    one.offload_done("chat", 0, Offloaded(GIB // 2, 2 * GIB, 0.5), 41)
    assert one.state.ledgers[0].weights_of("chat") == GIB // 2
    assert one.state.host.held_by("chat", 0) == 2 * GIB

    assert one.submit(request("next", "chat"), 50) == [LoadModel("chat", 0)]
    assert one.state.ledgers[0].weights_of("chat") == 4 * GIB
    assert one.load_done("chat", 0, Loaded(2 * GIB, 0.5), 52) == [StartRun("next", "chat", 0)]
    one.state.ledgers[0].check()


def test_it_goes_beside_others_as_its_budget_says() -> None:
    """In a whole host: nothing is ever promised twice, which the shadow counts."""
    gpu = VirtualGpu([WHOLE, SDXL], [device(17.5)])
    for number in range(12):
        gpu.submit(request(f"chat {number}", "chat"))
        gpu.submit(request(f"sdxl {number}", "sdxl", "high" if number % 3 else "fast"))
    gpu.advance(400)

    assert len(started(gpu)) == 24


def test_vllm_is_such_a_runner() -> None:
    """By the default settings chat is on vLLM; transformers takes memory run by run."""
    shipped = {spec.name: spec for spec in specs_from(load_settings().models)}
    chosen = load_settings(overrides={"models": {"chat": {"runner": "transformers"}}})
    (other,) = specs_from({Model.CHAT: chosen.models[Model.CHAT]})

    assert shipped["chat"].runs_included
    assert shipped["chat"].weights_bytes == shipped["chat"].budget_bytes == 4 * GIB
    assert shipped["chat"].activation_bytes("fast") == 0
    assert not other.runs_included
    assert other.activation_bytes("fast") > 0
    assert check_fits(shipped.values(), [device(24)]) == []

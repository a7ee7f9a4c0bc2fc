"""What was learned moves from one scheduler to the next, as far as it still means something."""

from dataclasses import replace

import pytest
from virtual_gpu import ALL, CHAT, SDXL, device, request

from daemon.scheduling import moves
from daemon.scheduling.estimates import ENOUGH, LOADS, MARGIN, WINDOW
from daemon.scheduling.figures import Figures, Learner
from daemon.scheduling.learning import Measured
from daemon.scheduling.models import GIB, ModelSpec
from daemon.scheduling.scheduler import Scheduler
from daemon.values import Loaded, Offloaded

TOOK = GIB // 4


def scheduler(*models: ModelSpec) -> Scheduler:
    return Scheduler(models or ALL, [device(24)], max_pass_over_s=60, host_bytes=64 * GIB)


def experienced(runs: int = ENOUGH) -> Scheduler:
    """Return one that has loaded SDXL, run it, and moved it there and back."""
    one = scheduler(SDXL)
    one.submit(request("0", "sdxl", size=1 << 20), 0)
    one.load_done("sdxl", 0, Loaded(7 * GIB, 20.0, offloads=True), 20)
    for number in range(runs):
        if number:
            one.submit(request(f"{number}", "sdxl", size=1 << 20), 20 + 4 * number)
        one.run_ended(f"{number}", 24 + 4 * number, Measured(peak_bytes=7 * GIB + TOOK))
    return one


def test_a_new_scheduler_goes_on_where_the_old_one_was() -> None:
    """Reservations, weights and durations are those of the old one at once."""
    old, new = experienced(), scheduler()
    Learner(new.state).recall(Learner(old.state).figures())
    each = request("n", "sdxl", size=1 << 20)

    assert new.state.estimates.reservation(each) == int(TOOK * MARGIN)
    assert new.state.estimates.weights("sdxl") == 7 * GIB
    assert new.state.durations.load_s("sdxl") == old.state.durations.load_s("sdxl") != 10
    assert new.state.durations.run_s(("sdxl", "fast")) < 10
    assert new.snapshot(0).reservations == old.snapshot(0).reservations
    assert Learner(new.state).figures() == Learner(old.state).figures()


def test_each_move_is_remembered_by_its_name() -> None:
    """None is taken for another."""
    one = scheduler(SDXL)
    for number, move in enumerate(("load", "unload", "restore", "offload")):
        one.state.durations.moves("sdxl")[move].observe(number + 1)
    other = scheduler(SDXL)
    Learner(other.state).recall(Learner(one.state).figures())

    def seen(of: Scheduler) -> list[float]:
        ask = of.state.durations
        return [ask.load_s("sdxl"), ask.unload_s("sdxl"), ask.restore_s("sdxl"),
                ask.offload_s("sdxl")]  # fmt: skip

    assert seen(other) == seen(one)
    assert len(set(seen(one))) == 4


def test_a_run_of_the_new_one_counts_beside_those_of_the_old() -> None:
    """One short of enough in the old one: the next run is the last one that the table lacks."""
    new = scheduler(SDXL)
    Learner(new.state).recall(Learner(experienced(ENOUGH - 1).state).figures())
    each = request("n", "sdxl", size=1 << 20)
    assert new.state.estimates.reservation(each) > TOOK * MARGIN
    new.state.estimates.took(each, TOOK, TOOK)

    assert new.state.estimates.reservation(each) == int(TOOK * MARGIN)


def test_nothing_learned_is_nothing_told() -> None:
    """A scheduler that has seen nothing doesn't claim so."""
    assert Learner(scheduler().state).figures() == {}


def test_what_the_settings_left_out_is_left_out() -> None:
    """Models, qualities and moves that aren't there any more."""
    one = scheduler(replace(SDXL, qualities={"high": SDXL.qualities["high"]}))
    gone = Figures(
        peaks={("fast", 0, 1): (GIB,)}, runs_s={"fast": (1.0,)}, moves_s={"teleport": (1.0,)}
    )
    Learner(one.state).recall({"sdxl": gone, "flux": gone})

    assert Learner(one.state).figures() == {}


def test_weights_above_the_budget_are_not_believed() -> None:
    """The model would never be loaded, and so never be measured again."""
    one = scheduler(CHAT)
    Learner(one.state).recall({"chat": Figures(weights=(CHAT.budget_bytes + 1,))})

    assert one.state.estimates.weights("chat") == CHAT.weights_bytes
    assert one.state.ever_fits("chat", "fast")


def test_no_more_is_recalled_than_one_remembers() -> None:
    """The last ones count."""
    one = scheduler(SDXL)
    many = Figures(
        weights=tuple(range(20)),
        peaks={("fast", 0, 1): tuple(range(1, 200))},
        runs_s={"fast": tuple(float(each) for each in range(200))},
    )
    Learner(one.state).recall({"sdxl": many})
    [figures] = Learner(one.state).figures().values()

    assert figures.weights == tuple(range(20))[-LOADS:]
    assert figures.peaks["fast", 0, 1] == tuple(range(1, 200))[-WINDOW:]
    assert figures.runs_s["fast"] == tuple(float(each) for each in range(200))[-WINDOW:]


def test_a_move_to_the_host_and_back_is_learned() -> None:
    """As the scheduler itself measures them."""
    one = experienced()
    one.submit(request("v", "sdxl", "high"), 100)
    one.run_ended("v", 101, Measured())
    place = one.state.placements["sdxl", 0]
    assert place.offloads
    moves.offload(one.state, "sdxl", 0, 110)
    one.offload_done("sdxl", 0, Offloaded(0, 7 * GIB, 1.5), 111.5)

    assert Learner(one.state).figures()["sdxl"].moves_s["offload"] == (1.5,)


@pytest.mark.parametrize("loads", [LOADS, LOADS + 1])
def test_one_odd_load_is_forgotten_after_some_others(loads: int) -> None:
    """Weights follow the largest of the last loads, else they could only ever grow."""
    estimates = scheduler(SDXL).state.estimates
    estimates.weights_measured("sdxl", 9 * GIB)
    for _ in range(loads - 1):
        estimates.weights_measured("sdxl", 6 * GIB)

    expected = 9 * GIB if loads == LOADS else SDXL.weights_bytes
    assert estimates.weights("sdxl") == expected

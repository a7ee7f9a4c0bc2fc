"""Engines that leak: which growth is one, and what becomes of them."""

import pytest
from virtual_gpu import CHAT, SDXL, VirtualGpu, device, moves, request, started

from daemon.scheduling.commands import LoadModel, StartRun, UnloadModel
from daemon.scheduling.leaks import ALLOWED_BYTES, LeakWatch
from daemon.scheduling.learning import Measured
from daemon.scheduling.models import GIB
from daemon.scheduling.moves import doom
from daemon.scheduling.residency import Residency
from daemon.scheduling.scheduler import Scheduler
from daemon.scheduling.victims import goes_to_host
from daemon.values import Loaded

MIB = 2**20


def leaks_at(held_mib: list[int]) -> list[int]:
    """Return after which runs, counted from 1, an engine that holds so much is said to leak."""
    watch = LeakWatch()
    return [number for number, held in enumerate(held_mib, 1) if watch.observe(held * MIB)]


@pytest.mark.parametrize(
    ("held_mib", "expected"),
    [
        ([1000] * 10, []),
        ([1000, 2000, 3000], []),
        ([1000, 1000, 1000, 1100, 1200, 1300, 1400], [6, 7]),
        ([1000, 1000, 1000, 5000, 5000, 5000, 5000], []),
        ([1000, 1000, 1000, 1300, 1200, 1500, 1400, 1700], []),
        ([1000, 1000, 1000, 1001, 1002, 1003, 1004], []),
        ([9000, 9000, 9000, 9200, 9400, 9600, 9800, 10000], [8]),
        ([4000, 1000, 1000, 1100, 1200, 1300, 1400], []),
    ],
    ids=[
        "as it was",
        "warming up",
        "growing",
        "one large picture",
        "to and fro",
        "a little",
        "a tenth of much",
        "below where it was",
    ],
)
def test_growth_from_run_to_run_beyond_what_is_allowed_is_a_leak(
    held_mib: list[int], expected: list[int]
) -> None:
    """After the first runs, three times in a row, and by more than caches explain."""
    assert leaks_at(held_mib) == expected
    assert ALLOWED_BYTES == 256 * MIB


def ends(one: Scheduler, now: float, *held_gb: float) -> list[object]:
    """End a run after another, each measured; the next one is there already."""
    commands: list[object] = []
    for number, held in enumerate(held_gb):
        name = f"{now}-{number}"
        one.submit(request(name, "sdxl", "high"), now)
        commands = [*one.run_ended(name, now + number + 1, Measured(held_bytes=int(held * GIB)))]
    return commands


def serving() -> Scheduler:
    one = Scheduler([SDXL, CHAT], [device(24)], max_pass_over_s=60, host_bytes=64 * GIB)
    one.submit(request("first", "sdxl", "high"), 0)
    one.load_done("sdxl", 0, Loaded(SDXL.weights_bytes, 0.0, offloads=True), 10)
    one.run_ended("first", 11)
    return one


def test_a_leaking_engine_is_replaced_when_it_is_idle() -> None:
    """It goes to disk, although its weights could wait on the host, and comes back new."""
    one = serving()
    assert ends(one, 20, 7, 7, 7, 8, 9, 10) == [UnloadModel("sdxl", 0)]
    one.submit(request("next", "sdxl", "high"), 30)

    assert one.unload_done("sdxl", 0, 31) == [LoadModel("sdxl", 0)]
    assert one.load_done("sdxl", 0, Loaded(SDXL.weights_bytes, 0.0), 41) == [
        StartRun("next", "sdxl", 0)
    ]
    assert ends(one, 50) == []
    assert one.run_ended("next", 51, Measured(held_bytes=11 * GIB)) == []


def test_what_a_leaking_engine_holds_is_no_weights_to_keep() -> None:
    """To put it away costs what it costs to go to disk, and back."""
    one = serving()
    place = one.state.placements["sdxl", 0]
    assert goes_to_host(one.state, place)
    doom(one.state, place)

    assert not goes_to_host(one.state, place)


def test_its_runs_end_and_no_others_begin() -> None:
    """Who waits gets the next engine."""
    one = Scheduler([SDXL], [device(24)], max_pass_over_s=60)
    for number in range(9):
        one.submit(request(f"{number}", "sdxl"), 0)
    one.load_done("sdxl", 0, Loaded(SDXL.weights_bytes, 0.0), 10)
    for number, held in enumerate([7, 7, 7, 8, 9]):
        one.run_ended(f"{number}", 11 + number, Measured(held_bytes=held * GIB))
    assert set(one.state.runs) == {"5", "6"}
    assert one.run_ended("5", 20, Measured(held_bytes=10 * GIB)) == []
    assert one.snapshot(20).devices[0].placements[0].leaks
    assert [each.job_types for each in one.demand(20)] == [("sdxl_high",)]  # to look ahead

    assert one.run_ended("6", 21) == [UnloadModel("sdxl", 0)]
    assert one.unload_done("sdxl", 0, 22) == [LoadModel("sdxl", 0)]


def test_two_runs_that_show_the_same_leak_replace_one_engine() -> None:
    """The successor isn't taken for the one that leaked."""
    one = Scheduler([SDXL], [device(24)], max_pass_over_s=60)
    for number in range(9):
        one.submit(request(f"{number}", "sdxl"), 0)
    one.load_done("sdxl", 0, Loaded(SDXL.weights_bytes, 0.0), 10)
    for number, held in enumerate([7, 7, 7, 8, 9, 10, 11]):
        one.run_ended(f"{number}", 11 + number, Measured(held_bytes=held * GIB))
    one.unload_done("sdxl", 0, 20)

    assert one.state.doomed == []
    assert one.load_done("sdxl", 0, Loaded(SDXL.weights_bytes, 0.0), 30) == [
        StartRun("7", "sdxl", 0),
        StartRun("8", "sdxl", 0),
    ]


def test_a_leaking_engine_that_dies_is_gone_like_any_other() -> None:
    """Nothing of it is left that would harm the next one."""
    one = serving()
    one.submit(request("long", "sdxl"), 12)
    for number, held in enumerate([7, 7, 7, 8, 9, 10]):
        name = f"{number}"
        one.submit(request(name, "sdxl"), 20)
        one.run_ended(name, 21, Measured(held_bytes=held * GIB))
    assert one.state.placements["sdxl", 0].doomed
    one.engine_lost("sdxl", 0, 30)
    one.run_ended("long", 31)
    one.unload_done("sdxl", 0, 32)

    place = one.state.placements["sdxl", 0]
    assert (place.residency, place.doomed, one.state.doomed) == (Residency.COLD, False, [])


def test_a_run_of_an_engine_that_is_gone_says_nothing_of_the_next() -> None:
    """It is told late, when a successor is there."""
    one = serving()
    ends(one, 20, 7, 7, 7, 8, 9)
    one.submit(request("late", "sdxl"), 30)
    one.engine_lost("sdxl", 0, 31)
    one.unload_done("sdxl", 0, 32)
    one.submit(request("next", "sdxl"), 33)
    one.load_done("sdxl", 0, Loaded(SDXL.weights_bytes, 0.0), 43)

    assert one.run_ended("late", 44, Measured(held_bytes=20 * GIB)) == []
    assert not one.state.placements["sdxl", 0].doomed


def test_a_host_that_lives_on_serves_everybody() -> None:
    """A load is the price, every few runs; nobody is lost."""
    gpu = VirtualGpu([SDXL])
    for number in range(30):
        gpu.measured[f"{number}"] = Measured(held_bytes=(7 + number) * GIB)
        gpu.submit(request(f"{number}", "sdxl", "high"), run_s=5)
    gpu.finish()

    assert len(started(gpu)) == 30
    assert moves(gpu).count("-sdxl") == 5


def busy(leak_gb: float, runs: int) -> tuple[Scheduler, list[object], int]:
    """End so many runs of an engine that always has another one beside; some GB are left of each.

    Returns the scheduler, its last commands, and how often the engine was idle.
    """
    one = Scheduler([SDXL], [device(24)], max_pass_over_s=60)
    for number in range(runs + 4):
        one.submit(request(f"{number}", "sdxl"), 0)
    one.load_done("sdxl", 0, Loaded(SDXL.weights_bytes, 0.0), 10)
    commands, idle = [], 0
    for number in range(runs):
        place = one.state.placements["sdxl", 0]
        alone = place.runs == 1
        held = int((6.6 + leak_gb * number) * GIB) if alone else None
        idle += alone
        measured = Measured(peak_bytes=8 * GIB, held_bytes=held)
        commands = [*one.run_ended(f"{number}", 11 + number, measured)]
        if UnloadModel("sdxl", 0) in commands:
            break
    return one, commands, idle


def test_a_leak_is_found_in_an_engine_that_is_never_idle() -> None:
    """It is drained for a moment now and then, four times until the leak is certain."""
    _, commands, idle = busy(0.01, 1000)

    assert commands == [UnloadModel("sdxl", 0)]
    assert idle == 4


def test_a_sound_engine_is_drained_rarely() -> None:
    """Once in 64 runs, where two go at once; both slots are in use again at once."""
    one, commands, idle = busy(0, 64 * 10 + 1)

    assert idle == 9
    assert [type(each) for each in commands] == [StartRun]
    assert not one.snapshot(2000).devices[0].placements[0].leaks


def test_a_little_growth_of_a_busy_engine_is_no_leak() -> None:
    """What it held the first time is what it is measured by."""
    _, commands, idle = busy(0.0005, 64 * 6)

    assert UnloadModel("sdxl", 0) not in commands
    assert idle == 5


def test_who_waits_meanwhile_is_told() -> None:
    """Slots are free, and none is given away."""
    one, commands, _ = busy(0, 64)

    assert commands == []
    assert one.snapshot(100).lanes[0].why == (
        "sdxl starts nothing until it is idle and what it holds was measured, "
        "after runs that are over their time"
    )


def test_engines_that_measure_nothing_or_took_all_at_the_load_are_not_drained() -> None:
    """There is nothing to be seen."""
    included = CHAT.including_runs()
    for spec, peak in ((SDXL, None), (included, 4 * GIB)):
        one = Scheduler([spec], [device(24)], max_pass_over_s=60)
        for number in range(1000):
            one.submit(request(f"{number}", spec.name), 0)
        one.load_done(spec.name, 0, Loaded(spec.weights_bytes, 0.0), 10)
        for number in range(900):
            one.run_ended(f"{number}", 11 + number, Measured(peak_bytes=peak))
            assert one.state.placements[spec.name, 0].runs > 1

"""Waiting for a device's memory: as the driver shows it, and not for ever."""

from collections.abc import Callable

import pytest
from structlog.testing import capture_logs

from daemon.engines.memory_back import LONGEST_S, AtOnce, DriverMemory

GIB = 2**30


class Driver:
    """A device whose use is a function of the time that has passed."""

    def __init__(self, used: Callable[[float], int | None]) -> None:
        self.used = used
        self.now = 0.0

    async def read(self, device: int) -> int | None:
        return self.used(self.now)

    async def sleep(self, seconds: float) -> None:
        self.now += seconds

    def memory(self, on_device: Callable[[str], bool] = lambda _: True) -> DriverMemory:
        return DriverMemory(
            self.read, on_device=on_device, clock=lambda: self.now, sleep=self.sleep
        )


def freed_at(second: float, before: int, after: int) -> Callable[[float], int]:
    return lambda now: before if now < second else after


async def test_it_waits_until_the_driver_shows_the_memory_free() -> None:
    """What it shows at once after the process's end may still be in use."""
    driver = Driver(freed_at(1.0, 20 * GIB, 8 * GIB))
    memory = driver.memory()
    before = await memory.used("video", 0)

    await memory.wait("video", 0, before, 12 * GIB)

    assert driver.now == pytest.approx(1.0, abs=0.11)


@pytest.mark.parametrize(("after_gib", "back"), [(10.0, True), (11.0, False)])
async def test_most_of_it_is_enough(after_gib: float, back: bool) -> None:
    """Others take memory meanwhile; of 12 GiB at least 9.6 must be free again."""
    driver = Driver(freed_at(0.5, 20 * GIB, int(after_gib * GIB)))

    await driver.memory().wait("video", 0, 20 * GIB, 12 * GIB)

    assert (driver.now < 1) is back


async def test_memory_that_never_comes_back_is_told_and_not_waited_for() -> None:
    """The driver shows it as used from then on: nobody else gets it."""
    driver = Driver(lambda _: 20 * GIB)

    with capture_logs() as logs:
        await driver.memory().wait("video", 0, 20 * GIB, 12 * GIB)

    assert driver.now == pytest.approx(LONGEST_S, abs=0.11)
    (line,) = [each for each in logs if each["log_level"] == "warning"]
    assert (line["event"], line["held_bytes"]) == ("memory not back", 12 * GIB)


async def test_after_a_death_the_figure_must_have_settled() -> None:
    """Nothing could be read before: it is waited until nothing more becomes free."""
    driver = Driver(lambda now: int(20 * GIB - min(now, 2.0) * 6 * GIB))

    await driver.memory().wait("video", 0, None, 12 * GIB)

    assert driver.now == pytest.approx(3.0, abs=0.21)


@pytest.mark.parametrize(("freed_s", "waited_s"), [(0.0, 2.5), (1.6, 2.6)])
async def test_after_a_death_memory_that_comes_back_late_is_waited_for(
    freed_s: float, waited_s: float
) -> None:
    """Drivers take up to 1.5 s. Whether all was free at the first look can't be told at once."""
    driver = Driver(freed_at(freed_s, 20 * GIB, 8 * GIB))

    await driver.memory().wait("video", 0, None, 12 * GIB)

    assert driver.now == pytest.approx(waited_s, abs=0.21)


async def test_a_device_without_a_driver_has_its_memory_back() -> None:
    """A simulated one, or a CPU."""
    driver = Driver(lambda _: None)

    await driver.memory().wait("video", 0, None, 12 * GIB)
    assert await AtOnce().used("video", 0) is None
    await AtOnce().wait("video", 0, None, 12 * GIB)

    assert driver.now == 0


async def test_a_model_that_is_not_on_the_device_is_not_waited_for() -> None:
    """One that computes on the CPU of a GPU host: by the settings, or by what was used."""
    driver = Driver(lambda _: GIB)

    cpu = driver.memory(on_device=lambda model: model != "chat")
    assert await cpu.used("chat", 0) is None
    await cpu.wait("chat", 0, None, 12 * GIB)
    await driver.memory().wait("chat", 0, GIB, 12 * GIB)

    assert driver.now == 0


async def test_a_driver_that_goes_while_it_is_asked_ends_the_wait() -> None:
    """A GPU that has fallen off the bus gives no figures."""
    driver = Driver(lambda now: 20 * GIB if now < 1 else None)

    await driver.memory().wait("video", 0, 20 * GIB, 12 * GIB)

    assert driver.now == pytest.approx(1.0, abs=0.11)

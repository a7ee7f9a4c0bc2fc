"""What the database is told of queued jobs' ends, when, and by what promises."""

import asyncio
from typing import Any

import pytest
from scripted import ScriptedStore

from daemon.foretelling import Foreteller
from daemon.queue_telling import (
    EVERY_S,
    LEAST_BETWEEN_S,
    LIMIT,
    PAUSE_AFTER_REFUSAL_S,
    QueueTeller,
    forecasts_of,
)
from daemon.scheduling.forecast import Forecast
from daemon.values import QueueForecast, StoreRejectedError, StoreUnavailableError

VIDEO = ("video", "fast")
JOB_TYPES = {VIDEO: ("video_fast", "wan_video_fast"), ("chat", "fast"): ("chat",)}


def forecast(*ends_s: float, made_s: float = 100.0) -> Forecast:
    return Forecast(made_s, {}, {}, {}, {VIDEO: ends_s})


class Bench:
    """A teller whose clock, forecast and store are the test's."""

    def __init__(self) -> None:
        self.now = 100.0
        self.takes_jobs = True
        self.store = ScriptedStore()
        self.foreteller = Foreteller(_never, {}, lambda _: None, lambda: self.now)
        store: Any = self.store
        self.teller = QueueTeller(
            store, "w", self.foreteller, JOB_TYPES, lambda: self.takes_jobs, lambda: self.now
        )

    @property
    def told(self) -> list[list[QueueForecast]]:
        return [forecasts for _, forecasts, _, _ in self.store.foretold]


def _never() -> Any:
    raise AssertionError("the teller makes no forecasts")


def test_the_tables_jobs_are_promised_their_ends() -> None:
    """From now on, the upload included, times the factor; and what each further one adds."""
    [told] = forecasts_of(forecast(110, 120, 130), 100, JOB_TYPES, factor=2, upload_s=1)
    assert told == QueueForecast(("video_fast", "wan_video_fast"), (22, 42, 62), 20)

    [later] = forecasts_of(forecast(110, 120, 130), 104, JOB_TYPES, factor=2, upload_s=1)
    assert later.ends_s == (18, 38, 58)


def test_nothing_is_promised_of_what_is_not_known() -> None:
    """Of one end nobody knows the next; classes without an end, or without job types, are out."""
    [told] = forecasts_of(forecast(110), 100, JOB_TYPES, factor=1, upload_s=0)
    assert (told.ends_s, told.each_s) == ((10,), None)

    nothing = Forecast(100, {}, {}, {}, {VIDEO: (), ("other", "fast"): (110, 120)})
    assert forecasts_of(nothing, 100, JOB_TYPES, factor=1, upload_s=0) == []


async def test_a_forecast_is_told_with_its_bounds() -> None:
    """How many rows were told is counted."""
    bench = Bench()
    bench.foreteller.last = forecast(110)
    bench.store.told = [3, 2]
    await bench.teller.tell()
    await bench.teller.tell()

    worker, _, limit, every_s = bench.store.foretold[0]
    assert (worker, limit, every_s) == ("w", LIMIT, LEAST_BETWEEN_S)
    assert bench.teller.told == 5


@pytest.mark.parametrize("why", ["nothing", "old", "drains"])
async def test_what_is_over_is_said_once(why: str) -> None:
    """No forecast, an old one, a worker that takes no jobs: others must not count on it."""
    bench = Bench()
    bench.foreteller.last = forecast(110)
    await bench.teller.tell()
    if why == "nothing":
        bench.foreteller.last = None
    elif why == "old":
        bench.now += 21
    else:
        bench.takes_jobs = False
    await bench.teller.tell()
    await bench.teller.tell()

    assert [bool(forecasts) for forecasts in bench.told] == [True, False]


async def test_an_idle_worker_calls_nobody() -> None:
    """Nothing waits: nothing is told."""
    bench = Bench()
    await bench.teller.tell()

    assert bench.told == []


async def test_a_defect_in_the_forecast_costs_the_worker_nothing() -> None:
    """Nothing is told, and what was told is over."""
    bench = Bench()
    bench.foreteller.last = forecast(110)
    await bench.teller.tell()
    odd: Any = None
    bench.foreteller.last = Forecast(100, {}, {}, {}, {VIDEO: odd, ("chat", "fast"): (odd,)})
    await bench.teller.tell()

    assert [bool(forecasts) for forecasts in bench.told] == [True, False]


async def test_a_database_that_is_away_or_refuses_costs_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The service goes on; of one that refuses it asks rarely."""
    bench, pauses = Bench(), []
    bench.foreteller.last = forecast(110)
    bench.store.told = [StoreUnavailableError("away"), StoreRejectedError("a trigger"), 4]

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 3:
            raise asyncio.CancelledError

    monkeypatch.setattr("daemon.queue_telling.asyncio.sleep", sleep)
    with pytest.raises(asyncio.CancelledError):
        await bench.teller.run()

    assert pauses == [EVERY_S, PAUSE_AFTER_REFUSAL_S, EVERY_S]
    assert bench.teller.told == 4

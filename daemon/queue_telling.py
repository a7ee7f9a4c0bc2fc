"""When jobs that nobody has claimed yet will end: told to their rows, few at a time.

Each worker gives the database its forecast, and whoever comes next puts all of them together. So
rows are told the same whoever tells them, and what is written is bounded for the whole fleet.
"""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import structlog

from daemon.foretelling import Foreteller
from daemon.observed import ObservedStore
from daemon.scheduling.forecast import Forecast
from daemon.values import QueueForecast, StoreRejectedError, StoreUnavailableError

EVERY_S = 2.5
"""Between two calls of one worker."""

LIMIT = 25
"""Rows that are told at once."""

LEAST_BETWEEN_S = 2.0
"""Between two writes of all workers: with the limit, 12 rows a second at most."""

PAUSE_AFTER_REFUSAL_S = 60.0
"""Somebody's trigger, or a missing right: asking again at once wouldn't mend it."""

_FRESH_S = 20.0
"""A forecast that is older isn't passed on."""

_log = structlog.get_logger("daemon.queue_telling")

Key = tuple[str, str]
"""A class: model and quality."""


@dataclass
class QueueTeller:
    """Passes forecasts of the table's jobs on to the database, as long as jobs are taken.

    Args:
        store: the database.
        worker_id: whose forecasts they are.
        foreteller: has the last forecast, and by what it is to be multiplied.
        job_types: of each class.
        takes_jobs: whether this worker takes any; one that drains ends none of the table's.
        clock: monotonic seconds, the forecast's own.
    """

    store: ObservedStore
    worker_id: str
    foreteller: Foreteller
    job_types: Mapping[Key, tuple[str, ...]]
    takes_jobs: Callable[[], bool]
    clock: Callable[[], float]
    told: int = 0
    """Rows so far."""
    _telling: bool = False
    _refused: bool = False

    async def run(self) -> None:
        """Tell again and again, until cancelled."""
        while True:
            try:
                await self.tell()
                self._refused = False
            except StoreUnavailableError:
                pass  # whoever else calls the database says so
            except StoreRejectedError as error:
                if not self._refused:
                    _log.warning("queued rows are told no expected end", error=str(error))
                self._refused = True
            await asyncio.sleep(PAUSE_AFTER_REFUSAL_S if self._refused else EVERY_S)

    async def tell(self) -> None:
        """Pass the last forecast on; one that is empty once, so that it is known to be over."""
        forecasts = self._try_to_make()
        if not forecasts and not self._telling:
            return
        self._telling = bool(forecasts)
        self.told += await self.store.foretell(self.worker_id, forecasts, LIMIT, LEAST_BETWEEN_S)

    def _try_to_make(self) -> list[QueueForecast]:
        try:
            return self._forecasts()
        except Exception:  # noqa: BLE001 -- as in foretelling: it must cost the worker nothing
            _log.exception("queued rows are told no expected end")
            return []

    def _forecasts(self) -> list[QueueForecast]:
        last, now = self.foreteller.last, self.clock()
        if last is None or now - last.made_s > _FRESH_S or not self.takes_jobs():
            return []
        factor, upload_s = self.foreteller.table.factor, self.foreteller.upload.expected_s
        return forecasts_of(last, now, self.job_types, factor, upload_s)


def forecasts_of(
    forecast: Forecast,
    now: float,
    job_types: Mapping[Key, tuple[str, ...]],
    factor: float,
    upload_s: float,
) -> list[QueueForecast]:
    """Return what a forecast promises the table's jobs, in seconds from now."""
    made = []
    for key, ends_s in forecast.table_ends_s.items():
        if not ends_s or key not in job_types:
            continue
        passed_s = now - forecast.made_s
        promised = [(end_s - forecast.made_s + upload_s) * factor - passed_s for end_s in ends_s]
        each_s = None
        if len(promised) > 1:
            each_s = (promised[-1] - promised[0]) / (len(promised) - 1)
        made.append(QueueForecast(job_types[key], tuple(max(0.0, s) for s in promised), each_s))
    return made

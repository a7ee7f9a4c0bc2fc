"""What users have taken of a device beside their jobs' usual cost, told to the table's fair order.

The order in which jobs are claimed was made when they were inserted, by what their types cost. What
only the worker knows, loads that somebody's job has caused and runs that took longer, puts the same
user's next jobs further behind. Nobody waits for it: what can't be told now is told with the next.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from uuid import UUID

import structlog

from daemon.values import StoreRejectedError, StoreUnavailableError

INTERVAL_S = 5.0
"""Between two looks; a call only where there is something to tell."""

MOST_USERS = 1024
"""Whose charges are kept while the database is away."""

_log = structlog.get_logger("daemon.charging")


@dataclass
class Charging:
    """Tells charges.

    Args:
        take: returns seconds by user since it was last asked; users of rows are UUIDs as text.
        charge: tells the table.
    """

    take: Callable[[], Mapping[str, float]]
    charge: Callable[[Mapping[UUID, float]], Awaitable[None]]
    _kept: dict[UUID, float] = field(default_factory=dict)

    async def run(self) -> None:
        """Tell again and again, until cancelled."""
        while True:
            await asyncio.sleep(INTERVAL_S)
            await self.tell()

    async def tell(self) -> None:
        """Tell what there is; a database that is away hears it the next time."""
        for name, seconds in self.take().items():
            user = _user_of(name)
            if user is not None and (user in self._kept or len(self._kept) < MOST_USERS):
                self._kept[user] = self._kept.get(user, 0.0) + seconds
        if not self._kept:
            return
        try:
            await self.charge(self._kept)
        except StoreUnavailableError:
            return
        except StoreRejectedError as error:
            _log.warning("charges were refused", users=len(self._kept), error=str(error))
        self._kept = {}


def _user_of(name: str) -> UUID | None:
    """Return a row's user; callers over HTTP may have any name, and no place in the table."""
    try:
        return UUID(name)
    except ValueError:
        return None

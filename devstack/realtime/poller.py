"""Poll the replication slot while anybody listens, and make another when it was lost."""

import asyncio
import logging
from collections.abc import Sequence
from typing import Protocol

import asyncpg

from devstack.realtime.catalog import UNREACHABLE
from devstack.realtime.faults import Faults
from devstack.realtime.log import LoggedChange, logged_changes
from devstack.realtime.settings import RealtimeSettings
from devstack.realtime.slot import ReplicationSlot, replication_slot

_log = logging.getLogger(__name__)


class Audience(Protocol):
    """Whom the poller reads for."""

    async def hear(self, changes: Sequence[LoggedChange]) -> bool:
        """Deliver a batch; say whether any of it was for anybody."""

    async def check_publication(self) -> None:
        """See whether the publication has other tables now."""

    def forget_all(self) -> None:
        """Learn that the poller has given up."""


class Poller:
    """Reads the log for an audience.

    What it read and couldn't deliver is lost, and so is what was committed while it had no slot.
    The audience isn't told.

    Args:
        dsn: A superuser's DSN.
        settings: Intervals, and how often a refused slot is asked for again.
        faults: May keep it from making slots.
        audience: Gets what was read.
    """

    def __init__(
        self, dsn: str, settings: RealtimeSettings, faults: Faults, audience: Audience
    ) -> None:
        self._dsn = dsn
        self._settings = settings
        self._faults = faults
        self._audience = audience
        self._cold = True
        self._pause_s = settings.retry_s
        self._refusals = 0
        self.wanted = asyncio.Event()
        """To be set while anybody listens."""
        self.slot_exists = asyncio.Event()

    async def run(self) -> None:
        """Serve until cancelled."""
        while True:
            await self.wanted.wait()
            if self._faults.no_slot:
                await asyncio.sleep(self._settings.retry_s)
                continue
            if self._cold:
                await asyncio.sleep(self._settings.cold_start_s)
                self._cold = False
            try:
                await self._serve()
                self._cold = True
            except UNREACHABLE as error:
                _log.warning("realtime: lost the replication slot: %s", error)
                await asyncio.sleep(self._pause_s)
                self._pause_s = min(2 * self._pause_s, self._settings.max_retry_s)
            except asyncpg.PostgresError as error:
                _log.warning("realtime: no replication slot: %s", error)
                await self._bear_refusal()

    async def _bear_refusal(self) -> None:
        """Wait before the next try, or give up as the real server does."""
        limit, first_s = self._settings.max_slot_retries, self._settings.slot_retry_s
        if limit is not None and self._refusals >= limit:
            self._refusals = 0
            self._cold = True
            _log.error("realtime: gave up after %d refused replication slots", limit + 1)
            self._audience.forget_all()
            return
        await asyncio.sleep(min(first_s * 2**self._refusals, self._settings.max_slot_retry_s))
        self._refusals += 1

    async def _serve(self) -> None:
        async with replication_slot(self._dsn, self._settings.publication) as slot:
            self._pause_s = self._settings.retry_s
            self._refusals = 0
            self.slot_exists.set()
            try:
                await self._read(slot)
            finally:
                self.slot_exists.clear()

    async def _read(self, slot: ReplicationSlot) -> None:
        clock = asyncio.get_running_loop().time
        last_wanted = last_check = clock()
        # Whether it is wanted is looked at first: a poll may take longer than the slot lingers.
        while self.wanted.is_set() or clock() - last_wanted <= self._settings.slot_linger_s:
            if self.wanted.is_set():
                last_wanted = clock()
            if clock() - last_check >= self._settings.publication_check_s:
                last_check = clock()
                await self._audience.check_publication()
            await self._poll(slot)

    async def _poll(self, slot: ReplicationSlot) -> None:
        """Read what there is; pause longest where there was nothing."""
        changes = logged_changes(await slot.read(self._settings.max_changes))
        if not changes:
            await asyncio.sleep(self._settings.idle_poll_interval_s)
        elif not await self._audience.hear(changes):
            await asyncio.sleep(self._settings.poll_interval_s)

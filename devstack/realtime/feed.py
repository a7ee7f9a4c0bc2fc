"""The change feed: reads the log while anybody listens, and hands changes to their listeners.

A subscription is in force as soon as it is in the set; its owner is told "Subscribed" only when
the slot exists too, so that nothing committed after that word is missed. What the slot gave and
could not be delivered is lost, as on the real server: nobody is told.
"""

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import asyncpg

from devstack.realtime.bindings import Binding
from devstack.realtime.catalog import UNREACHABLE, Published, published_tables
from devstack.realtime.delivery import letters_of
from devstack.realtime.faults import Faults
from devstack.realtime.log import LoggedChange, logged_changes
from devstack.realtime.rates import Rate
from devstack.realtime.settings import RealtimeSettings
from devstack.realtime.slot import SESSION, ReplicationSlot, replication_slot
from devstack.realtime.subscriptions import Listener, Subscription, SubscriptionError, subscribe
from devstack.realtime.tokens import Credentials

_log = logging.getLogger(__name__)


@dataclass
class _Listening:
    """What a listener wants, and what it has."""

    bindings: Sequence[Binding]
    credentials: Credentials
    published: Published
    subscriptions: Sequence[Subscription]


class ChangeFeed:
    """All subscriptions of the server and the slot that serves them; an async context manager.

    Args:
        dsn: A superuser's DSN.
        settings: Intervals and limits.
        faults: May make it lose or hold back changes.
    """

    def __init__(self, dsn: str, settings: RealtimeSettings, faults: Faults) -> None:
        self._dsn = dsn
        self._settings = settings
        self._faults = faults
        self._rate = Rate(settings.max_changes_per_second, settings.rate_window_s)
        self._cold = True
        self.pool = asyncpg.create_pool(dsn, min_size=0, max_size=4, server_settings=SESSION)
        self._listening: dict[Listener, _Listening] = {}
        self._wanted = asyncio.Event()
        self._slot_exists = asyncio.Event()

    async def __aenter__(self) -> Self:
        await self.pool.__aenter__()
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.pool.close()

    async def subscribe(
        self, listener: Listener, bindings: Sequence[Binding], credentials: Credentials
    ) -> None:
        """Put a listener's bindings in force in place of its former ones; wait for the slot.

        Raises:
            SubscriptionError: The database can't serve them; the former ones are gone too.
        """
        while True:
            try:
                await self._put(listener, bindings, credentials)
                break
            except UNREACHABLE:
                await asyncio.sleep(self._settings.retry_s)
        if not self._faults.no_slot:
            await self._slot_exists.wait()

    def forget_all(self) -> None:
        """Forget every listener, and tell none."""
        self._listening.clear()
        self._wanted.clear()

    def unsubscribe(self, listener: Listener) -> None:
        """Forget a listener."""
        self._listening.pop(listener, None)
        if not self._listening:
            self._wanted.clear()

    async def run(self) -> None:
        """Serve until cancelled."""
        while True:
            await self._wanted.wait()
            if self._faults.no_slot:
                await asyncio.sleep(self._settings.retry_s)
                continue
            if self._cold:
                await asyncio.sleep(self._settings.cold_start_s)
                self._cold = False
            try:
                await self._serve()
            except (*UNREACHABLE, asyncpg.PostgresError) as error:
                _log.warning("realtime: lost the replication slot: %s", error)
                await asyncio.sleep(self._settings.retry_s)

    async def _put(
        self, listener: Listener, bindings: Sequence[Binding], credentials: Credentials
    ) -> None:
        try:
            async with self.pool.acquire() as database:
                published = await published_tables(database, self._settings.publication)
                made = await subscribe(database, published, listener, bindings, credentials)
        except SubscriptionError:
            self.unsubscribe(listener)
            raise
        self._listening[listener] = _Listening(bindings, credentials, published, made)
        self._wanted.set()

    async def _serve(self) -> None:
        async with replication_slot(self._dsn, self._settings.publication) as slot:
            self._slot_exists.set()
            try:
                await self._read(slot)
            finally:
                self._slot_exists.clear()

    async def _read(self, slot: ReplicationSlot) -> None:
        clock = asyncio.get_running_loop().time
        last_wanted = last_check = clock()
        while clock() - last_wanted <= self._settings.slot_linger_s:
            if self._wanted.is_set():
                last_wanted = clock()
            if clock() - last_check >= self._settings.publication_check_s:
                last_check = clock()
                await self._check_publication()
            await self._poll(slot)

    async def _poll(self, slot: ReplicationSlot) -> None:
        changes = logged_changes(await slot.read(self._settings.max_changes))
        if not changes:
            await asyncio.sleep(self._settings.idle_poll_interval_s)
            return
        subscriptions = [item for entry in self._listening.values() for item in entry.subscriptions]
        limit = self._settings.max_record_bytes
        kept = self._kept(changes, subscriptions)
        try:
            async with self.pool.acquire() as database:
                letters = await letters_of(database, kept, subscriptions, limit)
        except (*UNREACHABLE, asyncpg.PostgresError) as error:
            _log.warning("realtime: lost %d changes: %s", len(changes), error)
            letters = []
        await asyncio.sleep(self._faults.delay_changes_s)
        for letter in letters:
            # The database was asked in between: it may have left.
            if letter.listener in self._listening and self._may_deliver():
                letter.listener.deliver(letter.payload, letter.action, letter.binding_ids)
        if not letters:
            await asyncio.sleep(self._settings.poll_interval_s)

    def _kept(
        self, changes: Sequence[LoggedChange], subscriptions: Sequence[Subscription]
    ) -> Sequence[LoggedChange]:
        """Lose as many changes that somebody listens for as the fault says."""
        heard = frozenset[int]().union(*(item.tables for item in subscriptions))
        kept = []
        for change in changes:
            if self._faults.drop_changes > 0 and change.relation.oid in heard:
                self._faults.drop_changes -= 1
            else:
                kept.append(change)
        return kept

    def _may_deliver(self) -> bool:
        """Whether the next change passes the limits and the faults; what doesn't is lost."""
        if self._rate.exceeded:
            return False
        self._rate.add()
        return not self._faults.deaf_to_changes

    async def _check_publication(self) -> None:
        """Make the subscriptions anew that were made when the publication had other tables."""
        async with self.pool.acquire() as database:
            published = await published_tables(database, self._settings.publication)
        for listener, entry in list(self._listening.items()):
            if entry.published != published:
                await self._subscribe_anew(listener, entry, published)

    async def _subscribe_anew(
        self, listener: Listener, entry: _Listening, published: Published
    ) -> None:
        try:
            async with self.pool.acquire() as database:
                made = await subscribe(
                    database, published, listener, entry.bindings, entry.credentials
                )
        except SubscriptionError as error:
            if self._listening.get(listener) is entry:
                self.unsubscribe(listener)
                listener.refused(str(error))
        else:
            # It may have left, or asked for something else, while the database was asked.
            if self._listening.get(listener) is entry:
                entry.published, entry.subscriptions = published, made
                listener.subscribed()

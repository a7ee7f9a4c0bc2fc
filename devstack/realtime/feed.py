"""The change feed: who listens, and what of each batch of the log they are told.

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
from devstack.realtime.delivery import Letter, letters_of
from devstack.realtime.faults import Faults
from devstack.realtime.log import LoggedChange
from devstack.realtime.poller import Poller
from devstack.realtime.rates import Rate
from devstack.realtime.settings import RealtimeSettings
from devstack.realtime.slot import SESSION
from devstack.realtime.subscriptions import Listener, Subscription, SubscriptionError, subscribe
from devstack.realtime.tokens import Credentials

_log = logging.getLogger(__name__)
_UNREACHABLE = '{:error, "Too many database timeouts"}'


@dataclass
class _Listening:
    """What a listener wants, and what it has."""

    bindings: Sequence[Binding]
    credentials: Credentials
    published: Published
    subscriptions: Sequence[Subscription]


class ChangeFeed:
    """All subscriptions of the server and the poller that serves them; an async context manager.

    Args:
        dsn: A superuser's DSN.
        settings: Intervals and limits.
        faults: May make it lose or hold back changes.
        rate: Counts a change once for each binding that hears of it.
    """

    def __init__(self, dsn: str, settings: RealtimeSettings, faults: Faults, rate: Rate) -> None:
        self._settings = settings
        self._faults = faults
        self._rate = rate
        self.pool = asyncpg.create_pool(dsn, min_size=0, max_size=4, server_settings=SESSION)
        self._listening: dict[Listener, _Listening] = {}
        self._unconfirmed: set[Listener] = set()
        self._poller = Poller(dsn, settings, faults, self)

    async def __aenter__(self) -> Self:
        await self.pool.__aenter__()
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.pool.close()

    async def run(self) -> None:
        """Serve until cancelled."""
        await self._poller.run()

    async def subscribe(
        self, listener: Listener, bindings: Sequence[Binding], credentials: Credentials
    ) -> None:
        """Put a listener's bindings in force in place of its former ones; wait for the slot.

        A listener that waits long for the database is told of an error once, and tried again.

        Raises:
            SubscriptionError: The database can't serve them; the former ones are gone too.
        """
        self._unconfirmed.add(listener)
        try:
            await self._put_when_reachable(listener, bindings, credentials)
            if not self._faults.no_slot:
                await self._poller.slot_exists.wait()
        finally:
            self._unconfirmed.discard(listener)

    def unsubscribe(self, listener: Listener) -> None:
        """Forget a listener."""
        self._listening.pop(listener, None)
        self._update_wanted()

    def forget_all(self) -> None:
        """Forget every listener that was told that changes arrive, and tell none."""
        for listener in [*self._listening]:
            if listener not in self._unconfirmed:
                del self._listening[listener]
        self._update_wanted()

    async def hear(self, changes: Sequence[LoggedChange]) -> bool:
        """Deliver a batch; say whether any of it was for anybody."""
        subscriptions = [item for entry in self._listening.values() for item in entry.subscriptions]
        kept = self._kept(changes, subscriptions)
        try:
            letters = await self._letters(kept, subscriptions)
        except (*UNREACHABLE, asyncpg.PostgresError) as error:
            _log.warning("realtime: lost %d changes: %s", len(changes), error)
            return False
        await asyncio.sleep(self._faults.delay_changes_s)
        if self._rate.exceeded:
            # Told to nobody, and not counted either: it is over when the burst is long enough past.
            _log.warning("realtime: too many changes per second, lost %d", len(changes))
        elif not self._faults.deaf_to_changes:
            self._deliver(letters)
        return bool(letters)

    async def check_publication(self) -> None:
        """Make the subscriptions anew that were made when the publication had other tables."""
        async with self.pool.acquire() as database:
            published = await published_tables(database, self._settings.publication)
        for listener, entry in list(self._listening.items()):
            if entry.published != published:
                await self._subscribe_anew(listener, entry, published)

    async def _letters(
        self, changes: Sequence[LoggedChange], subscriptions: Sequence[Subscription]
    ) -> list[Letter]:
        try:
            return await self._ask(changes, subscriptions)
        except UNREACHABLE:
            # Most likely a connection that was ended while nobody used it; there are others.
            return await self._ask(changes, subscriptions)

    async def _ask(
        self, changes: Sequence[LoggedChange], subscriptions: Sequence[Subscription]
    ) -> list[Letter]:
        async with self.pool.acquire() as database:
            limit = self._settings.max_record_bytes
            return await letters_of(database, changes, subscriptions, limit)

    async def _put_when_reachable(
        self, listener: Listener, bindings: Sequence[Binding], credentials: Credentials
    ) -> None:
        clock = asyncio.get_running_loop().time
        tell_at: float | None = clock() + self._settings.unreachable_error_s
        while True:
            try:
                await self._put(listener, bindings, credentials)
                return
            except UNREACHABLE:
                if tell_at is not None and clock() >= tell_at:
                    tell_at = None
                    listener.refused(_UNREACHABLE)
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
        self._update_wanted()

    def _update_wanted(self) -> None:
        if self._listening:
            self._poller.wanted.set()
        else:
            self._poller.wanted.clear()

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

    def _deliver(self, letters: Sequence[Letter]) -> None:
        for letter in letters:
            # The database was asked in between: it may have left.
            if letter.listener in self._listening:
                self._rate.add(len(letter.binding_ids))
                letter.listener.deliver(letter.payload, letter.action, letter.binding_ids)

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

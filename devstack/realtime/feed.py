"""The change feed: reads the log while anybody listens, and hands changes to their listeners.

A subscription is in force as soon as it is in the set; its owner is told "Subscribed" only when
the slot exists too, so that nothing committed after that word is missed. What the slot gave and
could not be delivered is lost, as on the real server: nobody is told.
"""

import asyncio
import logging
from collections.abc import Iterable, Sequence
from typing import Self

import asyncpg

from devstack.realtime.bindings import Binding
from devstack.realtime.catalog import UNREACHABLE, published_tables
from devstack.realtime.delivery import letters_of
from devstack.realtime.log import logged_changes
from devstack.realtime.settings import Faults, RealtimeSettings
from devstack.realtime.slot import SESSION, ReplicationSlot, replication_slot
from devstack.realtime.subscriptions import Listener, Subscription, SubscriptionError, subscribe
from devstack.realtime.tokens import Credentials

_log = logging.getLogger(__name__)

Wish = tuple[tuple[Binding, ...], Credentials]


class ChangeFeed:
    """All subscriptions of the server and the slot that serves them; an async context manager.

    Args:
        dsn: A superuser's DSN.
        settings: Intervals and limits.
        faults: May make it deaf.
    """

    def __init__(self, dsn: str, settings: RealtimeSettings, faults: Faults) -> None:
        self._dsn = dsn
        self._settings = settings
        self._faults = faults
        self._pool = asyncpg.create_pool(dsn, min_size=0, max_size=4, server_settings=SESSION)
        self._wishes: dict[Listener, Wish] = {}
        self._in_force: dict[Listener, Sequence[Subscription]] = {}
        self._wanted = asyncio.Event()
        self._slot_exists = asyncio.Event()

    async def __aenter__(self) -> Self:
        await self._pool.__aenter__()
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._pool.close()

    async def subscribe(
        self, listener: Listener, bindings: Sequence[Binding], credentials: Credentials
    ) -> None:
        """Put a listener's bindings in force in place of its former ones; wait for the slot.

        Raises:
            SubscriptionError: The database can't serve them; the former ones are gone too.
        """
        while True:
            try:
                await self._put(listener, (tuple(bindings), credentials))
                break
            except UNREACHABLE:
                await asyncio.sleep(self._settings.retry_s)
        await self._slot_exists.wait()

    def unsubscribe(self, listener: Listener) -> None:
        """Forget a listener."""
        self._wishes.pop(listener, None)
        self._in_force.pop(listener, None)
        if not self._in_force:
            self._wanted.clear()

    async def run(self) -> None:
        """Serve until cancelled."""
        while True:
            await self._wanted.wait()
            try:
                await self._serve()
            except (*UNREACHABLE, asyncpg.PostgresError) as error:
                _log.warning("realtime: lost the replication slot: %s", error)
                await asyncio.sleep(self._settings.retry_s)

    async def _put(self, listener: Listener, wish: Wish) -> None:
        self._wishes[listener] = wish
        try:
            async with self._pool.acquire() as database:
                made = await subscribe(database, self._settings.publication, listener, *wish)
        except SubscriptionError:
            self.unsubscribe(listener)
            raise
        # It may have left, or asked for something else, while the database was asked.
        if self._wishes.get(listener) == wish:
            self._in_force[listener] = made
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
        published = await self._published()
        while clock() - last_wanted <= self._settings.slot_linger_s:
            if self._wanted.is_set():
                last_wanted = clock()
            if clock() - last_check >= self._settings.publication_check_s:
                last_check = clock()
                former, published = published, await self._published()
                if published != former:
                    await self._subscribe_anew()
            await self._poll(slot)

    async def _poll(self, slot: ReplicationSlot) -> None:
        changes = logged_changes(await slot.read(self._settings.max_changes))
        if not changes:
            await asyncio.sleep(self._settings.idle_poll_interval_s)
            return
        subscriptions = [item for made in self._in_force.values() for item in made]
        sent = 0
        if not self._faults.deaf:
            try:
                async with self._pool.acquire() as database:
                    letters = await letters_of(
                        database, changes, subscriptions, self._settings.max_record_bytes
                    )
            except (*UNREACHABLE, asyncpg.PostgresError) as error:
                _log.warning("realtime: lost %d changes: %s", len(changes), error)
                letters = []
            for letter in letters:
                letter.listener.deliver(letter.payload, letter.action, letter.binding_ids)
            sent = len(letters)
        if not sent:
            await asyncio.sleep(self._settings.poll_interval_s)

    async def _published(self) -> Iterable[int]:
        async with self._pool.acquire() as database:
            return (await published_tables(database, self._settings.publication)).keys()

    async def _subscribe_anew(self) -> None:
        """Make all subscriptions again after the publication's tables have changed."""
        for listener, wish in list(self._wishes.items()):
            try:
                await self._put(listener, wish)
            except SubscriptionError as error:
                listener.refused(str(error))
            else:
                if listener in self._in_force:
                    listener.subscribed()

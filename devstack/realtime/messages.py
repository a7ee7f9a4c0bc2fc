"""Broadcast from the database: deliver what is inserted into `realtime.messages`.

The real server streams the table's log; here a trigger announces each row at its commit, in the
same order and as fast. Either way a message is lost to those who listen while the server's
connection is gone, and a replay finds it in the table.
"""

import asyncio
import logging
from collections.abc import Sequence
from contextlib import suppress
from uuid import UUID, uuid4

import asyncpg
import msgspec

from devstack.realtime.catalog import UNREACHABLE, Database
from devstack.realtime.faults import Faults
from devstack.realtime.frames import UserBroadcast
from devstack.realtime.joins import TOPIC_PREFIX
from devstack.realtime.rates import Rate
from devstack.realtime.settings import RealtimeSettings
from devstack.realtime.slot import SESSION
from devstack.realtime.topics import Topics

_log = logging.getLogger(__name__)

_CHANNEL = "devstack_messages"
_MANY = 200
"""Messages that are fetched at once."""
_ENDED = ""
_CATCH_UP_S = 2.0
_FETCH = """
select m.id, m.topic, m.private, m.event, m.payload::text as payload
from unnest($1::uuid[]) with ordinality as asked (id, place)
join realtime.messages m on m.id = asked.id
where octet_length(m.payload::text) <= $2
order by asked.place
"""
_REPLAY = """
select id, event, payload::text as payload
from realtime.messages
where topic = $1 and private and extension = 'broadcast'
    and inserted_at > to_timestamp($2::double precision / 1000) at time zone 'utc'
    and octet_length(payload::text) <= $4
order by inserted_at desc
limit $3
"""


class MessageFeed:
    """Listens for messages and hands them to their topics.

    Args:
        dsn: A superuser's DSN.
        settings: Limits, and pauses between tries.
        faults: May make it deaf.
        topics: Where messages go.
        rate: Counts messages.
    """

    def __init__(
        self, dsn: str, settings: RealtimeSettings, faults: Faults, topics: Topics, rate: Rate
    ) -> None:
        self._dsn = dsn
        self._settings = settings
        self._faults = faults
        self._topics = topics
        self._rate = rate
        self._marks: dict[str, asyncio.Event] = {}
        self.connected = asyncio.Event()
        """Set while messages are delivered."""

    async def run(self) -> None:
        """Serve until cancelled."""
        pause_s = self._settings.messages_retry_s
        while True:
            try:
                await self._serve()
            except (*UNREACHABLE, asyncpg.PostgresError) as error:
                _log.warning("realtime: lost the messages' connection: %s", error)
            self.connected.clear()
            await asyncio.sleep(pause_s)

    async def _serve(self) -> None:
        # The real server's name for its own connection: tests end it by that.
        session = {**SESSION, "application_name": "realtime_replication_connection"}
        database = await asyncpg.connect(self._dsn, server_settings=session)
        inbox: asyncio.Queue[str] = asyncio.Queue()
        try:
            database.add_termination_listener(lambda _: inbox.put_nowait(_ENDED))
            await database.add_listener(_CHANNEL, lambda *note: inbox.put_nowait(note[3]))
            self.connected.set()
            while (first := await inbox.get()) != _ENDED:
                waiting = [inbox.get_nowait() for _ in range(min(inbox.qsize(), _MANY))]
                notes = [first, *waiting]
                await self._deliver(database, [UUID(note) for note in notes if "-" in note])
                for note in notes:
                    if mark := self._marks.pop(note, None):
                        mark.set()
                if _ENDED in notes:
                    return
        finally:
            database.terminate()

    async def catch_up(self, database: Database) -> None:
        """Wait until everything that is committed now has been delivered.

        Who joins after that gets nothing live that a replay tells as well.
        """
        await self.connected.wait()
        mark = uuid4().hex
        self._marks[mark] = delivered = asyncio.Event()
        await database.execute("select pg_notify($1, $2)", _CHANNEL, mark)
        with suppress(TimeoutError):
            # The connection may be lost meanwhile, and what was under way with it.
            async with asyncio.timeout(_CATCH_UP_S):
                await delivered.wait()
        self._marks.pop(mark, None)

    async def _deliver(
        self, database: "asyncpg.Connection[asyncpg.Record]", ids: Sequence[UUID]
    ) -> None:
        limit = self._settings.max_broadcast_bytes
        for row in await database.fetch(_FETCH, ids, limit):
            deaf = self._faults.deaf_to_messages or self._faults.deaf_until_join
            if deaf or self._rate.exceeded:
                continue
            self._rate.add()
            message = UserBroadcast(
                TOPIC_PREFIX + row["topic"],
                row["event"],
                row["payload"].encode(),
                meta={"id": str(row["id"])},
            )
            self._topics.send((row["topic"], row["private"]), "broadcast", message)


async def replayed(
    database: Database, topic: str, since_ms: int, limit: int, max_bytes: int
) -> list[tuple[str, dict[str, object]]]:
    """Return the newest messages of a private topic, oldest first.

    Returns:
        The id and the payload of each broadcast's frame.
    """
    rows = await database.fetch(_REPLAY, topic, since_ms, limit, max_bytes)
    return [
        (
            str(row["id"]),
            {
                "event": row["event"],
                "payload": msgspec.Raw(row["payload"].encode()),
                "type": "broadcast",
                "meta": {"id": str(row["id"]), "replayed": True},
            },
        )
        for row in reversed(rows)
    ]

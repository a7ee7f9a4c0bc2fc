"""Who may join private channels and send to them: policies on `realtime.messages` decide.

A row of the topic is written, looked at (or written) in the client's name, and rolled back. Nothing
is asked for `service_role`, which passes row level security.
"""

import json
from collections.abc import Awaitable, Callable
from typing import Any, Protocol, TypeAlias

import asyncpg

from devstack.realtime.catalog import UNREACHABLE, Database
from devstack.realtime.tokens import Credentials

_BECOME = """
select set_config('realtime.topic', $3, true), set_config('request.jwt.claims', $2, true),
    set_config('role', $1, true)
"""
# A broadcast's: the real server asks for each extension, and goes by this one. Nobody is told of a
# row that is rolled back.
_WRITE = "insert into realtime.messages (topic, extension) values ($1, 'broadcast')"


Ask: TypeAlias = Callable[[Database, str, Credentials], Awaitable[bool]]


class Authorizer(Protocol):
    """Decides about private channels; public ones are open to every accepted token."""

    async def may_read(self, sub_topic: str, who: Credentials) -> bool:
        """Whether a channel may be joined."""

    async def may_write(self, sub_topic: str, who: Credentials) -> bool:
        """Whether a message may be sent to it by a client."""


class PolicyAuthorizer:
    """Asks the database.

    Args:
        pool: A superuser's connections.
    """

    def __init__(self, pool: "asyncpg.Pool[Any]") -> None:
        self._pool = pool

    async def may_read(self, sub_topic: str, who: Credentials) -> bool:
        """Whether a channel may be joined."""
        return who.role == "service_role" or await self._try(sub_topic, who, self._read)

    async def may_write(self, sub_topic: str, who: Credentials) -> bool:
        """Whether a message may be sent to it by a client."""
        return who.role == "service_role" or await self._try(sub_topic, who, self._write)

    async def _try(self, sub_topic: str, who: Credentials, ask: Ask) -> bool:
        try:
            async with self._pool.acquire() as database:
                question = database.transaction()
                await question.start()
                try:
                    return await ask(database, sub_topic, who)
                finally:
                    await question.rollback()
        except (*UNREACHABLE, asyncpg.PostgresError):
            return False

    @staticmethod
    async def _read(database: Database, sub_topic: str, who: Credentials) -> bool:
        row = await database.fetchval(f"{_WRITE} returning id", sub_topic)
        await _become(database, sub_topic, who)
        found: int = await database.fetchval(
            "select count(*) from realtime.messages where id = $1", row
        )
        return found > 0

    @staticmethod
    async def _write(database: Database, sub_topic: str, who: Credentials) -> bool:
        await _become(database, sub_topic, who)
        await database.execute(_WRITE, sub_topic)
        return True


async def _become(database: Database, sub_topic: str, who: Credentials) -> None:
    await database.execute(_BECOME, who.role, json.dumps(dict(who.claims)), sub_topic)


def unauthorized(sub_topic: str) -> str:
    """Word the refusal as the real server does."""
    return f"You do not have permissions to read from this Channel topic: {sub_topic}"

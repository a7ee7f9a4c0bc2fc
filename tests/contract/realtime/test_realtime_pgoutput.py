"""The decoder of the log, on bytes of its own and on a real server's."""

import struct
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime
from typing import Any

import asyncpg
import pytest

from devstack.realtime.log import logged_changes
from devstack.realtime.pgoutput import (
    Action,
    Begin,
    Column,
    Commit,
    Message,
    Other,
    Relation,
    ReplicaIdentity,
    RowChange,
    Truncate,
    Unchanged,
    decode,
)
from devstack.realtime.slot import ReplicationSlot, replication_slot

Run = Callable[..., Coroutine[Any, Any, list[Message]]]


class TestBytes:
    def test_begin_has_time_and_transaction(self) -> None:
        """Times count microseconds from 2000 on."""
        data = b"B" + struct.pack(">qqi", 1, 86_400_000_000, 7)

        assert decode(data) == Begin(datetime(2000, 1, 2, tzinfo=UTC), 7)

    def test_commit_has_the_time(self) -> None:
        """The flags and positions before it are passed over."""
        data = b"C" + struct.pack(">bqqq", 0, 1, 2, 0)

        assert decode(data) == Commit(datetime(2000, 1, 1, tzinfo=UTC))

    def test_relation_names_its_columns(self) -> None:
        """A column's flag says whether it belongs to the replica identity."""
        data = b"R" + struct.pack(">I", 5) + b"public\0jobs\0d" + struct.pack(">h", 2)
        data += b"\x01id\0" + struct.pack(">Ii", 2950, -1)
        data += b"\x00n\0" + struct.pack(">Ii", 23, -1)

        columns = (Column("id", 2950, in_identity=True), Column("n", 23, in_identity=False))
        expected = Relation(5, "public", "jobs", ReplicaIdentity.DEFAULT, columns)
        assert decode(data) == expected

    def test_values_are_text_null_or_unchanged(self) -> None:
        """An update without an old row has only the new one."""
        data = b"U" + struct.pack(">I", 5) + b"N" + struct.pack(">h", 3)
        data += b"t" + struct.pack(">i", 3) + "hé".encode() + b"n" + b"u"

        values = ("hé", None, Unchanged.TOAST)
        assert decode(data) == RowChange(5, Action.UPDATE, values, None, old_is_key=False)

    def test_truncate_names_its_tables(self) -> None:
        """Several tables can go at once."""
        data = b"T" + struct.pack(">ibII", 2, 0, 5, 6)

        assert decode(data) == Truncate((5, 6))

    def test_other_messages_are_passed_over(self) -> None:
        """A type's name says nothing about a row."""
        assert decode(b"Y" + struct.pack(">I", 9) + b"public\0mood\0") == Other("Y")

    @pytest.mark.parametrize("data", [b"B\0\0", b"?", b"I" + struct.pack(">I", 5) + b"X", b""])
    def test_nonsense_is_refused(self, data: bytes) -> None:
        """A message that is cut short or of another protocol isn't guessed at."""
        with pytest.raises(ValueError, match="pgoutput"):
            decode(data)


@pytest.fixture
def run(realtime_dsn: str, database: asyncpg.Connection) -> Run:
    """Execute statements and return what the log says about them."""

    async def execute(*statements: str) -> list[Message]:
        async with replication_slot(realtime_dsn, "supabase_realtime") as slot:
            for statement in statements:
                await database.execute(statement)
            return await read_all(slot)

    return execute


async def read_all(slot: ReplicationSlot) -> list[Message]:
    found: list[Message] = []
    while messages := await slot.read(1):
        found += messages
    return found


def rows(messages: list[Message]) -> list[RowChange]:
    return [message for message in messages if isinstance(message, RowChange)]


ID = "11111111-1111-4111-8111-111111111111"
INSERT = f"insert into public.{{}}(id, status, created_at) values ('{ID}', 'a', 'epoch')"


class TestServer:
    async def test_default_identity_logs_only_the_new_row(self, run: Run) -> None:
        """Of an update whose key stays, the old row is left out; of a delete the key is left."""
        update = "update public.jobs set status = 'b'"
        found = rows(await run(INSERT.format("jobs"), update, "delete from public.jobs"))

        inserted, updated, deleted = found
        assert inserted.new is not None
        assert inserted.new[0] == ID
        assert (updated.old, updated.old_is_key) == (None, False)
        assert (deleted.new, deleted.old, deleted.old_is_key) == (
            None,
            (ID, None, None, None, None, None),
            True,
        )

    async def test_the_old_key_is_taken_from_the_new_row(self, run: Run) -> None:
        """Subscribers are told the key in any case."""
        messages = await run(INSERT.format("jobs"), "update public.jobs set status = 'b'")

        change = logged_changes(messages)[1]
        assert change.old is not None
        assert change.old.present == {"id"}

    async def test_a_changed_key_logs_the_old_one(self, run: Run) -> None:
        """Then the old row is a key."""
        update = "update public.jobs set id = gen_random_uuid()"
        updated = rows(await run(INSERT.format("jobs"), update))[1]

        assert updated.old_is_key
        assert updated.old is not None
        assert updated.old[0] == ID

    async def test_full_identity_logs_the_whole_old_row(self, run: Run) -> None:
        """Both for an update and for a delete."""
        update = "update public.jobs_full set status = 'b'"
        found = rows(await run(INSERT.format("jobs_full"), update, "delete from public.jobs_full"))

        _, updated, deleted = found
        old = (ID, None, None, "a", None, "1970-01-01 00:00:00+00")
        assert (updated.old, updated.old_is_key) == (old, False)
        assert deleted.old == (*old[:3], "b", *old[4:])

    async def test_an_untouched_large_value_is_marked(self, run: Run) -> None:
        """The log doesn't repeat what lies in the TOAST table."""
        fill = (
            "update public.jobs set metadata = (select jsonb_agg(md5(i::text)) "
            "from generate_series(1, 600) i)"
        )
        messages = await run(INSERT.format("jobs"), fill, "update public.jobs set status = 'b'")

        updated = rows(messages)[2]
        assert updated.new is not None
        assert updated.new[4] is Unchanged.TOAST
        change = logged_changes(messages)[2]
        assert change.new is not None
        assert "metadata" not in change.new.present

    async def test_truncate_is_logged_and_not_told(self, run: Run) -> None:
        """Subscribers hear nothing of it, as from the real server."""
        messages = await run(INSERT.format("jobs"), "truncate public.jobs")

        assert any(isinstance(message, Truncate) for message in messages)
        assert [change.action for change in logged_changes(messages)] == [Action.INSERT]

    async def test_a_rolled_back_transaction_is_not_logged(self, run: Run) -> None:
        """Only commits count."""
        assert await run(f"begin; {INSERT.format('jobs')}; rollback") == []

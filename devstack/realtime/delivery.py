"""Deliver a batch of the log to those who subscribed and may see it.

Everything is asked of the database for many rows at once: the JSON of the rows and the filters per
table, row level security per table and identity. A burst costs some queries for each table and
identity, not for each row and subscriber.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import msgspec

from devstack.realtime.catalog import Database, Table, Type, find_table, find_types
from devstack.realtime.log import LoggedChange
from devstack.realtime.payloads import (
    POLICY_FAILED,
    Change,
    full_payload,
    is_too_large,
    refusal,
    refused_payload,
)
from devstack.realtime.pgoutput import Action, Relation
from devstack.realtime.rows import Row, read_rows
from devstack.realtime.subscriptions import Listener, Subscription
from devstack.realtime.visibility import Identity, Visible, visible_rows

_NOTHING = Visible(frozenset(), frozenset())


@dataclass(frozen=True, slots=True)
class Letter:
    """One message to one listener."""

    payload: msgspec.Raw
    action: Action
    listener: Listener
    binding_ids: Sequence[int]


async def letters_of(
    database: Database,
    changes: Sequence[LoggedChange],
    subscriptions: Sequence[Subscription],
    max_record_bytes: int,
) -> list[Letter]:
    """Decide who is told what, in the order of the log.

    Args:
        database: A superuser's connection.
        changes: Of one batch.
        subscriptions: Those in force now.
        max_record_bytes: A larger change is cut.
    """
    # A table that was altered inside the batch is another one from there on.
    positions: dict[Relation, list[int]] = defaultdict(list)
    for position, change in enumerate(changes):
        positions[change.relation].append(position)
    letters: dict[int, list[Letter]] = {}
    for relation, places in positions.items():
        listening = [item for item in subscriptions if relation.oid in item.tables]
        if listening:
            logged = [changes[place] for place in places]
            batch = _Batch(database, relation, logged, listening, max_record_bytes)
            letters.update(zip(places, await batch.letters(), strict=True))
    return [letter for position in sorted(letters) for letter in letters[position]]


@dataclass(frozen=True)
class _Batch:
    """The changes of one table and those who listen to it."""

    database: Database
    relation: Relation
    logged: Sequence[LoggedChange]
    subscriptions: Sequence[Subscription]
    max_record_bytes: int

    async def letters(self) -> list[list[Letter]]:
        """Return the letters of each change."""
        roles = sorted({subscription.who.role for subscription in self.subscriptions})
        oids = {column.type_oid for column in self.relation.columns}
        table = await find_table(self.database, self.relation.oid, roles)
        types = await find_types(self.database, oids)
        if table is None or not oids or types.keys() != oids:
            # Dropped since, or without columns: there is nothing that anybody may see.
            return [[] for _ in self.logged]
        changes = await self._changes(types)
        visible = await self._visible(table, types)
        return [
            list(_letters(position, change, table, self.subscriptions, visible))
            for position, change in enumerate(changes)
        ]

    async def _changes(self, types: Mapping[int, Type]) -> list[Change]:
        new = iter(await self._rows("new", types))
        old = iter(await self._rows("old", types))
        return [
            Change(
                self.relation,
                logged.action,
                logged.commit_time,
                None if logged.new is None else next(new),
                None if logged.old is None else next(old),
                too_large=is_too_large(logged, self.max_record_bytes),
            )
            for logged in self.logged
        ]

    async def _rows(self, side: str, types: Mapping[int, Type]) -> list[Row]:
        rows = [row for logged in self.logged if (row := getattr(logged, side)) is not None]
        filters = list({item.binding.filters: None for item in self.subscriptions})
        return await read_rows(self.database, self.relation, types, rows, filters)

    async def _visible(self, table: Table, types: Mapping[int, Type]) -> dict[Identity, Visible]:
        """Ask for each identity which of the changed rows it may select now."""
        columns = {column.name: column for column in self.relation.columns}
        if not table.row_security or not columns.keys() >= set(table.primary_key):
            return {}
        key_types = {name: types[columns[name].type_oid] for name in table.primary_key}
        keys = {
            position: tuple(
                value if isinstance(value, str) else None
                for column, value in zip(self.relation.columns, logged.new.values, strict=True)
                if column.name in key_types
            )
            for position, logged in enumerate(self.logged)
            if logged.new is not None
        }
        ordered = {name: key_types[name] for name in columns if name in key_types}
        return {
            who: await visible_rows(self.database, table.name, ordered, keys, who)
            for who in {subscription.who: None for subscription in self.subscriptions}
            if keys and refusal(table, Action.INSERT, who.role) is None
        }


def _letters(
    position: int,
    change: Change,
    table: Table,
    subscriptions: Sequence[Subscription],
    visible: Mapping[Identity, Visible],
) -> Iterator[Letter]:
    """Write one change to all who may see it, each version of it composed once."""
    grouped: dict[tuple[Identity, tuple[str, ...] | None], list[Subscription]] = defaultdict(list)
    for item in subscriptions:
        if item.binding.event in (None, change.action):
            grouped[item.who, item.binding.select].append(item)
    # Those who select nothing in particular come first, as on the real server.
    for (who, select), group in sorted(grouped.items(), key=lambda entry: entry[0][1] or ()):
        recipients = group
        if error := refusal(table, change.action, who.role):
            payload = refused_payload(change, error)
        else:
            judged = table.row_security and change.action is not Action.DELETE
            verdict = visible.get(who, _NOTHING) if judged else None
            recipients = [item for item in group if _passes(change, item)]
            if verdict is not None and position in verdict.failed:
                payload = refused_payload(change, POLICY_FAILED)
            elif verdict is not None and position not in verdict.rows:
                continue
            else:
                payload = full_payload(change, table, who.role, select)
        raw = msgspec.Raw(msgspec.json.encode(payload))
        for listener, ids in _by_listener(recipients).items():
            yield Letter(raw, change.action, listener, ids)


def _passes(change: Change, item: Subscription) -> bool:
    row = change.old if change.action is Action.DELETE else change.new
    return row is not None and item.binding.filters in row.passed


def _by_listener(recipients: Sequence[Subscription]) -> dict[Listener, list[int]]:
    ids: dict[Listener, list[int]] = defaultdict(list)
    for item in recipients:
        ids[item.listener].append(item.binding.id)
    return ids

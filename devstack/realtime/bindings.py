"""Read the `postgres_changes` bindings of a join.

Pure. What a binding asks for is only read here; whether the database can serve it is decided when
it is subscribed.
"""

import json
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from devstack.realtime.filters import BadFilterError, Filter, parse_filters
from devstack.realtime.pgoutput import Action

_BAD_SELECT = (
    "Error parsing `select` params: expected a list of column name strings, "
    'e.g. select: ["col1", "col2"]'
)
_WILDCARD_SELECT = (
    "Column selection is not supported for wildcard subscriptions. "
    "Provide an explicit schema and table name."
)


class BadBindingError(ValueError):
    """A binding that can't be read; the message is the server's."""


@dataclass(frozen=True)
class Binding:
    """One thing that a channel listens for.

    Attributes:
        id: What the client finds its callback by; the same for equal bindings.
        event: The action, None for all.
        schema: A schema, or `*`.
        table: A table, or `*`.
        select: The wanted columns, None for all.
    """

    id: int
    event: Action | None
    schema: str
    table: str
    filters: tuple[Filter, ...]
    select: tuple[str, ...] | None

    def __str__(self) -> str:
        """Write it as the real server's error messages do."""
        select = "nil" if self.select is None else json.dumps(list(self.select))
        filters = ", ".join(map(str, self.filters))
        return (
            f"[event: {self.event or '*'}, schema: {self.schema}, table: {self.table}, "
            f"filters: [{filters}], select: {select}]"
        )


def binding_id(params: Mapping[str, Any]) -> int:
    """Return the number by which client and server name a binding."""
    return zlib.crc32(json.dumps(params, sort_keys=True).encode()) & 0x7FFFFFF


def old_style_params(sub_topic: str) -> dict[str, Any]:
    """Return the binding that a join without a config means: `schema:table:filter` as its topic."""
    return dict(zip(("schema", "table", "filter"), sub_topic.split(":", 2), strict=False))


def parse_binding(params: Mapping[str, Any]) -> Binding:
    """Read one binding.

    Raises:
        BadBindingError: Its form isn't understood.
    """
    schema, table = params.get("schema"), params.get("table")
    named = {key: params[key] for key in ("schema", "table", "filter") if key in params}
    if not all(isinstance(value, str) for value in named.values()) or not (schema or table):
        shown = ", ".join(f"{json.dumps(k)} => {json.dumps(v)}" for k, v in params.items())
        raise BadBindingError(
            "No subscription params provided. Please provide at least a `schema` or `table` "
            f"to subscribe to: %{{{shown}}}"
        )
    try:
        filters = parse_filters(params.get("filter", ""))
    except BadFilterError as error:
        raise BadBindingError(f"Error parsing `filter` params: {error}") from error
    select = _select(params.get("select"))
    binding = Binding(
        binding_id(params), _event(params), schema or "public", table or "*", filters, select
    )
    if select is not None and "*" in (binding.schema, binding.table):
        raise BadBindingError(_WILDCARD_SELECT)
    return binding


def _event(params: Mapping[str, Any]) -> Action | None:
    # An event that isn't known means all of them, as on the real server.
    name = str(params.get("event", "*")).upper()
    return Action(name) if name in list(Action) else None


def _select(columns: Any) -> tuple[str, ...] | None:
    if isinstance(columns, str):
        raise BadBindingError(_BAD_SELECT)
    if not isinstance(columns, list):
        return None
    return tuple(sorted({name for name in columns if isinstance(name, str)})) or None

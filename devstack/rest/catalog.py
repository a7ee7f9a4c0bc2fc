"""What the database has, asked anew for each request, so that a migration shows at once."""

from dataclasses import dataclass

from devstack.identity import Connection
from devstack.rest.errors import ApiError
from devstack.rest.fields import Column, Relation
from devstack.rest.syntax import identifier

_COLUMNS = """
    select a.attname as name,
        format_type(a.atttypid, -1) as type,
        format_type(a.atttypid, a.atttypmod) as full_type,
        case
            when a.attidentity <> '' then format(
                'nextval(%L)', pg_get_serial_sequence(a.attrelid::regclass::text, a.attname)
            )
            when a.attgenerated = '' then pg_get_expr(d.adbin, d.adrelid)
        end as default,
        coalesce(a.attnum = any(i.indkey), false) as key
    from pg_attribute a
    left join pg_attrdef d on d.adrelid = a.attrelid and d.adnum = a.attnum
    left join pg_index i on i.indrelid = a.attrelid and i.indisprimary
    where a.attrelid = $1::oid and a.attnum > 0 and not a.attisdropped
    order by a.attnum
"""
_FUNCTIONS = """
    select p.prorettype = 'void'::regtype as is_void,
        p.proretset as is_set,
        t.typtype = 'c' or p.prorettype = 'record'::regtype
            or coalesce(p.proargmodes::text[] && '{t,b,o}', false) as is_row,
        t.typrelid::int8 as row_of,
        coalesce(p.proargnames, '{}') as names,
        coalesce(p.proargmodes::text[], array_fill('i'::text, array[p.pronargs::int])) as modes,
        array(
            select format_type(a.type, -1)
            from unnest(coalesce(p.proallargtypes, p.proargtypes::oid[]))
                with ordinality as a (type, place)
            order by a.place
        ) as types,
        p.pronargdefaults::int as defaults
    from pg_proc p
    join pg_type t on t.oid = p.prorettype
    where p.pronamespace = $1::text::regnamespace and p.proname = $2 and p.prokind = 'f'
"""
_INPUT, _OUTPUT = frozenset("ibv"), frozenset("obt")


@dataclass(frozen=True)
class Function:
    """A function that a request may call.

    Attributes:
        sql: Its quoted name.
        arguments: The types of its inputs by name; the only input may be without a name.
        required: The names of the inputs without a default.
        is_void: Whether it returns nothing.
        is_set: Whether it returns any number of results.
        is_row: Whether a result has columns.
        columns: Those columns, as far as the catalog knows them.
    """

    sql: str
    arguments: dict[str, str]
    required: frozenset[str]
    is_void: bool
    is_set: bool
    is_row: bool
    columns: dict[str, Column]


async def table(connection: Connection, schema: str, name: str) -> Relation:
    """Find a table or view."""
    sql = f"{identifier(schema)}.{identifier(name)}"
    found = await connection.fetchrow(
        "select oid::int8 from pg_class"
        " where oid = to_regclass($1) and relkind in ('r', 'v', 'm', 'p', 'f')",
        sql,
    )
    if found is None:
        message = f"Could not find the table '{schema}.{name}' in the schema cache"
        raise ApiError(404, "PGRST205", message)
    return Relation(name, sql, await _columns(connection, found["oid"]))


async def functions(connection: Connection, schema: str, name: str) -> list[Function]:
    """Find all functions of a name."""
    found = []
    for row in await connection.fetch(_FUNCTIONS, identifier(schema), name):
        labels = list(row["names"]) + [""] * (len(row["types"]) - len(row["names"]))
        all_arguments = list(zip(labels, row["types"], row["modes"], strict=True))
        arguments = {label: kind for label, kind, mode in all_arguments if mode in _INPUT}
        columns = {
            label: Column(kind, kind) for label, kind, mode in all_arguments if mode in _OUTPUT
        }
        if row["row_of"]:
            columns = await _columns(connection, row["row_of"])
        found.append(
            Function(
                f"{identifier(schema)}.{identifier(name)}",
                arguments,
                frozenset(list(arguments)[: len(arguments) - row["defaults"]]),
                row["is_void"],
                row["is_set"],
                row["is_row"],
                columns,
            )
        )
    return found


async def _columns(connection: Connection, relation: int) -> dict[str, Column]:
    rows = await connection.fetch(_COLUMNS, relation)
    return {
        row["name"]: Column(row["type"], row["full_type"], row["default"], row["key"])
        for row in rows
    }

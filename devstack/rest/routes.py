"""The HTTP side: `/rest/v1/{table}` and `/rest/v1/rpc/{function}`."""

import json
from collections.abc import Awaitable, Callable

import asyncpg
import jwt
from aiohttp import web

from devstack.identity import Connection, Gate, KeyRefused, Pool, transaction_of
from devstack.rest import catalog, functions, statements
from devstack.rest.answers import Rows, Statement, Wishes, failure, fetch, page, respond
from devstack.rest.errors import ApiError, from_database, from_gate
from devstack.rest.fields import Parameters, Relation
from devstack.rest.reading import Window, names, selected, window
from devstack.rest.statements import Conflict, Payload

_SCHEMAS = ("public",)
_Work = Callable[[web.Request, Connection], Awaitable[web.Response]]


class Rest:
    """Answers requests for tables and functions.

    Args:
        pool: Connections as `authenticator`.
        gate: Tells who asks.
    """

    def __init__(self, pool: Pool, gate: Gate) -> None:
        self._pool = pool
        self._gate = gate

    def routes(self) -> list[web.RouteDef]:
        """Return all routes, relative to the server's root."""
        table, function = "/rest/v1/{table}", "/rest/v1/rpc/{function}"
        return [
            web.get(table, self._handler(_read, readonly=True)),
            web.post(table, self._handler(_insert)),
            web.patch(table, self._handler(_update)),
            web.delete(table, self._handler(_delete)),
            web.get(function, self._handler(_call, readonly=True)),
            web.post(function, self._handler(_call)),
        ]

    def _handler(
        self, work: _Work, *, readonly: bool = False
    ) -> Callable[[web.Request], Awaitable[web.Response]]:
        async def handle(request: web.Request) -> web.Response:
            role = "anon"
            try:
                identity = self._gate.identify(request)
                role = identity.role
                async with transaction_of(
                    self._pool, request, identity, readonly=readonly
                ) as connection:
                    return await work(request, connection)
            except (KeyRefused, jwt.InvalidTokenError) as error:
                return failure(from_gate(error))
            except ApiError as error:
                return failure(error)
            except asyncpg.PostgresError as error:
                return failure(from_database(error, role))

        return handle


async def _read(request: web.Request, connection: Connection) -> web.Response:
    relation = await catalog.table(connection, _schema(request), request.match_info["table"])
    wishes, parameters, chosen = Wishes.of(request), Parameters(), _window(request)
    statement = statements.read(relation, _query(request), chosen, parameters)
    return page(await fetch(connection, statement, parameters, wishes), chosen, wishes)


async def _insert(request: web.Request, connection: Connection) -> web.Response:
    relation = await catalog.table(connection, _schema(request), request.match_info["table"])
    wishes, parameters = Wishes.of(request), Parameters()
    payload = Payload.read(await request.text(), names(request.query.get("columns")))
    conflict = None
    if resolution := wishes.preferences.get("resolution"):
        keys = names(request.query.get("on_conflict"))
        conflict = Conflict(keys, merge=resolution == "merge-duplicates")
    statement = statements.insert(
        relation,
        payload,
        conflict,
        parameters,
        use_defaults=wishes.preferences.get("missing") == "default",
    )
    rows = await _write(request, connection, relation, statement, parameters)
    return _written(rows, wishes, 201, "*")


async def _update(request: web.Request, connection: Connection) -> web.Response:
    relation = await catalog.table(connection, _schema(request), request.match_info["table"])
    wishes, parameters = Wishes.of(request), Parameters()
    payload = Payload.read(await request.text(), names(request.query.get("columns")))
    if not payload.columns:
        return _written(Rows("[]", 0, 0), wishes, 200, "*")
    statement = statements.update(relation, payload, _query(request), parameters)
    rows = await _write(request, connection, relation, statement, parameters)
    return _written(rows, wishes, 200, f"0-{rows.found - 1}" if rows.found else "*")


async def _delete(request: web.Request, connection: Connection) -> web.Response:
    relation = await catalog.table(connection, _schema(request), request.match_info["table"])
    parameters = Parameters()
    statement = statements.delete(relation, _query(request), parameters)
    rows = await _write(request, connection, relation, statement, parameters)
    return _written(rows, Wishes.of(request), 200, "*")


async def _write(
    request: web.Request,
    connection: Connection,
    relation: Relation,
    statement: str,
    parameters: Parameters,
) -> Rows:
    wishes = Wishes.of(request)
    # Returning columns needs the right to read them, so a minimal answer must not ask for any.
    returning = "1"
    if wishes.represents:
        returning = selected(relation, request.query.get("select", "*"), parameters)
    else:
        wishes = Wishes(preferences=wishes.preferences)
    command = Statement(f"{statement} returning {returning}")
    rows = await fetch(connection, command, parameters, wishes)
    limit = wishes.preferences.get("max-affected")
    if limit is not None and rows.found > int(limit):
        message = "Query result exceeds max-affected preference constraint"
        raise ApiError(400, "PGRST124", message, f"The query affects {rows.found} rows")
    return rows


def _written(rows: Rows, wishes: Wishes, status: int, shown: str) -> web.Response:
    total = rows.found if wishes.counts else "*"
    headers = {"Content-Range": f"{shown}/{total}"}
    if wishes.represents:
        return respond(status, rows.body, wishes, headers)
    return web.Response(status=201 if status == 201 else 204, headers=headers)  # noqa: PLR2004


async def _call(request: web.Request, connection: Connection) -> web.Response:
    schema, name = _schema(request), request.match_info["function"]
    wishes, parameters, chosen = Wishes.of(request), Parameters(), _window(request)
    candidates = await catalog.functions(connection, schema, name)
    call, query = await _arguments(request, schema, name, candidates)
    function = call.function
    if function.is_void:
        await connection.execute(f"select from {call.sql(parameters)}", *parameters)
        return web.Response(status=204)
    statement = functions.results(call, query, chosen, parameters)
    found = await fetch(connection, statement, parameters, wishes)
    if wishes.preferences.get("return") == "minimal":
        return web.Response(status=204, headers={"Content-Range": f"*/{found.total}"})
    return page(found, chosen, wishes)


async def _arguments(
    request: web.Request, schema: str, name: str, candidates: list[catalog.Function]
) -> tuple[functions.Call, statements.Query]:
    """Tell a call's arguments from the filters on its result."""
    query = _query(request)
    if request.method == "POST":
        body = await request.text() or "{}"
        try:
            content = json.loads(body)
        except ValueError:
            raise ApiError(400, "PGRST102", "Empty or invalid json") from None
        keys = content if isinstance(content, dict) else {"": content}
        return functions.Call(functions.choose(schema, name, candidates, keys), body, {}), query
    inputs = {argument for candidate in candidates for argument in candidate.arguments}
    values = {key: value for key, value in query if key in inputs}
    chosen = functions.choose(schema, name, candidates, values)
    return functions.Call(chosen, None, values), [(k, v) for k, v in query if k not in values]


def _schema(request: web.Request) -> str:
    header = "Accept-Profile" if request.method in {"GET", "HEAD"} else "Content-Profile"
    schema = request.headers.get(header, _SCHEMAS[0])
    if schema not in _SCHEMAS:
        hint = f"Only the following schemas are exposed: {', '.join(_SCHEMAS)}"
        raise ApiError(406, "PGRST106", f"Invalid schema: {schema}", hint=hint)
    return schema


def _query(request: web.Request) -> statements.Query:
    return list(request.query.items())


def _window(request: web.Request) -> Window:
    header = request.headers.get("Range") if request.method in {"GET", "HEAD"} else None
    return window(request.query.get("limit"), request.query.get("offset"), header)

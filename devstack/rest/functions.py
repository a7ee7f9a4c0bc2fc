"""Calling a function: which one is meant, and its SQL."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from devstack.rest.answers import Statement
from devstack.rest.catalog import Function
from devstack.rest.errors import ApiError
from devstack.rest.fields import Parameters, Relation
from devstack.rest.reading import Window, conditions, ordered, selected
from devstack.rest.statements import Query
from devstack.rest.syntax import identifier

RESULT = Relation("pgrst_call", '"pgrst_call"', {})


@dataclass(frozen=True)
class Call:
    """A function with the arguments that a request gives it.

    Attributes:
        function: The one that takes them.
        body: The arguments as a JSON object, or None when they stand in the query string.
        values: The arguments of the query string.
    """

    function: Function
    body: str | None
    values: Mapping[str, str]

    def sql(self, parameters: Parameters) -> str:
        """Return the expression to select from."""
        name, arguments = self.function.sql, self.function.arguments
        if self.body is None:
            given = [
                f"{identifier(key)} => {parameters.add(value)}::{arguments[key]}"
                for key, value in self.values.items()
            ]
            return f"{name}({', '.join(given)})"
        if list(arguments) == [""]:
            return f"{name}({parameters.add(self.body)}::{arguments['']})"
        keys = list(json.loads(self.body))
        if not keys:
            return f"{name}()"
        shape = ", ".join(f"{identifier(key)} {arguments[key]}" for key in keys)
        given = [f"{identifier(key)} => _.{identifier(key)}" for key in keys]
        record = f"json_to_record({parameters.add(self.body)}::json) as _ ({shape})"
        return f"{record}, lateral {name}({', '.join(given)})"


def choose(schema: str, name: str, candidates: Iterable[Function], keys: Iterable[str]) -> Function:
    """Return the function that takes exactly these arguments, or else one unnamed JSON argument."""
    given = frozenset(keys)
    candidates = list(candidates)
    fitting = [
        candidate
        for candidate in candidates
        if candidate.required <= given <= candidate.arguments.keys()
    ]
    if not fitting:
        fitting = [
            candidate
            for candidate in candidates
            if list(candidate.arguments) == [""]
            and candidate.arguments[""] in {"json", "jsonb", "text"}
        ]
    if len(fitting) == 1:
        return fitting[0]
    listed = ", ".join(sorted(given))
    signature = f"{schema}.{name}({listed})" if given else f"{schema}.{name}"
    if fitting:
        message = f"Could not choose the best candidate function for {signature}"
        raise ApiError(300, "PGRST203", message)
    wanted = f"with parameters {listed}" if given else "without parameters"
    details = (
        f"Searched for the function {schema}.{name} {wanted} or with a single unnamed json/jsonb"
        " parameter, but no matches were found in the schema cache."
    )
    message = f"Could not find the function {signature} in the schema cache"
    raise ApiError(404, "PGRST202", message, details)


def results(call: Call, query: Query, window: Window, parameters: Parameters) -> Statement:
    """Return the statement for what a call returns."""
    one = not call.function.is_set
    source = f"{call.sql(parameters)} as {RESULT.sql}"
    if not call.function.is_row:
        rows = f"select {RESULT.sql} as pgrst_scalar from {source}"
        count = f"select count(*) from ({rows}) as all_rows"
        return Statement(f"{rows}{window.sql}", count, scalar=True, one=one)
    relation = Relation(RESULT.name, RESULT.sql, call.function.columns)
    values = dict(query)
    columns = selected(relation, values.get("select", "*"), parameters)
    where = conditions(relation, query, parameters)
    order = ordered(relation, values.get("order"), parameters)
    rows = f"select {columns} from {source}{where}{order}{window.sql}"
    return Statement(rows, f"select count(*) from {source}{where}", one=one)

"""Conditions on rows: `age=gte.18`, `or=(a.eq.1,not.and(b.gt.2,c.is.null))`."""

import re

from devstack.rest.errors import ApiError, parse_error
from devstack.rest.fields import Field, Parameters, Relation, field
from devstack.rest.syntax import inside, split, unquote

_COMPARISONS = {
    "eq": "=",
    "neq": "<>",
    "gt": ">",
    "gte": ">=",
    "lt": "<",
    "lte": "<=",
    "isdistinct": "is distinct from",
    "cs": "@>",
    "cd": "<@",
    "ov": "&&",
    "sl": "<<",
    "sr": ">>",
    "nxr": "&<",
    "nxl": "&>",
    "adj": "-|-",
}
_PATTERNS = {"like": "like", "ilike": "ilike", "match": "~", "imatch": "~*"}
_SEARCHES = {
    "fts": "to_tsquery",
    "plfts": "plainto_tsquery",
    "phfts": "phraseto_tsquery",
    "wfts": "websearch_to_tsquery",
}
_IS = {"null", "true", "false", "unknown", "not_null"}
_EXPRESSION = re.compile(r"(not\.)?([a-z]+)(?:\((\w+)\))?\.(.*)", re.DOTALL)
_GROUP = re.compile(r"(not\.)?(and|or)(\(.*\))", re.DOTALL)
_MEMBER = re.compile(r'((?:"(?:[^"\\]|\\.)*"|[^."]|->)+)\.(.*)', re.DOTALL)


def condition(relation: Relation, key: str, value: str, parameters: Parameters) -> str:
    """Return the SQL of one parameter of the query string."""
    if key in {"and", "or", "not.and", "not.or"}:
        return _group(relation, f"{key}{value}", parameters)
    return _compare(field(relation, key, parameters), value, parameters)


def _group(relation: Relation, text: str, parameters: Parameters) -> str:
    """Read `or(a.eq.1,b.eq.2)`; a member may be a group itself."""
    match = _GROUP.fullmatch(text.strip())
    members = match and inside(match[3])
    if not match or not members:
        raise parse_error("logic tree", text)
    conditions = []
    for member in map(str.strip, split(members)):
        if _GROUP.fullmatch(member):
            conditions.append(_group(relation, member, parameters))
        elif parts := _MEMBER.fullmatch(member):
            target = field(relation, parts[1], parameters)
            conditions.append(_compare(target, parts[2], parameters, quotes=True))
        else:
            raise parse_error("logic tree", text)
    joined = f"({f' {match[2]} '.join(conditions)})"
    return f"not {joined}" if match[1] else joined


def _compare(target: Field, text: str, parameters: Parameters, *, quotes: bool = False) -> str:
    """Read `eq.5`, `not.in.(1,2)` or `like(any).{a*,b*}`; in a group values may be in quotes."""
    match = _EXPRESSION.fullmatch(text)
    if not match:
        raise parse_error("filter", text)
    negated, operator, modifier, value = match.groups()
    if quotes:
        value = unquote(value)
    sql = _operation(target, operator, modifier, value, parameters)
    return f"not ({sql})" if negated else sql


def _operation(
    target: Field, operator: str, modifier: str | None, value: str, parameters: Parameters
) -> str:
    if operator == "is" and value.lower() in _IS:
        return f"{target.sql} is {value.lower().replace('_', ' ')}"
    if operator == "in" and (members := inside(value)) is not None:
        return _in(target, members, parameters)
    if operator in _SEARCHES:
        return _search(target, _SEARCHES[operator], modifier, value, parameters)
    if operator in _PATTERNS:
        if operator.endswith("like"):
            value = value.replace("*", "%")
        return _quantified(target, _PATTERNS[operator], "text", modifier, parameters.add(value))
    if operator in _COMPARISONS:
        place = parameters.add(value)
        return _quantified(target, _COMPARISONS[operator], target.type, modifier, place)
    raise ApiError(400, "PGRST100", f'"failed to parse filter ({operator}.{value})"')


def _quantified(target: Field, sign: str, kind: str, modifier: str | None, place: str) -> str:
    if modifier in {"any", "all"}:
        return f"{target.sql} {sign} {modifier}({place}::{kind}[])"
    return f"{target.sql} {sign} {place}::{kind}"


def _in(target: Field, members: str, parameters: Parameters) -> str:
    values = [unquote(member) for member in split(members)] if members else []
    places = [f"{parameters.add(value)}::{target.type}" for value in values]
    return f"{target.sql} = any(array[{', '.join(places)}]::{target.type}[])"


def _search(
    target: Field, function: str, language: str | None, value: str, parameters: Parameters
) -> str:
    configuration = f"{parameters.add(language)}::regconfig, " if language else ""
    document = target.sql
    if target.type != "tsvector":
        document = f"to_tsvector({configuration}{document})"
    return f"{document} @@ {function}({configuration}{parameters.add(value)})"

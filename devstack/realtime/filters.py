"""Parse the `filter` of a binding: `status=eq.queued,priority=not.lt.5`.

Pure. Commas mean AND. A comma inside parentheses or double quotes belongs to the value.
"""

import json
import re
from dataclasses import dataclass

_QUOTES_OPEN_AFTER = ".(,"


class BadFilterError(ValueError):
    """A filter that can't be read; the message is the server's."""


@dataclass(frozen=True, slots=True)
class Filter:
    """One comparison of a column with a constant.

    Attributes:
        value: As a literal of the column's type; for `in`, of its array type.
    """

    column: str
    operator: str
    value: str
    negated: bool

    def __str__(self) -> str:
        """Write it as the real server's error messages do."""
        texts = (json.dumps(part) for part in (self.column, self.operator, self.value))
        return f"{{{', '.join(texts)}, {str(self.negated).lower()}}}"


OPERATORS = {
    "eq": "=",
    "neq": "<>",
    "lt": "<",
    "lte": "<=",
    "gt": ">",
    "gte": ">=",
    "in": "= any",
    "like": "like",
    "ilike": "ilike",
    "match": "~",
    "imatch": "~*",
    "is": "is",
    "isdistinct": "is distinct from",
}


def parse_filters(text: str) -> tuple[Filter, ...]:
    """Parse a binding's filter; an empty one is none.

    Raises:
        BadFilterError: Its form or an operator isn't known.
    """
    if not text.strip():
        return ()
    return tuple(_parse_segment(segment.strip()) for segment in _split(text.strip()))


def _split(text: str) -> list[str]:
    segments, current = [], ""
    depth, quoted, escaped = 0, False, False
    for character in text:
        if character == "," and depth == 0 and not quoted:
            segments.append(current)
            current = ""
            continue
        if escaped:
            escaped = False
        elif quoted:
            escaped, quoted = character == "\\", character != '"'
        elif character == '"':
            quoted = bool(current) and current[-1] in _QUOTES_OPEN_AFTER
        else:
            depth = max(0, depth + {"(": 1, ")": -1}.get(character, 0))
        current += character
    return [*segments, current]


def _parse_segment(segment: str) -> Filter:
    if not segment:
        raise BadFilterError("filter must not contain empty segments (check for extra commas)")
    column, separator, rest = segment.partition("=")
    if not separator:
        raise BadFilterError(json.dumps([segment]))
    negated = rest.startswith("not.")
    operator, dot, value = rest.removeprefix("not.").partition(".")
    if not dot:
        raise BadFilterError(json.dumps([operator]))
    if operator not in OPERATORS:
        raise BadFilterError(json.dumps([operator, value]))
    return Filter(column, operator, _literal(operator, value), negated)


def _literal(operator: str, value: str) -> str:
    if operator == "in":
        if len(value) < len("()") or value[0] != "(" or value[-1] != ")":
            raise BadFilterError("`in` filter value must be wrapped by parentheses")
        return "{" + value[1:-1] + "}"
    quoted = re.fullmatch(r'"((?:[^"\\]|\\.)*)"', value, re.DOTALL)
    return re.sub(r"\\(.)", r"\1", quoted[1], flags=re.DOTALL) if quoted else value

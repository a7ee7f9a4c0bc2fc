"""JSON Schema in words, for the page: the fields of a body, and what each may be. Pure."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

_DEEPEST = 3
"""Levels of objects in objects whose fields are listed."""


@dataclass(frozen=True, slots=True)
class Field:
    """A field as it is shown; `name` is such as `metadata.seed` or `artifacts[].url`."""

    name: str
    kind: str
    required: bool
    default: str | None
    description: str


def fields_of(
    document: Mapping[str, Any], schema: Mapping[str, Any], prefix: str = "", depth: int = 0
) -> Iterator[Field]:
    """Return the fields of an object and of the objects in it; none of what isn't one."""
    found = _resolved(document, schema)
    required = found.get("required", ())
    for name, field in found.get("properties", {}).items():
        target = _resolved(document, _without_null(field))
        yield Field(
            name=prefix + name,
            kind=kind_of(document, field),
            required=name in required,
            default=json.dumps(field["default"]) if "default" in field else None,
            description=field.get("description") or target.get("description", ""),
        )
        if depth + 1 < _DEEPEST:
            inner = _resolved(document, target.get("items", target))
            mark = "[]." if "items" in target else "."
            yield from fields_of(document, inner, f"{prefix}{name}{mark}", depth + 1)


def kind_of(document: Mapping[str, Any], schema: Mapping[str, Any]) -> str:
    """Return what a value may be, such as "integer, 1 to 150, or null"."""
    kinds = [_kind(document, _resolved(document, each)) for each in schema.get("anyOf", [schema])]
    if kinds[-1] == "null" and len(kinds) > 1:
        return f"{' or '.join(kinds[:-1])}, or null"
    return " or ".join(kinds)


def _kind(document: Mapping[str, Any], schema: Mapping[str, Any]) -> str:
    if "const" in schema:
        return json.dumps(schema["const"])
    if "enum" in schema:
        return ", ".join(str(value) for value in schema["enum"])
    kind = str(schema.get("type", "anything"))
    if kind == "array":
        most = f"at most {schema['maxItems']}: " if "maxItems" in schema else ""
        return f"list of {most}{kind_of(document, schema.get('items', {}))}"
    if "format" in schema:
        kind = f"{kind} ({schema['format']})"
    return f"{kind}{_range(schema)}{_length(schema)}{_grid(schema)}"


def _range(schema: Mapping[str, Any]) -> str:
    least, above = schema.get("minimum"), schema.get("exclusiveMinimum")
    most, below = schema.get("maximum"), schema.get("exclusiveMaximum")
    low = (
        f", above {above}" if above is not None else f", from {least}" if least is not None else ""
    )
    high = f", below {below}" if below is not None else f" to {most}" if most is not None else ""
    return low + high


def _length(schema: Mapping[str, Any]) -> str:
    return f", at most {schema['maxLength']:,} characters" if "maxLength" in schema else ""


def _grid(schema: Mapping[str, Any]) -> str:
    return f", a multiple of {schema['multipleOf']}" if "multipleOf" in schema else ""


def _without_null(schema: Mapping[str, Any]) -> Mapping[str, Any]:
    choices = [each for each in schema.get("anyOf", [schema]) if each.get("type") != "null"]
    return choices[0] if len(choices) == 1 else schema


def _resolved(document: Mapping[str, Any], schema: Mapping[str, Any]) -> Mapping[str, Any]:
    reference = schema.get("$ref")
    if reference is None:
        return schema
    found: Mapping[str, Any] = document["components"]["schemas"][reference.rsplit("/", 1)[1]]
    return found

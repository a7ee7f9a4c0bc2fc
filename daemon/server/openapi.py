"""The table of endpoints as an OpenAPI 3.1 document. Pure.

Requests are shown as they are checked: null is the same as absent, so whatever may be left out of a
body may be null.
"""

from collections.abc import Iterable, Mapping
from http import HTTPStatus
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema, models_json_schema

from daemon.server.endpoint import EVENTS, JSON, Answer, Endpoint, Parameter
from daemon.server.endpoints import ENDPOINTS, TAGS
from daemon.server.samples import BOUNDS, MEANINGS

_COMPONENTS = "#/components/schemas/{model}"

_DESCRIPTION = (
    "Text, pictures and films from the models of one GPU host. The worker is a pure inference "
    "engine: it adds, changes and drops no system prompt and filters nothing; the caller decides. "
    'Every failure has one shape: `{"success": false, "error": …, "error_code": …}`.'
)

_KEYS: Mapping[str, Any] = {
    "ApiKey": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
    "Bearer": {"type": "http", "scheme": "bearer"},
}


class _Untitled(GenerateJsonSchema):
    """Fields have names enough."""

    def field_title_should_be_set(self, schema: Any) -> bool:
        del schema
        return False


def openapi_document(
    version: str,
    *,
    refuse_unknown: bool = False,
    endpoints: Iterable[Endpoint] = ENDPOINTS,
) -> dict[str, Any]:
    """Return the document, as JSON.

    Args:
        version: of the worker.
        refuse_unknown: requests with unknown fields are refused.
        endpoints: what is documented, in order.
    """
    table = tuple(endpoints)
    paths: dict[str, dict[str, Any]] = {}
    for endpoint in table:
        paths.setdefault(endpoint.path, {})[endpoint.method.lower()] = _operation(endpoint)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "ourvidz-worker",
            "version": version,
            "description": _DESCRIPTION,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "tags": [{"name": name, "description": text} for name, text in TAGS.items()],
        "security": [{name: []} for name in _KEYS],
        "paths": paths,
        "components": {
            "securitySchemes": {name: dict(scheme) for name, scheme in _KEYS.items()},
            "schemas": _schemas(table, refuse_unknown=refuse_unknown),
        },
    }


def _operation(endpoint: Endpoint) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "operationId": _name_of(endpoint),
        "tags": [endpoint.tag],
        "summary": endpoint.summary,
        "description": endpoint.description,
    }
    if endpoint.gone:
        operation["deprecated"] = True
    if endpoint.open:
        operation["security"] = []
    if endpoint.parameters:
        operation["parameters"] = [_parameter(each) for each in endpoint.parameters]
    if endpoint.request is not None:
        body = {"schema": _reference(endpoint.request), **_examples(endpoint.examples)}
        operation["requestBody"] = {"required": True, "content": {JSON: body}}
    operation["responses"] = {
        str(int(status)): _response(answer) for status, answer in sorted(endpoint.answers.items())
    }
    return operation


def _name_of(endpoint: Endpoint) -> str:
    """Return a name for generated clients, such as `post_chat`."""
    words = "".join(each if each.isalnum() else "_" for each in endpoint.path).strip("_")
    return f"{endpoint.method.lower()}_{words.replace('__', '_')}"


def _parameter(parameter: Parameter) -> dict[str, Any]:
    return {
        "name": parameter.name,
        "in": parameter.place,
        "description": parameter.description,
        "required": parameter.place == "path",
        "schema": dict(parameter.schema),
        **({} if parameter.example is None else {"example": parameter.example}),
    }


def _response(answer: Answer) -> dict[str, Any]:
    response: dict[str, Any] = {"description": answer.description}
    if answer.headers:
        response["headers"] = {
            name: {"description": text, "required": True, "schema": {"type": "string"}}
            for name, text in answer.headers.items()
        }
    if answer.content:
        response["content"] = {
            media_type: {"schema": _body_schema(answer, media_type, model)}
            for media_type, model in answer.content.items()
        }
    return response


def _body_schema(answer: Answer, media_type: str, model: type[BaseModel] | None) -> dict[str, Any]:
    if model is not None:
        return _reference(model)
    if media_type == EVENTS:
        return _event_schema(answer.events)
    return {"type": "object" if media_type == JSON else "string"}


def _event_schema(names: tuple[str, ...]) -> dict[str, Any]:
    """Return the schema of each event, as tools read it: version 3.1 has no word for a stream."""
    fields: dict[str, Any] = {"data": {"type": "string"}, "id": {"type": "string"}}
    if names:
        fields = {"event": {"type": "string", "enum": list(names)}, **fields}
    required = ["event", "data"] if names else ["data"]
    return {"type": "object", "properties": fields, "required": required}


def _reference(model: type[BaseModel]) -> dict[str, Any]:
    return {"$ref": _COMPONENTS.format(model=model.__name__)}


def _examples(examples: Mapping[str, Any]) -> dict[str, Any]:
    if not examples:
        return {}
    return {"examples": {name: {"value": value} for name, value in examples.items()}}


def _schemas(endpoints: Iterable[Endpoint], *, refuse_unknown: bool) -> dict[str, Any]:
    """Return every model that is named, and those that they are made of."""
    requests: set[type[BaseModel]] = set()
    replies: set[type[BaseModel]] = set()
    for endpoint in endpoints:
        if endpoint.request is not None:
            requests.add(endpoint.request)
        for answer in endpoint.answers.values():
            replies.update(model for model in answer.content.values() if model is not None)
    asked = _definitions(requests)
    bodies = {model.__name__ for model in requests}
    for name, schema in asked.items():
        if "properties" in schema:
            if name in bodies:
                _as_checked(schema, BOUNDS.get(name, {}))
            _explain(schema)
            if refuse_unknown:
                schema["additionalProperties"] = False
    return dict(sorted({**_definitions(replies), **asked}.items()))


def _definitions(models: Iterable[type[BaseModel]]) -> dict[str, Any]:
    ordered = sorted(models, key=lambda model: model.__name__)
    _, schema = models_json_schema(
        [(model, "validation") for model in ordered],
        ref_template=_COMPONENTS,
        schema_generator=_Untitled,
    )
    found: dict[str, Any] = schema.get("$defs", {})
    return found


def _as_checked(schema: dict[str, Any], bounds: Mapping[str, Mapping[str, Any]]) -> None:
    """Let what may be left out of a body be null; in the objects within nothing may that isn't."""
    required = schema.get("required", [])
    for name, field in schema["properties"].items():
        field.update(bounds.get(name, {}))
        if name not in required and not _takes_null(field):
            beside = ("default", "examples", "description")
            rest = {key: value for key, value in field.items() if key in beside}
            inner = {key: value for key, value in field.items() if key not in beside}
            field.clear()
            field.update(rest, anyOf=[inner, {"type": "null"}])


def _explain(schema: dict[str, Any]) -> None:
    """Say what each field means, in the order of meanings; null as a default says nothing."""
    fields: dict[str, dict[str, Any]] = schema["properties"]
    for name, field in fields.items():
        if field.get("default", ...) is None:
            del field["default"]
        field["description"] = MEANINGS[name]
    schema["properties"] = {name: fields[name] for name in MEANINGS if name in fields}


def _takes_null(field: Mapping[str, Any]) -> bool:
    return {"type": "null"} in field.get("anyOf", ())


def phrase_of(status: int) -> str:
    """Return a status as it is read, such as "404 Not Found"."""
    return f"{int(status)} {HTTPStatus(status).phrase}"

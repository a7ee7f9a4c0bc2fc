"""The OpenAPI document as a page for people. Pure.

One HTML file with its style in it: nothing is loaded from elsewhere, and there are no scripts.
"""

import base64
import hashlib
import json
import re
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup, escape

from daemon.server.openapi import phrase_of
from daemon.server.schema_words import Field, fields_of

_CODE = re.compile(r"`([^`]+)`")
_METHODS = ("get", "post", "put", "patch", "delete")


@dataclass(frozen=True, slots=True)
class Body:
    """A body as it is shown."""

    media_types: str
    fields: tuple[Field, ...]


@dataclass(frozen=True, slots=True)
class Response:
    """An answer as it is shown; `status` is such as "200 OK"."""

    status: str
    good: bool
    description: str
    headers: tuple[tuple[str, str], ...]
    body: Body | None


@dataclass(frozen=True, slots=True)
class Operation:
    """An endpoint as it is shown."""

    anchor: str
    method: str
    path: str
    summary: str
    paragraphs: tuple[str, ...]
    open: bool
    deprecated: bool
    parameters: tuple[Mapping[str, Any], ...]
    request: Body | None
    examples: tuple[str, ...]
    responses: tuple[Response, ...]


def page_of(document: Mapping[str, Any]) -> tuple[str, str]:
    """Return the page, and what a browser may load for it (`Content-Security-Policy`)."""
    folder = files("daemon.server")
    style = (folder / "page.css").read_text(encoding="utf-8")
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["marked"] = marked
    template = environment.from_string((folder / "page.html").read_text(encoding="utf-8"))
    operations = list(_operations(document))
    groups = [
        (
            tag["name"],
            tag["description"],
            [each for name, each in operations if name == tag["name"]],
        )
        for tag in document["tags"]
    ]
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    policy = (
        f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'none'"
    )
    # Our own file: escaped, its quotation marks would be other text than what was hashed.
    shown = template.render(info=document["info"], groups=groups, style=Markup(style))  # noqa: S704
    return shown, policy


def marked(text: str) -> Markup:
    """Return a text, escaped, with what stands between backticks as code."""
    return Markup(_CODE.sub(r"<code>\1</code>", str(escape(text))))  # noqa: S704 -- escaped above


def _operations(document: Mapping[str, Any]) -> Iterator[tuple[str, Operation]]:
    for path, methods in document["paths"].items():
        for method in _METHODS:
            if method in methods:
                said = methods[method]
                yield said["tags"][0], _operation(document, method, path, said)


def _operation(
    document: Mapping[str, Any], method: str, path: str, said: Mapping[str, Any]
) -> Operation:
    content = said.get("requestBody", {}).get("content", {})
    examples = [
        example["value"]
        for body in content.values()
        for example in body.get("examples", {}).values()
    ]
    is_open = said.get("security") == []
    return Operation(
        anchor=said["operationId"],
        method=method.upper(),
        path=path,
        summary=said["summary"],
        paragraphs=tuple(said["description"].split("\n\n")),
        open=is_open,
        deprecated=said.get("deprecated", False),
        parameters=tuple(said.get("parameters", ())),
        request=_body(document, content),
        examples=tuple(
            _curl(method, path, example, is_open=is_open) for example in examples or [None]
        ),
        responses=tuple(
            _response(document, int(status), response)
            for status, response in said["responses"].items()
        ),
    )


def _body(document: Mapping[str, Any], content: Mapping[str, Any]) -> Body | None:
    if not content:
        return None
    schema = next(iter(content.values()))["schema"]
    return Body(", ".join(content), tuple(fields_of(document, schema)))


def _response(document: Mapping[str, Any], status: int, said: Mapping[str, Any]) -> Response:
    return Response(
        status=phrase_of(status),
        good=status < 400,  # noqa: PLR2004 -- where failures begin
        description=said["description"],
        headers=tuple(
            (name, each["description"]) for name, each in said.get("headers", {}).items()
        ),
        body=_body(document, said.get("content", {})),
    )


def _curl(method: str, path: str, body: Any, *, is_open: bool) -> str:
    """Return a request as it is typed."""
    lines = [f"curl $WORKER_URL{path.replace('{', '$').replace('}', '')}"]
    if method != "get" and body is None:
        lines[0] = lines[0].replace("curl", f"curl -X {method.upper()}", 1)
    if not is_open:
        lines.append('-H "X-API-Key: $WORKER_API_KEY"')
    if body is not None:
        lines.append("-H 'Content-Type: application/json'")
        lines.append(f"-d {shlex.quote(json.dumps(body, ensure_ascii=False, indent=2))}")
    return " \\\n  ".join(lines)

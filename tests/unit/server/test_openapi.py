"""The OpenAPI document: valid, complete, and told of the routes that are really served."""

import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from aiohttp import hdrs, web
from aiohttp.test_utils import TestClient
from documented import DOCUMENT, DOCUMENTATION
from jsonschema import Draft202012Validator
from openapi_spec_validator import OpenAPIV31SpecValidator

from daemon.app import routes_of
from daemon.feed import Feed
from daemon.reporting import DaemonReports
from daemon.server.app import build_app
from daemon.server.desk import Desk
from daemon.server.endpoints import ENDPOINTS, TAGS
from daemon.server.events import EventStreams
from daemon.server.looks import Looks
from daemon.server.openapi import openapi_document
from daemon.server.samples import BOUNDS, MEANINGS
from daemon.settings import load_settings
from daemon.telemetry.metrics import Metrics

Client = TestClient[Any, Any]
Connect = Callable[..., Awaitable[Client]]

SCHEMAS = DOCUMENT["components"]["schemas"]
KEY = "open sesame"


def streams() -> tuple[EventStreams, Desk]:
    """Return what routes of jobs are made of."""
    desk = Desk()
    return EventStreams(Feed(), Looks(desk)), desk


@pytest.fixture
def application() -> web.Application:
    """The application with all the routes of a daemon."""
    reports = DaemonReports(load_settings(), Metrics(), "1.2.3")
    return build_app(reports, api_key=None, routes=routes_of(reports, *streams()))


def served(application: web.Application) -> set[tuple[str, str]]:
    """Return method and path of every route; HEAD goes with GET."""
    return {
        (route.method, route.resource.canonical)
        for route in application.router.routes()
        if route.resource is not None and route.method != hdrs.METH_HEAD
    }


def test_the_document_is_valid() -> None:
    """By the specification itself."""
    assert list(OpenAPIV31SpecValidator(DOCUMENT).iter_errors()) == []


def test_every_route_is_documented_and_every_documented_one_served(
    application: web.Application,
) -> None:
    """One that takes every method counts as the one that is documented."""
    documented = {(each.method, each.path) for each in ENDPOINTS}
    takes_all = {path for method, path in served(application) if method == hdrs.METH_ANY}
    found = {each for each in served(application) if each[1] not in takes_all}
    found |= {each for each in documented if each[1] in takes_all}

    assert found == documented
    assert takes_all == {"/chat/unrestricted"}


async def test_what_is_said_to_be_open_is_open_and_nothing_else(
    connect: Connect, daemon: Any
) -> None:
    """Without a key the documented endpoints answer, and all others refuse."""
    reports = DaemonReports(load_settings(), Metrics(), "1")
    daemon.extra_routes = routes_of(reports, *streams())
    client = await connect(KEY)

    for endpoint in ENDPOINTS:
        response = await client.request(endpoint.method, endpoint.path)
        assert (response.status != web.HTTPUnauthorized.status_code) is endpoint.open, endpoint.path


@pytest.mark.parametrize(
    ("name", "example"),
    [
        (each.request.__name__, example)
        for each in ENDPOINTS
        if each.request is not None
        for example in each.examples.values()
    ],
)
def test_examples_keep_to_their_schemas(name: str, example: Any) -> None:
    """They can be sent as they are."""
    validator = Draft202012Validator(
        {"$ref": f"#/components/schemas/{name}", "components": DOCUMENT["components"]}
    )

    assert list(validator.iter_errors(example)) == []


def test_every_request_field_has_a_meaning_and_every_meaning_a_field() -> None:
    """A field without one would fail the making of the document; one too many would say nothing."""
    asked = {each.request.__name__ for each in ENDPOINTS if each.request is not None}
    inner = {"GivenMessage", "GivenEntry", "Part", "Spoken", "StreamOptions"}
    fields = {name for model in asked | inner for name in SCHEMAS[model]["properties"]}

    assert fields == MEANINGS.keys()
    for model, bounds in BOUNDS.items():
        assert bounds.keys() <= SCHEMAS[model]["properties"].keys()


def test_what_may_be_left_out_may_be_null() -> None:
    """Bodies are checked so; but not where something is needed, nor in the objects within."""
    fields = SCHEMAS["ImageBody"]["properties"]

    assert {"type": "null"} in fields["width"]["anyOf"]
    assert fields["width"]["default"] == 1024
    assert fields["prompt"]["type"] == "string"
    assert SCHEMAS["StreamOptions"]["properties"]["include_usage"]["type"] == "boolean"


@pytest.mark.parametrize("refuse_unknown", [True, False])
def test_unknown_fields_are_forbidden_where_they_are_refused(*, refuse_unknown: bool) -> None:
    """By the setting; answers may always have more fields."""
    schemas = openapi_document("1", refuse_unknown=refuse_unknown)["components"]["schemas"]

    forbidden = {
        name for name, each in schemas.items() if each.get("additionalProperties") is False
    }
    assert ("ChatBody" in forbidden, "GivenMessage" in forbidden) == (refuse_unknown,) * 2
    assert "ChatReply" not in forbidden


def test_every_tag_is_described() -> None:
    """And none is described that nothing has."""
    assert {each.tag for each in ENDPOINTS} == TAGS.keys()


async def test_the_document_is_served_and_kept_by_clients(connect: Connect, daemon: Any) -> None:
    """The tag of what a client has saves sending it again."""
    daemon.extra_routes = DOCUMENTATION.routes()
    client = await connect(KEY)

    first = await client.get("/openapi.json")
    again = await client.get("/openapi.json", headers={"If-None-Match": first.headers["ETag"]})
    other = await client.get("/openapi.json", headers={"If-None-Match": '"another"'})

    assert (first.status, again.status, other.status) == (200, 304, 200)
    assert first.content_type == "application/json"
    assert await first.json() == json.loads(json.dumps(DOCUMENT))
    assert await again.read() == b""
    assert again.headers["ETag"] == first.headers["ETag"]

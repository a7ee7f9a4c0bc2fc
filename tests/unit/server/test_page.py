"""The documentation as a page: all of it, nothing from elsewhere, and nobody's markup."""

import base64
import hashlib
from collections.abc import Awaitable, Callable
from dataclasses import replace
from html.parser import HTMLParser
from typing import Any

from aiohttp.test_utils import TestClient
from documented import DOCUMENT, DOCUMENTATION, PAGE, POLICY

from daemon.server.endpoints import ENDPOINTS
from daemon.server.openapi import openapi_document
from daemon.server.page import marked, page_of
from daemon.server.schema_words import fields_of, kind_of

Client = TestClient[Any, Any]
Connect = Callable[..., Awaitable[Client]]


class Seen(HTMLParser):
    """What a browser would find in a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.anchors: set[str] = set()
        self.links: set[str] = set()
        self.addresses: list[str] = []
        self.style = ""
        self._in_style = False
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self._in_style = tag == "style"
        for name, value in attrs:
            if name == "id":
                self.anchors.add(value or "")
            elif name == "href" and (value or "").startswith("#"):
                self.links.add((value or "")[1:])
            elif name in {"href", "src", "action"}:
                self.addresses.append(value or "")

    def handle_endtag(self, tag: str) -> None:
        self._in_style = self._in_style and tag != "style"

    def handle_data(self, data: str) -> None:
        if self._in_style:
            self.style += data


def test_every_endpoint_has_its_place_and_a_link_to_it() -> None:
    """The page is the document, not a part of it."""
    seen = Seen(PAGE)

    assert len(seen.anchors) == len(ENDPOINTS)
    assert seen.links == seen.anchors
    assert all(each.path in PAGE for each in ENDPOINTS)
    assert "curl $WORKER_URL/chat" in PAGE


def test_nothing_is_loaded_from_elsewhere_and_no_script_runs() -> None:
    """The policy lets the page's own style pass, and nothing else."""
    seen = Seen(PAGE)

    digest = base64.b64encode(hashlib.sha256(seen.style.encode()).digest()).decode()
    assert f"style-src 'sha256-{digest}'" in POLICY
    assert "default-src 'none'" in POLICY
    assert not {"script", "link", "img", "iframe"} & set(seen.tags)
    assert seen.addresses == ["/openapi.json"]
    assert not {"url(", "@import"} & set(seen.style.split())


def test_markup_in_texts_is_shown_and_not_followed() -> None:
    """Wherever a text stands."""
    hostile = '<script>alert("`x`")</script>'
    endpoint = replace(
        ENDPOINTS[0], summary=hostile, description=hostile, examples={"a": {"message": hostile}}
    )
    document = openapi_document(hostile, endpoints=[endpoint])
    document["tags"][0]["description"] = hostile

    page, _ = page_of(document)

    assert "script" not in Seen(page).tags
    assert page.count("&lt;script&gt;") >= 5


def test_backticks_mark_code() -> None:
    """As in the documents."""
    assert marked("use `a<b` & `c`") == "use <code>a&lt;b</code> &amp; <code>c</code>"


def test_schemas_are_told_in_words() -> None:
    """Types, bounds, what is in a list, and what else it may be."""
    fields = {
        field.name: field
        for field in fields_of(DOCUMENT, {"$ref": "#/components/schemas/ChatBody"})
    }

    assert fields["max_tokens"].kind == "integer, from 1 to 4096, or null"
    assert fields["top_p"].kind == "number, above 0 to 1, or null"
    assert fields["top_p"].default == "0.9"
    assert fields["stop"].kind == "list of at most 4: string, at most 100 characters, or null"
    assert fields["messages[].role"].kind == "system, user, assistant"
    assert fields["messages[].content"].required
    assert kind_of(DOCUMENT, {"type": "string", "format": "uuid"}) == "string (uuid)"


async def test_the_page_is_served_with_its_policy(connect: Connect, daemon: Any) -> None:
    """Open, as HTML, and never guessed to be anything else."""
    daemon.extra_routes = DOCUMENTATION.routes()
    client = await connect("open sesame")

    response = await client.get("/docs")

    assert (response.status, response.content_type) == (200, "text/html")
    assert response.headers["Content-Security-Policy"].startswith("default-src 'none'")
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    assert "ourvidz-worker" in await response.text()

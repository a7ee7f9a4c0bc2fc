"""Bodies of requests."""

import gzip
import io
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient

from daemon.server.bodies import DEEPEST, decoded, json_body
from daemon.server.errors import ApiError

Client = TestClient[Any, Any]
Connect = Callable[..., Awaitable[Client]]

LIMIT = 2000


@pytest.fixture
async def client(connect: Connect, daemon: Any) -> Client:
    """A server that says what it has read."""

    async def echo(request: web.Request) -> web.Response:
        return web.json_response(await json_body(request))

    daemon.extra_routes = [web.post("/echo", echo)]
    return await connect(max_body_bytes=LIMIT)


@pytest.mark.parametrize(
    ("body", "value"),
    [
        (b'{"a": [1, 2.5, null, true]}', {"a": [1, 2.5, None, True]}),
        (b' "text" ', "text"),
        (b'"\\ud83d\\ude00 \\u00e9"', "😀 é"),
        ('"😀"'.encode(), "😀"),
        (b'{"a": 1, "a": 2}', {"a": 2}),
        (b'"\\\\ud800"', "\\ud800"),
        (b"[" * DEEPEST + b"]" * DEEPEST, None),
    ],
)
def test_json_is_read(body: bytes, value: Any) -> None:
    """As it is meant."""
    if value is not None:
        assert decoded(body) == value
    else:
        decoded(body)


@pytest.mark.parametrize(
    ("body", "error"),
    [
        (b"", "the body is empty, not JSON"),
        (b"{", "the body is no JSON: it ends too early (byte 1)"),
        (b'{"a": 1,}', "the body is no JSON: trailing comma in object (byte 8)"),
        (b'{"a": 1} x', "the body is no JSON: trailing characters (byte 10)"),
        (b"{'a': 1}", "the body is no JSON: object keys must be strings (byte 1)"),
        (b'{"a": NaN}', "the body is no JSON: invalid character (byte 6)"),
        (b"[Infinity]", "the body is no JSON: invalid character (byte 1)"),
        (b"[-Infinity]", "the body is no JSON: invalid character (byte 2)"),
        (b"1e999", "the body is no JSON: Number out of range"),
        (b"1" * 9000, "the body is no JSON: Integer value out of range"),
        (b'{"a": "\xff"}', "the body is not UTF-8 (byte 7)"),
        (b'"\xed\xa0\x80"', "the body is not UTF-8 (byte 1)"),
        (b'["\\ud800"]', "the body is no JSON: half of a surrogate pair (byte 2)"),
        (
            b'["\\ud800 and more text"]',
            "the body is no JSON: unexpected end of escaped utf-16 surrogate pair (byte 8)",
        ),
        (
            b'["\\udc00 and more text"]',
            "the body is no JSON: invalid utf-16 surrogate pair (byte 8)",
        ),
        (b"[" * 65 + b"]" * 65, "the body is nested deeper than 64 levels"),
        (b'{"a":' * 100 + b"1" + b"}" * 100, "the body is nested deeper than 64 levels"),
        (b"[" * 300_000, "the body is nested deeper than 64 levels"),
        (b'{"a":' * 100_000, "the body is nested deeper than 64 levels"),
    ],
)
def test_what_is_no_json_is_refused_with_its_place(body: bytes, error: str) -> None:
    """Nothing of it is a defect of the worker, however deep or broken."""
    with pytest.raises(ApiError) as caught:
        decoded(body)

    assert (caught.value.status, caught.value.error) == (400, error)


@pytest.mark.parametrize(
    ("content_type", "status"),
    [
        ("application/json", 200),
        ("application/json; charset=UTF-8", 200),
        ("application/vnd.api+json", 200),
        ("application/json; charset=utf-16", 415),
        ("text/plain", 415),
        ("text/json+json", 415),
        ("application/x-www-form-urlencoded", 415),
        ("multipart/form-data; boundary=x", 415),
    ],
)
async def test_only_json_is_read(client: Client, content_type: str, status: int) -> None:
    """By its type, before a byte of it is looked at."""
    response = await client.post("/echo", data=b"{}", headers={"Content-Type": content_type})

    assert response.status == status
    if status == 415:
        assert (await response.json())["error_code"] == "UNSUPPORTED_MEDIA_TYPE"


@pytest.mark.parametrize(("headers", "status"), [({}, 200), ({"Origin": "https://evil"}, 415)])
async def test_body_without_a_type_is_json_unless_a_page_sends_it(
    client: Client, headers: dict[str, str], status: int
) -> None:
    """A page needs nobody's leave for such a body."""
    response = await client.post(
        "/echo", data=b"{}", headers=headers, skip_auto_headers=["Content-Type"]
    )

    assert response.status == status


async def chunks(size: int) -> AsyncIterator[bytes]:
    for _ in range(size // 100):
        yield b" " * 100


@pytest.mark.parametrize(
    ("body", "headers"),
    [
        (b" " * (LIMIT + 1), {}),
        (io.BytesIO(b" " * (LIMIT + 1)), {}),
        (chunks(LIMIT + 100), {}),
        (gzip.compress(b" " * 5_000_000), {"Content-Encoding": "gzip"}),
    ],
    ids=["length", "file", "chunks", "packed"],
)
async def test_long_body_is_refused(client: Client, body: Any, headers: dict[str, str]) -> None:
    """By what it says, or as soon as it has come; packed, by what it unpacks to."""
    headers = {"Content-Type": "application/json", **headers}
    response = await client.post("/echo", data=body, headers=headers)

    assert response.status == 413
    assert (await response.json())["error_code"] == "PAYLOAD_TOO_LARGE"


async def test_body_of_just_the_limit_is_read(client: Client) -> None:
    """The limit itself is allowed, in chunks too."""
    whole = await client.post("/echo", json="x" * (LIMIT - 2))
    response = await client.post(
        "/echo", data=chunks(LIMIT), headers={"Content-Type": "application/json"}
    )

    assert whole.status == 200
    assert (await response.json())["error"] == (
        "the body is no JSON: it ends too early (byte 2000)"
    )


async def test_unknown_expectation_is_refused(client: Client) -> None:
    """In the one shape; the known one is kept."""
    unknown = await client.post("/echo", json=1, headers={"Expect": "a miracle"})
    known = await client.post("/echo", json=1, expect100=True)

    assert (unknown.status, (await unknown.json())["success"]) == (417, False)
    assert (known.status, await known.json()) == (200, 1)

"""What strangers send never raises anything but the refusal that it deserves."""

import json
from ipaddress import ip_address, ip_network
from typing import Any

from aiohttp.test_utils import make_mocked_request
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict

from daemon.server.bodies import decoded
from daemon.server.errors import ApiError
from daemon.server.keys import BrokenKeysError, parse_keys
from daemon.server.proxies import Proxies

NAMES = st.sampled_from(["Forwarded", "X-Forwarded-For", "X-Forwarded-Proto"])
PIECES = st.lists(
    st.sampled_from(
        ["for=", "proto=", "by=", '"', "\\", "[", "]", ":", ",", ";", " ", "=", "1.2.3.4", "::1",
         "10.0.0.1", "unknown", "_x", "https", "\t", "%eth0", "999", "é"]
    ),
    max_size=30,
).map("".join)  # fmt: skip
VALUES = PIECES | st.text(max_size=60)
ADDRESSES = (st.ip_addresses() | st.just(ip_address("10.0.0.1"))).map(str)


class Transport:
    def __init__(self, peer: Any) -> None:
        self._peer = peer

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return self._peer if name == "peername" else default


def client(peer: Any, fields: list[tuple[str, str]], trusted: list[str]) -> Any:
    request = make_mocked_request("GET", "/", CIMultiDict(fields), transport=Transport(peer))
    return Proxies(map(ip_network, trusted)).client(request)


@given(ADDRESSES, st.lists(st.tuples(NAMES, VALUES), max_size=5))
def test_garbage_in_headers_of_proxies_never_raises(
    peer: str, fields: list[tuple[str, str]]
) -> None:
    """Everybody trusted: there is an address and a scheme at the end all the same."""
    found = client((peer, 1), fields, ["0.0.0.0/0", "::/0"])

    assert str(ip_address(found.address)) == found.address
    assert found.scheme in {"http", "https"}


@given(ADDRESSES, st.lists(st.tuples(NAMES, VALUES), max_size=5))
def test_untrusted_headers_change_nothing(peer: str, fields: list[tuple[str, str]]) -> None:
    """Whatever is written, the answer is as without."""
    assert client((peer, 1), fields, ["203.0.113.0/24"]) == client((peer, 1), [], [])


@given(st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
def test_bytes_are_json_or_refused(body: bytes) -> None:
    """What is taken is strict JSON, and the standard library reads the same out of it."""
    try:
        value = decoded(body)
    except ApiError:
        return
    assert json.loads(body) == value
    json.dumps(value, allow_nan=False, ensure_ascii=False).encode()


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)  # fmt: skip


@given(JSON, st.booleans())
def test_every_json_value_is_read(value: Any, ascii_only: bool) -> None:
    """As it was written, escaped or not."""
    assert decoded(json.dumps(value, ensure_ascii=ascii_only).encode()) == value


@given(st.binary(max_size=200))
def test_any_file_is_keys_or_broken(content: bytes) -> None:
    """A key is never blank, nor a name strange."""
    try:
        keys = parse_keys(content)
    except BrokenKeysError:
        return
    assert keys
    assert all(name.isascii() and key and key == key.strip() for name, key in keys)

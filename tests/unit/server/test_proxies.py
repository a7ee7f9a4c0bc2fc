"""Who really calls."""

from ipaddress import ip_network

import pytest
from aiohttp.test_utils import make_mocked_request
from multidict import CIMultiDict

from daemon.server.proxies import Client, Proxies

TRUSTED = Proxies([ip_network("10.0.0.0/8"), ip_network("2001:db8:1::/48")])


class Transport:
    """Where a request comes from, as aiohttp asks for it."""

    def __init__(self, peer: str | None) -> None:
        self._peer = peer

    def get_extra_info(self, name: str, default: object = None) -> object:
        return self._peer and (self._peer, 4711) if name == "peername" else default


def client_of(peer: str, *fields: tuple[str, str], proxies: Proxies = TRUSTED) -> Client:
    request = make_mocked_request("GET", "/", CIMultiDict(fields), transport=Transport(peer))
    return proxies.client(request)


@pytest.mark.parametrize(
    ("fields", "address", "scheme"),
    [
        ([], "10.0.0.1", "http"),
        ([("X-Forwarded-For", "192.0.2.9")], "192.0.2.9", "http"),
        ([("X-Forwarded-For", "192.0.2.9:8080")], "192.0.2.9", "http"),
        (
            [("X-Forwarded-For", "192.0.2.9"), ("X-Forwarded-Proto", "https")],
            "192.0.2.9",
            "https",
        ),
        # The client has written the left part himself.
        ([("X-Forwarded-For", "6.6.6.6, 192.0.2.9, 10.0.0.2")], "192.0.2.9", "http"),
        ([("X-Forwarded-For", "6.6.6.6"), ("X-Forwarded-For", "192.0.2.9")], "192.0.2.9", "http"),
        ([("X-Forwarded-For", "10.0.0.3, 10.0.0.2")], "10.0.0.3", "http"),
        ([("X-Forwarded-For", "192.0.2.9, garbage, 10.0.0.2")], "10.0.0.2", "http"),
        ([("X-Forwarded-For", "garbage")], "10.0.0.1", "http"),
        ([("X-Forwarded-Proto", "https")], "10.0.0.1", "http"),
        ([("Forwarded", "for=192.0.2.9;proto=https;by=10.0.0.1")], "192.0.2.9", "https"),
        ([("Forwarded", 'for="[2001:db8:2::1]:4711"')], "2001:db8:2::1", "http"),
        ([("Forwarded", "for=6.6.6.6, for=192.0.2.9;proto=gopher")], "192.0.2.9", "http"),
        ([("Forwarded", "for=_hidden, for=10.0.0.2")], "10.0.0.2", "http"),
        ([("Forwarded", "for=unknown")], "10.0.0.1", "http"),
        # A proxy that writes the one kind passes the other on: it may be the client's invention.
        ([("Forwarded", "for=6.6.6.6"), ("X-Forwarded-For", "192.0.2.9")], "10.0.0.1", "http"),
        ([("Forwarded", "for=192.0.2.9"), ("X-Forwarded-For", "192.0.2.9")], "192.0.2.9", "http"),
    ],
)
def test_trusted_proxy_is_believed(
    fields: list[tuple[str, str]], address: str, scheme: str
) -> None:
    """From the right, up to the first address that isn't a trusted proxy's."""
    assert client_of("10.0.0.1", *fields) == Client(address, scheme)


@pytest.mark.parametrize("peer", ["192.0.2.1", "2001:db8::1", "11.0.0.1"])
def test_stranger_is_not_believed(peer: str) -> None:
    """Who isn't listed speaks for himself alone."""
    fields = [("X-Forwarded-For", "6.6.6.6"), ("X-Forwarded-Proto", "https")]

    assert client_of(peer, *fields) == Client(peer, "http")
    assert client_of(peer, ("Forwarded", "for=6.6.6.6")) == Client(peer, "http")
    assert client_of("10.0.0.1", *fields, proxies=Proxies()) == Client("10.0.0.1", "http")


def test_ipv4_address_in_ipv6_is_the_same_client() -> None:
    """A socket for both families writes it so."""
    assert client_of("::ffff:10.0.0.1", ("X-Forwarded-For", "192.0.2.9")).address == "192.0.2.9"
    assert client_of("::ffff:192.0.2.1").address == "192.0.2.1"


def test_connection_without_an_address_has_a_client_all_the_same() -> None:
    """It has gone before anybody asked."""
    request = make_mocked_request("GET", "/", transport=Transport(None))

    assert Proxies().client(request) == Client("unknown", "http")

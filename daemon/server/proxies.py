"""Who really calls, where proxies stand between: `Forwarded` and `X-Forwarded-*`.

Anybody can write these headers, so they count from a trusted proxy only, and are walked from the
right, where the nearest proxy has written: the first address that isn't a trusted proxy's is the
client. What stands left of it was in his hands.

A proxy writes one kind of header and passes the other on as its client wrote it. So where both are
there and tell different clients, neither counts, and the proxy itself is taken for the client.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

from aiohttp import hdrs, web
from aiohttp.typedefs import Middleware

from daemon.server.errors import Handler

_Address = IPv4Address | IPv6Address

_UNKNOWN = "unknown"
"""A connection that is gone already has no address."""


@dataclass(frozen=True, slots=True)
class Client:
    """Who calls: an IP address in its usual spelling, and `http` or `https` as he has used it."""

    address: str
    scheme: str


CLIENT: web.RequestKey[Client] = web.RequestKey("client", Client)


class Proxies:
    """The proxies that are believed."""

    def __init__(self, trusted: Iterable[IPv4Network | IPv6Network] = ()) -> None:
        self._trusted = tuple(trusted)

    def client(self, request: web.BaseRequest) -> Client:
        """Return who calls. Never raises, whatever the headers are."""
        peer = _parsed(request.remote or "")
        if peer is None:
            return Client(request.remote or _UNKNOWN, request.scheme)
        if not self._is_trusted(peer):
            return Client(str(peer), request.scheme)
        headers = request.headers
        told = [
            self._walk(peer, hops, request.scheme)
            for hops in (
                request.forwarded,
                _x_forwarded(
                    headers.getall(hdrs.X_FORWARDED_FOR, ()),
                    headers.getall(hdrs.X_FORWARDED_PROTO, ()),
                ),
            )
            if hops
        ]
        if told and all(each.address == told[0].address for each in told):
            return told[0]
        return Client(str(peer), request.scheme)

    def _walk(self, peer: _Address, hops: Sequence[Mapping[str, str]], scheme: str) -> Client:
        """Return the first from the right that isn't a trusted proxy, or the last that is."""
        client = Client(str(peer), scheme)
        for hop in reversed(hops):
            address = _parsed(hop.get("for", ""))
            if address is None:
                return client
            told = hop.get("proto", "").lower()
            client = Client(str(address), told if told in {"http", "https"} else client.scheme)
            if not self._is_trusted(address):
                return client
        return client

    def _is_trusted(self, address: _Address) -> bool:
        return any(address in network for network in self._trusted)


def client_middleware(proxies: Proxies) -> Middleware:
    """Return a middleware that puts `CLIENT` on the request."""

    @web.middleware
    async def find_client(request: web.Request, handler: Handler) -> web.StreamResponse:
        request[CLIENT] = proxies.client(request)
        return await handler(request)

    return find_client


def _x_forwarded(addresses: Sequence[str], schemes: Sequence[str]) -> list[dict[str, str]]:
    """Return `X-Forwarded-For` as hops; of the schemes only the nearest proxy's is sure."""
    hops = [{"for": part.strip()} for line in addresses for part in line.split(",")]
    said = [part.strip() for line in schemes for part in line.split(",")]
    if said:
        hops = [{**hop, "proto": said[-1]} for hop in hops]
    return hops


def _parsed(node: str) -> _Address | None:
    """Return the address of a node: bare, with a port, or an IPv6 address in brackets."""
    if node.startswith("["):
        node = node[1:].partition("]")[0]
    elif node.count(":") == 1:
        node = node.partition(":")[0]
    try:
        address = ip_address(node)
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address

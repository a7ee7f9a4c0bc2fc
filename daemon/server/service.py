"""The side server's lifetime: bound when entered, closed gracefully when left."""

import asyncio
import errno
from ipaddress import ip_address
from types import TracebackType
from typing import Self

from aiohttp import web

from daemon.sections import ServerSettings
from daemon.server.access import AccessLog
from daemon.server.connections import ConnectionLimits, Connections
from daemon.server.keys import usable_key
from daemon.settings import SettingsError

_LOOPBACK = "127.0.0.1"
_EVERYWHERE = "0.0.0.0"  # noqa: S104 -- only with a key, see `bind_host`


def connection_limits(server: ServerSettings) -> ConnectionLimits:
    """Return what the settings say of connections."""
    return ConnectionLimits(
        header_timeout_s=server.header_timeout_s,
        keepalive_s=server.keepalive_s,
        most=server.max_connections,
    )


class BindError(Exception):
    """The server's address can't be had; the message is a sentence for the operator."""


class PortInUseError(BindError):
    """Somebody else listens on the port."""


def bind_host(server: ServerSettings) -> str:
    """Return the address to listen on: all with a key, loopback alone without.

    Raises:
        SettingsError: an address beyond loopback is set, and no key.
    """
    key = usable_key(server.api_key.get_secret_value() if server.api_key else None)
    if key is not None or server.api_keys or server.api_keys_file is not None:
        return server.host or _EVERYWHERE
    host = server.host or _LOOPBACK
    if not _is_loopback(host):
        raise SettingsError(
            f"server.host: {host} would let anybody in: set server.api_key (WORKER_API_KEY) too, "
            "or leave the host out to listen on loopback only"
        )
    return host


class SideServer:
    """Serves an application from enter to exit.

    Args:
        app: what is served.
        host: where to listen.
        port: 0 takes a free one.
        limits: of connections.
        shutdown_timeout_s: how long closing waits for running requests.
    """

    def __init__(
        self,
        app: web.Application,
        host: str,
        port: int,
        *,
        limits: ConnectionLimits | None = None,
        shutdown_timeout_s: float = 5.0,
    ) -> None:
        self._host = host
        self._port = port
        self._limits = limits or ConnectionLimits()
        # Who goes away needs no answer: his request's handler is cancelled, and with it the work.
        self._runner = web.AppRunner(
            app, handler_cancellation=True, shutdown_timeout=shutdown_timeout_s
        )
        self._listening: asyncio.Server | None = None
        self._connections: Connections | None = None

    @property
    def port(self) -> int:
        """The port that the server really listens on."""
        if self._listening is None or not self._listening.sockets:
            return self._port
        return int(self._listening.sockets[0].getsockname()[1])

    @property
    def connections(self) -> int:
        """How many connections are open."""
        return 0 if self._connections is None else len(self._connections.open)

    async def __aenter__(self) -> Self:
        """Listen.

        Raises:
            PortInUseError: the port is taken.
            BindError: the address can't be had for another reason.
        """
        await self._runner.setup()
        if self._runner.server is None:
            raise AssertionError("a runner that is set up has a server")
        self._connections = Connections(self._runner.server, self._limits, AccessLog)
        try:
            self._listening = await asyncio.get_running_loop().create_server(
                self._connections, self._host, self._port
            )
        except OSError as error:
            await self._runner.cleanup()
            raise self._explained(error) from None
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._listening is not None:
            self._listening.close()
        await self._runner.cleanup()

    def _explained(self, error: OSError) -> BindError:
        if error.errno == errno.EADDRINUSE:
            return PortInUseError(
                f"port {self._port} is in use: another program listens on {self._host}; "
                "stop it, or set server.port (OURVIDZ_SERVER__PORT)"
            )
        return BindError(f"can't listen on {self._host} port {self._port}: {error.strerror}")


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False

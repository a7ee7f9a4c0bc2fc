"""The side server's lifetime: bound when entered, closed gracefully when left."""

import errno
from ipaddress import ip_address
from types import TracebackType
from typing import Self

from aiohttp import web

from daemon.sections import ServerSettings
from daemon.server.auth import usable_key
from daemon.settings import SettingsError

_LOOPBACK = "127.0.0.1"
_EVERYWHERE = "0.0.0.0"  # noqa: S104 -- only with a key, see `bind_host`


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
    if key is not None:
        return server.host or _EVERYWHERE
    host = server.host or _LOOPBACK
    if not _is_loopback(host):
        raise SettingsError(
            f"server.host: {host} would let anybody in: set server.api_key (WORKER_API_KEY) too, "
            "or leave the host out to listen on loopback only"
        )
    return host


class SideServer:
    """Serves an application from enter to exit."""

    def __init__(
        self, app: web.Application, host: str, port: int, *, shutdown_timeout_s: float = 5.0
    ) -> None:
        """Take where to listen; port 0 takes a free one. Closing waits for running requests."""
        self._host = host
        self._port = port
        # Requests aren't logged: probes and scrapes would be most of the log.
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=shutdown_timeout_s)

    @property
    def port(self) -> int:
        """The port that the server really listens on."""
        addresses = self._runner.addresses
        return int(addresses[0][1]) if addresses else self._port

    async def __aenter__(self) -> Self:
        """Listen.

        Raises:
            PortInUseError: the port is taken.
            BindError: the address can't be had for another reason.
        """
        await self._runner.setup()
        try:
            await web.TCPSite(self._runner, self._host, self._port).start()
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

"""Tells systemd that the daemon is up, alive, or stopping; silent where there is no systemd.

The protocol is one datagram per message to the socket in NOTIFY_SOCKET (sd_notify(3)).
"""

import asyncio
import contextlib
import logging
import os
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from typing import Self

_log = logging.getLogger("daemon.telemetry.systemd")


class Systemd:
    """Sends notices. Losing one is no reason to fail: every method returns in any case."""

    def __init__(self, address: str | None, watchdog_s: float | None = None) -> None:
        """Take the socket's address and the watchdog's timeout in seconds; None: there is none."""
        self._address = address
        self._watchdog_s = watchdog_s

    @classmethod
    def from_environment(cls, environ: MutableMapping[str, str] | None = None) -> Self:
        """Read and remove systemd's variables, so that engine processes don't inherit them."""
        environ = os.environ if environ is None else environ
        address = environ.pop("NOTIFY_SOCKET", None)
        usec = environ.pop("WATCHDOG_USEC", "")
        # With WATCHDOG_PID set, the watchdog is meant for that process alone.
        mine = environ.pop("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
        watched = address is not None and mine and usec.isascii() and usec.isdigit()
        return cls(address or None, int(usec) / 1e6 if watched and int(usec) else None)

    def ready(self, status: str = "") -> None:
        """Say that the start is over."""
        self._send("READY=1", status)

    def stopping(self, status: str = "") -> None:
        """Say that the stop has begun."""
        self._send("STOPPING=1", status)

    def reloading(self, status: str = "") -> None:
        """Say that new settings are being taken up; `ready` says that this is over."""
        # By this time systemd tells an answer to its own signal from an earlier one.
        now_us = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        self._send(f"RELOADING=1\nMONOTONIC_USEC={now_us}", status)

    def status(self, status: str) -> None:
        """Show a line in `systemctl status`."""
        self._send("", status)

    @contextlib.asynccontextmanager
    async def watched(self) -> AsyncIterator[None]:
        """Feed the watchdog for the time of the block: through every drain and every reload.

        It ends where the block does. What comes after is the end of the process, for which
        `STOPPING=1` has set another time limit.
        """
        feeding = asyncio.create_task(self.feed_watchdog(), name="feed the watchdog")
        try:
            yield
        finally:
            self.stopping()
            feeding.cancel()

    async def feed_watchdog(
        self, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    ) -> None:
        """Say "alive" at twice the needed rate until cancelled.

        It runs in the event loop on purpose: a loop that hangs is what the watchdog is for.
        """
        if self._watchdog_s is None:
            await asyncio.get_running_loop().create_future()
            return
        while True:
            self._send("WATCHDOG=1")
            await sleep(self._watchdog_s / 2)

    def _send(self, notice: str, status: str = "") -> None:
        if self._address is None:
            return
        lines = [notice] if notice else []
        if status:
            lines.append("STATUS=" + " ".join(status.split()))
        # A leading "@" means an abstract socket, whose name begins with a zero byte.
        address = self._address
        if address.startswith("@"):
            address = "\0" + address[1:]
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as link:
                link.setblocking(False)
                link.connect(address)
                link.send("\n".join(lines).encode())
        except OSError as error:
            _log.debug("systemd wasn't told %r: %s", lines, error)

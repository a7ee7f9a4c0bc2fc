"""The Realtime package's client, seen from the wire. Imported in a thread: it takes 0.2 s.

The package delivers no reply to a heartbeat, drops change events that carry an error, and logs
whole frames that it can't read. So every frame is looked at before the package reads it, and its
loggers are silenced: what they would say reaches the supervisor as a status or an exception.
"""

import logging
from collections.abc import AsyncIterator, Callable
from typing import Any, cast

from realtime import AsyncRealtimeClient
from websockets.asyncio.client import ClientConnection

from daemon.credentials import Credentials

HEARTBEAT_S = 15
"""The shortest interval that the client accepts: three replies may be lost before the silence
counts."""


def silence_loggers() -> None:
    """Silence loggers that would print the key or the content of rows.

    Called for each connection, so that a later configuration of logging doesn't undo it.
    """
    # Rows in unreadable frames, and the address of a refused connection.
    logging.getLogger("realtime").setLevel(logging.CRITICAL + 1)
    # At debug level: the request line, whose query holds the key.
    logging.getLogger("websockets.client").setLevel(logging.INFO)


class _HeardSocket:
    """A websocket that shows each frame before it hands it on."""

    def __init__(self, socket: ClientConnection, heard: Callable[[str | bytes], None]) -> None:
        self._socket = socket
        self._heard = heard

    def __getattr__(self, name: str) -> Any:
        return getattr(self._socket, name)

    async def __aiter__(self) -> AsyncIterator[str | bytes]:
        async for frame in self._socket:
            self._heard(frame)
            yield frame


class HeardClient(AsyncRealtimeClient):
    """A client that connects once, and shows each frame that arrives.

    Args:
        url: the project's address, `https://….supabase.co`.
        credentials: the key goes into the websocket's URL, the token into each join.
        heard: called with each frame; it must not raise.
    """

    def __init__(
        self, url: str, credentials: Credentials, heard: Callable[[str | bytes], None]
    ) -> None:
        # The client's own reconnect gives up after five tries and rejoins into a closed
        # channel: one client is one connection, and the supervisor makes the next one.
        super().__init__(
            f"{url.rstrip('/')}/realtime/v1",
            token=credentials.key,
            auto_reconnect=False,
            max_retries=1,
            hb_interval=HEARTBEAT_S,
        )
        self.access_token = credentials.bearer
        self._heard = heard
        self._socket: ClientConnection | None = None

    async def _on_connect(self) -> None:
        # Before the client starts to read: its listening reads through this object.
        if self._ws_connection is not None:
            self._socket = self._ws_connection
            self._ws_connection = cast("ClientConnection", _HeardSocket(self._socket, self._heard))
        await super()._on_connect()

    def when_deaf(self, callback: Callable[[str], None]) -> None:
        """Call back when the client stops reading, with the reason. Only after `connect`."""

        def stopped(listening: Any) -> None:
            error = None if listening.cancelled() else listening.exception()
            callback(f"stopped listening: {error!r}" if error else "stopped listening")

        if self._listen_task is not None:
            self._listen_task.add_done_callback(stopped)

    def abandon(self) -> None:
        """Drop the connection without a closing handshake, and end what still runs."""
        for running in (self._listen_task, self._heartbeat_task):
            if running is not None:
                running.cancel()
        if self._socket is not None:
            self._socket.transport.abort()

"""The faults that tests can switch on: the ways in which the real server fails, and some more.

A switch is an attribute and lasts until it is set back; a method does something once to every
connection that is open now.
"""

from dataclasses import dataclass, field
from typing import Any, Protocol

MALFORMED = '{"topic": "realtime:'
"""Half a frame."""
OVERSIZE_BYTES = 2**20 + 1
"""More than Python's client reads in one frame: it closes with code 1009."""


class Socket(Protocol):
    """What a fault can do to a client's connection."""

    def close(self, code: int) -> None:
        """Close it after what was sent before."""

    def abort(self) -> None:
        """Drop its TCP connection without a closing frame."""

    def stall(self) -> None:
        """Neither read nor write any more, and keep the TCP connection open."""

    def resume(self) -> None:
        """Read and write again, first what was held up."""

    def send_text(self, text: str) -> None:
        """Write a text frame as it is."""

    def say(self, event: str, payload: Any, ref: str | None) -> None:
        """Send an event on every channel."""

    def report(self, message: str, extension: str) -> None:
        """Send a system error on every channel."""

    def repeat_system_ok(self) -> None:
        """Send "Subscribed to PostgreSQL" again on every subscribed channel."""

    def crash_channels(self) -> None:
        """End every channel with a `phx_error`."""


@dataclass
class Faults:
    """Switches that make the server fail in the ways that the real one does.

    Attributes:
        refuse: Handshakes are answered with `refuse_status`: 503, or 401, 404 and 429 as the real
            server has them.
        refuse_status: The HTTP status of a refused handshake.
        refuse_error: The error in the refusal's JSON body; empty for no body.
        delay_join_s: Pause before a join is looked at; its socket waits too.
        late_join_reply_s: Pause before the answer to an accepted join. The channel works meanwhile,
            and may have been joined anew when the answer comes.
        ignore_joins: Joins aren't answered at all.
        refuse_joins: Joins are refused for this reason.
        mute_system_ok: Subscriptions work, and nobody is told.
        mute_heartbeats: Heartbeats aren't answered.
        no_slot: No replication slot can be made, and "Subscribed to PostgreSQL" is said all the
            same. A slot that exists is read on.
        deaf: Channels stay joined, heartbeats are answered, changes and broadcasts are dropped.
        deaf_to_changes: The same for changes alone.
        deaf_to_messages: The same for messages of the database alone.
        deaf_until_join: The same for these until anybody joins, as after a move between regions.
        drop_changes: So many changes more are dropped, each once for every subscriber.
        delay_changes_s: Each batch of changes is held back for so long, and those after it wait.
    """

    refuse: bool = False
    refuse_status: int = 503
    refuse_error: str = ""
    delay_join_s: float = 0.0
    late_join_reply_s: float = 0.0
    ignore_joins: bool = False
    refuse_joins: str = ""
    mute_system_ok: bool = False
    mute_heartbeats: bool = False
    no_slot: bool = False
    deaf: bool = False
    deaf_to_changes: bool = False
    deaf_to_messages: bool = False
    deaf_until_join: bool = False
    drop_changes: int = 0
    delay_changes_s: float = 0.0
    _sockets: set[Socket] = field(default_factory=set, repr=False)

    def drop_all(self, code: int | None = 1012) -> int:
        """Close every socket with a code, or abort its TCP connection; return how many."""
        sockets = list(self._sockets)
        for socket in sockets:
            if code is None:
                socket.abort()
            else:
                socket.close(code)
        return len(sockets)

    def stall_all(self) -> None:
        """Leave every connection half open: alive for TCP, dead for everything else.

        What clients send waits, and so does what is sent to them, until `resume_all`.
        """
        for socket in list(self._sockets):
            socket.stall()

    def resume_all(self) -> None:
        """End `stall_all`: everything that was held up arrives late."""
        for socket in list(self._sockets):
            socket.resume()

    def send_all(self, text: str) -> None:
        """Send a text frame as it is on every socket: `MALFORMED`, or a lie."""
        for socket in list(self._sockets):
            socket.send_text(text)

    def send_oversize(self, size: int = OVERSIZE_BYTES) -> None:
        """Send a broadcast of at least so many bytes on every channel."""
        payload = {"event": "oversize", "payload": {"text": "x" * size}, "type": "broadcast"}
        self.say("broadcast", payload)

    def send_system_error(self, message: str, extension: str = "postgres_changes") -> None:
        """Send a system error on every channel, and leave the channel as it is."""
        for socket in list(self._sockets):
            socket.report(message, extension)

    def send_stale_close(self, ref: str = "0") -> None:
        """Send every channel the `phx_close` of an older join; the channel itself stays."""
        self.say("phx_close", {}, ref)

    def crash_channels(self) -> None:
        """End every channel with a `phx_error`; the sockets stay."""
        for socket in list(self._sockets):
            socket.crash_channels()

    def repeat_system_ok(self) -> None:
        """Send every subscribed channel the unasked second "Subscribed to PostgreSQL"."""
        for socket in list(self._sockets):
            socket.repeat_system_ok()

    def say(self, event: str, payload: Any, ref: str | None = None) -> None:
        """Send an event on every channel.

        Args:
            event: What the channel shall hear.
            payload: With it.
            ref: The join that it is about; None for what is about none.
        """
        for socket in list(self._sockets):
            socket.say(event, payload, ref)

    def attach(self, socket: Socket) -> None:
        """Put a new connection within reach of the switches."""
        self._sockets.add(socket)

    def detach(self, socket: Socket) -> None:
        """Forget a connection that has ended."""
        self._sockets.discard(socket)

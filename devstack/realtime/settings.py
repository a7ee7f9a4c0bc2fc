"""What can be set on the Realtime server, and the faults that tests can switch on."""

from dataclasses import dataclass, field
from typing import Any, Protocol, Self


@dataclass(frozen=True)
class RealtimeSettings:
    """Intervals in seconds and limits.

    The defaults suit development. The hosted server's own are in the comments where they differ.

    Attributes:
        poll_interval_s: Pause after a poll that found changes for nobody.
        idle_poll_interval_s: Pause after a poll that found nothing (hosted: 0.5).
        max_changes: Changes a poll asks for; a transaction is never divided.
        max_record_bytes: A larger change is sent without its large values and with an error.
        heartbeat_timeout_s: A socket without a frame for this long is closed with code 1000.
        system_delay_s: Pause before "Subscribed to PostgreSQL" when a new token was pushed, where
            the hosted server takes 1 to 3 seconds.
        handshake_error_delay_s: Pause before a handshake is refused (hosted: 2).
        join_error_delay_s: Pause before a join is refused; its socket waits too (hosted: 5).
        max_channels: Channels of one socket.
        max_broadcast_bytes: A larger message of the database isn't delivered.
        messages_retry_s: Pause before the connection for messages is made anew (hosted: 5, doubling
            to 300).
        max_messages_per_second: Of the server's clients, averaged over `rate_window_s`; who sends
            beyond it is closed (hosted: 100 and up).
        max_changes_per_second: Averaged over `rate_window_s` and counted for each subscription;
            beyond it every change is dropped without a word (hosted: 100 and up).
        max_joins_per_second: Of the server, over `rate_window_s`; beyond it handshakes are refused
            (hosted: 100 and up).
        rate_window_s: What rates of changes and joins are averaged over.
        cold_start_s: How long the first subscription waits for its slot, where the hosted server
            takes 1 to 6 seconds; what is inserted meanwhile is lost.
        publication: The publication whose tables can be subscribed to.
        publication_check_s: How often the publication's list of tables is compared; a change makes
            all subscriptions anew.
        slot_linger_s: How long the replication slot outlives the last subscription.
        retry_s: Pause before another try after the database was unreachable.
    """

    poll_interval_s: float = 0.1
    idle_poll_interval_s: float = 0.1
    max_changes: int = 100
    max_record_bytes: int = 1_048_576
    heartbeat_timeout_s: float = 60.0
    system_delay_s: float = 0.005
    handshake_error_delay_s: float = 0.0
    join_error_delay_s: float = 0.0
    max_channels: int = 100
    max_broadcast_bytes: int = 3_000_000
    messages_retry_s: float = 0.5
    max_messages_per_second: float | None = None
    max_changes_per_second: float | None = None
    max_joins_per_second: float | None = None
    rate_window_s: float = 60.0
    cold_start_s: float = 0.0
    publication: str = "supabase_realtime"
    publication_check_s: float = 60.0
    slot_linger_s: float = 2.0
    retry_s: float = 1.0

    @classmethod
    def like_hosted(cls) -> Self:
        """Return the hosted server's own timings and limits, those of the free plan."""
        return cls(
            idle_poll_interval_s=0.5,
            handshake_error_delay_s=2.0,
            join_error_delay_s=5.0,
            system_delay_s=1.0,
            messages_retry_s=5.0,
            max_messages_per_second=100.0,
            max_changes_per_second=100.0,
            max_joins_per_second=100.0,
            cold_start_s=1.5,
        )


class Socket(Protocol):
    """What a fault can do to a client's connection."""

    def close(self, code: int) -> None:
        """Close it after what was sent before."""

    def abort(self) -> None:
        """Drop its TCP connection without a closing frame."""

    def repeat_system_ok(self) -> None:
        """Send "Subscribed to PostgreSQL" again on every subscribed channel."""

    def stall(self) -> None:
        """Neither read nor write any more, and keep the TCP connection open."""

    def send_text(self, text: str) -> None:
        """Write a text frame as it is."""

    def say(self, event: str, payload: Any, ref: str | None) -> None:
        """Send an event on every channel."""


@dataclass
class Faults:
    """Switches that make the server fail in the ways that the real one does.

    Attributes:
        refuse: Handshakes are answered with `refuse_status` and, if it is set, `refuse_error` as
            the JSON's error.
        deaf: Channels stay joined, heartbeats are answered, changes and broadcasts are dropped.
        deaf_to_changes: The same for changes alone.
        deaf_to_messages: The same for messages of the database alone.
        deaf_until_join: The same for these until anybody joins, as after a move between regions.
        drop_changes: So many changes more are dropped.
        delay_changes_s: Each batch of changes is held back for so long.
        no_slot: No replication slot can be made, and "Subscribed to PostgreSQL" is said all the
            same.
        mute_system_ok: Subscriptions work, and nobody is told.
        mute_heartbeats: Heartbeats aren't answered.
        delay_join_s: Pause before a join's answer; its socket waits too.
        ignore_joins: Joins aren't answered at all.
        refuse_joins: Joins are refused for this reason.
    """

    refuse: bool = False
    refuse_status: int = 503
    refuse_error: str = ""
    deaf: bool = False
    deaf_to_changes: bool = False
    deaf_to_messages: bool = False
    deaf_until_join: bool = False
    drop_changes: int = 0
    delay_changes_s: float = 0.0
    no_slot: bool = False
    ignore_joins: bool = False
    refuse_joins: str = ""
    mute_system_ok: bool = False
    mute_heartbeats: bool = False
    delay_join_s: float = 0.0
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

    def repeat_system_ok(self) -> None:
        """Send every subscribed channel the unasked second "Subscribed to PostgreSQL"."""
        for socket in list(self._sockets):
            socket.repeat_system_ok()

    def stall_all(self) -> None:
        """Leave every connection half open: alive for TCP, dead for everything else."""
        for socket in list(self._sockets):
            socket.stall()

    def send_all(self, text: str) -> None:
        """Send a text frame as it is on every socket: malformed, too large, or a lie."""
        for socket in list(self._sockets):
            socket.send_text(text)

    def say(self, event: str, payload: Any, ref: str | None = None) -> None:
        """Send an event on every channel: a system error, a `phx_close` of another join."""
        for socket in list(self._sockets):
            socket.say(event, payload, ref)

    def attach(self, socket: Socket) -> None:
        """Put a new connection within reach of the switches."""
        self._sockets.add(socket)

    def detach(self, socket: Socket) -> None:
        """Forget a connection that has ended."""
        self._sockets.discard(socket)

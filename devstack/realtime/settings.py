"""What can be set on the Realtime server, and the faults that tests can switch on."""

from dataclasses import dataclass, field
from typing import Protocol


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
    publication: str = "supabase_realtime"
    publication_check_s: float = 60.0
    slot_linger_s: float = 2.0
    retry_s: float = 1.0


class Socket(Protocol):
    """What a fault can do to a client's connection."""

    def close(self, code: int) -> None:
        """Close it after what was sent before."""

    def abort(self) -> None:
        """Drop its TCP connection without a closing frame."""

    def repeat_system_ok(self) -> None:
        """Send "Subscribed to PostgreSQL" again on every subscribed channel."""


@dataclass
class Faults:
    """Switches that make the server fail in the ways that the real one does.

    Attributes:
        refuse: Handshakes are answered 503.
        deaf: Channels stay joined, heartbeats are answered, changes and broadcasts are dropped.
        mute_system_ok: Subscriptions work, and nobody is told.
        mute_heartbeats: Heartbeats aren't answered.
        delay_join_s: Pause before a join's answer; its socket waits too.
    """

    refuse: bool = False
    deaf: bool = False
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

    def attach(self, socket: Socket) -> None:
        """Put a new connection within reach of the switches."""
        self._sockets.add(socket)

    def detach(self, socket: Socket) -> None:
        """Forget a connection that has ended."""
        self._sockets.discard(socket)

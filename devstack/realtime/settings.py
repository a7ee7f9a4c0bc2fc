"""What can be set on the Realtime server."""

from dataclasses import dataclass
from typing import Self


@dataclass(frozen=True)
class RealtimeSettings:
    """Intervals in seconds and limits.

    The defaults suit development: it polls often, refuses at once and limits no rates. What the
    hosted server has instead stands in brackets; `like_hosted` returns it.

    Attributes:
        poll_interval_s: Pause after a poll that found changes for nobody. One that found some for
            anybody is followed by the next at once.
        idle_poll_interval_s: Pause after a poll that found nothing (hosted: 0.5).
        max_changes: Changes a poll asks for; a transaction is never divided.
        max_record_bytes: A larger change is sent without its large values and with an error.
        heartbeat_timeout_s: A socket without a frame for this long is closed with code 1000.
        system_delay_s: Pause before "Subscribed to PostgreSQL" when a new token was pushed, where
            the hosted server takes 1 to 3 seconds.
        handshake_error_delay_s: Pause before a handshake is refused (hosted: 2).
        join_error_delay_s: Pause before a join is refused; its socket waits too (hosted: 5).
        max_channels: Channels of one socket.
        max_connections: Sockets; further handshakes are refused with 429 (hosted: 200, 500 or
            10,000 by plan).
        max_broadcast_bytes: A larger broadcast isn't delivered; one that shall be acknowledged is
            answered with an error (hosted: 256 kB on the free plan, 3 MB).
        max_messages_per_second: Broadcasts, averaged over `rate_window_s` and counted when one is
            sent and for each who gets it; beyond it those who get one have their channel closed,
            and messages of the database are dropped (hosted: 100, 500 or 2,500 by plan).
        max_changes_per_second: Changes of the database, averaged over `rate_window_s` and counted
            for each binding; beyond it every change is dropped without a word (hosted: as above).
        max_joins_per_second: Of all channels, averaged over `rate_window_s`; beyond it handshakes
            are refused with 429, and sockets that join are closed (hosted: as above).
        rate_window_s: What rates are averaged over; looked at twelve times in it.
        cold_start_s: How long the first subscription waits for its slot, where the hosted server
            takes 1 to 6 seconds; what is inserted meanwhile is lost.
        publication: The publication whose tables can be subscribed to.
        publication_check_s: How often the publication's list of tables is compared; a change makes
            all subscriptions anew.
        slot_linger_s: How long the replication slot outlives the last subscription (hosted: about
            10 minutes).
        retry_s: Pause before another try after the database was unreachable, doubling to
            `max_retry_s`.
        max_retry_s: See there (hosted: about 15).
        unreachable_error_s: How long a join waits for an unreachable database before it is told of
            an error; it is tried on.
        slot_retry_s: Pause after the database refused a replication slot, doubling to
            `max_slot_retry_s`.
        max_slot_retry_s: See there.
        max_slot_retries: After so many the server gives up: channels stay joined and are deaf until
            they join again; None to try for ever (hosted: 6).
        messages_retry_s: Pause before the connection for messages is made anew (hosted: 5, doubling
            to 300).
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
    max_connections: int | None = None
    max_broadcast_bytes: int = 3_000_000
    max_messages_per_second: float | None = None
    max_changes_per_second: float | None = None
    max_joins_per_second: float | None = None
    rate_window_s: float = 60.0
    cold_start_s: float = 0.0
    publication: str = "supabase_realtime"
    publication_check_s: float = 60.0
    slot_linger_s: float = 2.0
    retry_s: float = 1.0
    max_retry_s: float = 1.0
    unreachable_error_s: float = 10.0
    slot_retry_s: float = 0.1
    max_slot_retry_s: float = 5.0
    max_slot_retries: int | None = None
    messages_retry_s: float = 0.5

    @classmethod
    def like_hosted(cls) -> Self:
        """Return the hosted server's own timings, and the limits of its free plan."""
        return cls(
            idle_poll_interval_s=0.5,
            handshake_error_delay_s=2.0,
            join_error_delay_s=5.0,
            system_delay_s=1.0,
            max_connections=200,
            max_broadcast_bytes=256_000,
            max_messages_per_second=100.0,
            max_changes_per_second=100.0,
            max_joins_per_second=100.0,
            cold_start_s=1.5,
            slot_linger_s=600.0,
            max_retry_s=15.0,
            max_slot_retries=6,
            messages_retry_s=5.0,
        )

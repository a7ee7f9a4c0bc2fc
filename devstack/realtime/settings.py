"""What can be set on the Realtime server."""

from dataclasses import dataclass
from typing import Self


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

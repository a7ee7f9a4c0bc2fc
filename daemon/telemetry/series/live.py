"""Who watches jobs while they run, and what is sent to those who do, as time series."""

from daemon.telemetry.series.register import Register


class LiveSeries:
    """Streams of the side server, and broadcasts; implements `BroadcastEvents`."""

    def __init__(self, register: Register) -> None:
        self._streams = register.gauge(
            "ourvidz_live_streams", "Clients that follow a job's events over HTTP"
        )
        self._sent = register.counter(
            "ourvidz_live_broadcasts_total",
            "Messages about running jobs that Realtime accepted",
        )
        self._failures = register.counter(
            "ourvidz_live_broadcast_failures_total",
            "Requests with such messages that failed",
        )
        self._dropped = register.counter(
            "ourvidz_live_broadcasts_dropped_total",
            "Such messages that weren't sent: too large, refused, or too old",
        )

    def streams(self, count: int) -> None:
        """Say how many clients there are."""
        self._streams.set(count)

    def sent(self, count: int) -> None:
        """Count messages that were accepted."""
        self._sent.inc(count)

    def failed(self) -> None:
        """Count a request that failed."""
        self._failures.inc()

    def dropped(self, count: int) -> None:
        """Count messages that won't be sent."""
        self._dropped.inc(count)

"""Who watches jobs while they run, and what is sent to those who do, as time series."""

from prometheus_client import CollectorRegistry, Counter, Gauge


class LiveSeries:
    """Streams of the side server, and broadcasts; implements `BroadcastEvents`."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._streams = Gauge(
            "ourvidz_live_streams",
            "Clients that follow a job's events over HTTP",
            registry=registry,
        )
        self._sent = Counter(
            "ourvidz_live_broadcasts",
            "Messages about running jobs that Realtime accepted",
            registry=registry,
        )
        self._failures = Counter(
            "ourvidz_live_broadcast_failures",
            "Requests with such messages that failed",
            registry=registry,
        )
        self._dropped = Counter(
            "ourvidz_live_broadcasts_dropped",
            "Such messages that weren't sent: too large, refused, or too old",
            registry=registry,
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

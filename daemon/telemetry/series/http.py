"""Requests that the side server has answered, as time series."""

from functools import cache

from prometheus_client import Counter, Histogram

from daemon.telemetry.series.labels import HTTP_STATUS, OTHER, ROUTE
from daemon.telemetry.series.register import MINUTES, Register


class HttpSeries:
    """Requests by route. Paths that don't exist are one of them: "other"."""

    def __init__(self, register: Register) -> None:
        self._requests = register.counter(
            "ourvidz_http_requests_total", "Requests that were answered", ROUTE, HTTP_STATUS
        )
        self._seconds = register.histogram(
            "ourvidz_http_request_seconds",
            "From a request's head to the end of its answer, streams too",
            ROUTE,
            buckets=MINUTES,
        )
        self._of = cache(self._children)

    def served(self, route: str, status: int, seconds: float) -> None:
        """Count a request; `route` is the pattern that it matched, empty: none."""
        requests, took = self._of(route or OTHER, HTTP_STATUS.of(str(status)))
        requests.inc()
        took.observe(seconds)

    def _children(self, route: str, status: str) -> tuple[Counter, Histogram]:
        return self._requests.labels(route, status), self._seconds.labels(route)

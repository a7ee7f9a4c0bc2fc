"""Calls of the database and of the artifact store, as time series."""

from functools import cache

from prometheus_client import Counter, Histogram

from daemon.telemetry.series.labels import (
    ARTIFACT_CALL,
    ARTIFACT_OUTCOME,
    FILE_KIND,
    STORE_CALL,
    STORE_ERROR,
)
from daemon.telemetry.series.register import MILLISECONDS, MINUTES, Register


class StoreSeries:
    """Calls of the database. They come from the renewing thread too."""

    def __init__(self, register: Register) -> None:
        self._calls = register.histogram(
            "ourvidz_store_call_seconds",
            "Calls of the store, failed ones too",
            STORE_CALL,
            buckets=MILLISECONDS,
        )
        self._errors = register.counter(
            "ourvidz_store_errors_total",
            "Calls of the store that failed",
            STORE_CALL,
            STORE_ERROR,
        )
        self._of = cache(self._children)

    def called(self, call: str, seconds: float, error: str | None) -> None:
        """Time a call; `error` is `unavailable` or `rejected`, None: it succeeded."""
        calls, errors = self._of(call)
        calls.observe(seconds)
        if error is not None:
            errors[error].inc()

    def _children(self, call: str) -> tuple[Histogram, dict[str, Counter]]:
        # With the first call its errors stand at 0.
        errors = {error: self._errors.labels(call, error) for error in STORE_ERROR.values}
        return self._calls.labels(call), errors


class ArtifactSeries:
    """Calls of the artifact store, each with its tries."""

    def __init__(self, register: Register) -> None:
        self._calls = register.histogram(
            "ourvidz_artifact_call_seconds",
            "Calls of the artifact store, with all tries of a request",
            ARTIFACT_CALL,
            ARTIFACT_OUTCOME,
            buckets=MINUTES,
        )
        self._bytes = register.counter(
            "ourvidz_artifact_saved_bytes_total", "Bytes of stored result files", FILE_KIND
        )
        for call in ARTIFACT_CALL.values:
            for outcome in ARTIFACT_OUTCOME.values:
                self._calls.labels(call, outcome)
        for kind in FILE_KIND.values:
            self._bytes.labels(kind)

    def called(self, call: str, seconds: float, *, ok: bool) -> None:
        """Time a call."""
        self._calls.labels(call, "ok" if ok else "failed").observe(seconds)

    def saved(self, kind: str, n_bytes: int) -> None:
        """Count what was stored."""
        self._bytes.labels(FILE_KIND.of(kind)).inc(n_bytes)

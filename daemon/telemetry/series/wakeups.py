"""How new rows are heard of, as time series."""

from collections.abc import Mapping
from math import nan
from typing import Any

from daemon.telemetry.series.labels import SOURCE
from daemon.telemetry.series.register import Register
from daemon.telemetry.series.totals import Totals

_GAUGES = (
    (
        "ready",
        "ourvidz_wakeup_source_ready",
        "1 while the other side says that it announces rows",
    ),
    (
        "proven",
        "ourvidz_wakeup_source_proven",
        "1 while something has come through the source, and not too long ago",
    ),
    (
        "last_proof_s",
        "ourvidz_wakeup_proof_age_seconds",
        "Time since a hint or canary last came through the source",
    ),
    (
        "canary_delay_s",
        "ourvidz_wakeup_canary_delay_seconds",
        "How long the last hundred canaries were under way, the middle one",
    ),
)
"""Key of a source's state, name, help."""

_COUNTERS = (
    ("hints", "ourvidz_wakeup_hints_total", "Hints that work may exist"),
    (
        "generations",
        "ourvidz_wakeup_connections_total",
        "Connections that a source has made, the first one too",
    ),
    (
        "missed_hints",
        "ourvidz_wakeup_missed_jobs_total",
        "Jobs that were found although the source hadn't announced them",
    ),
    (
        "missed_canaries",
        "ourvidz_wakeup_missed_canaries_total",
        "Canaries that the source didn't hear",
    ),
    (
        "doubts",
        "ourvidz_wakeup_doubts_total",
        "Connections that were replaced since they announced nothing",
    ),
)
"""The same, of totals that the source keeps."""


class WakeUpSeries:
    """What each source says of itself, and what sweeps found."""

    def __init__(self, register: Register, totals: Totals) -> None:
        self._totals = totals
        self._gauges = [(key, register.gauge(name, says, SOURCE)) for key, name, says in _GAUGES]
        self._counters = [
            (key, register.counter(name, says, SOURCE)) for key, name, says in _COUNTERS
        ]
        self._rescued = register.counter(
            "ourvidz_sweep_rescued_jobs_total", "Jobs taken back from expired leases"
        )
        self._failed = register.counter(
            "ourvidz_sweep_failed_jobs_total",
            "Jobs failed by a sweep: no attempt left, or an unknown type",
        )

    def source(self, name: str, state: Mapping[str, Any]) -> None:
        """Show a source's state, as `ProofOfLife.states` gives it; unknown figures are NaN."""
        for key, gauge in self._gauges:
            gauge.labels(name).set(nan if state[key] is None else state[key])
        for key, counter in self._counters:
            self._totals.show(counter.labels(name), state[key])

    def swept(self, rescued: int, failed: int) -> None:
        """Count what a sweep took back."""
        self._rescued.inc(rescued)
        self._failed.inc(failed)

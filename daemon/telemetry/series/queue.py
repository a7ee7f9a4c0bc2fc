"""The queue and the leases as time series."""

from collections.abc import Sequence

from daemon.job_types import JOB_TYPES
from daemon.telemetry.series.labels import JOB_TYPE, MODEL, QUALITY, STATUS, class_of
from daemon.telemetry.series.register import Register
from daemon.values import Backlog


class QueueSeries:
    """The table's unfinished rows. Every worker counts the same ones: take the max, not the sum."""

    def __init__(self, register: Register) -> None:
        self._jobs = register.gauge(
            "ourvidz_queue_jobs",
            "Unfinished rows of the table at the last count, the same from every worker",
            JOB_TYPE,
            MODEL,
            QUALITY,
            STATUS,
        )
        self._oldest = register.gauge(
            "ourvidz_queue_oldest_seconds",
            "Age of the oldest queued row at the last count, 0 where none is queued",
            JOB_TYPE,
            MODEL,
            QUALITY,
        )

    def counted(self, backlog: Sequence[Backlog]) -> None:
        """Show a count. What isn't in it is 0, but types that nobody knows, which vanish."""
        self.unknown()
        oldest = dict.fromkeys(JOB_TYPES, 0.0)
        for job_type in JOB_TYPES:
            self._add(job_type, 0, 0)
        for line in backlog:
            job_type = JOB_TYPE.of(line.job_type)
            self._add(job_type, line.queued, line.processing)
            oldest[job_type] = max(oldest.get(job_type, 0.0), line.oldest_queued_s or 0.0)
        for job_type, seconds in oldest.items():
            self._oldest.labels(job_type, *class_of(job_type)).set(seconds)

    def unknown(self) -> None:
        """Show nothing: an old count would be shown as a fresh one."""
        self._jobs.clear()
        self._oldest.clear()

    def _add(self, job_type: str, queued: int, processing: int) -> None:
        labels = (job_type, *class_of(job_type))
        self._jobs.labels(*labels, "queued").inc(queued)
        self._jobs.labels(*labels, "processing").inc(processing)


class LeaseSeries:
    """The rights that claims give."""

    def __init__(self, register: Register) -> None:
        self.held = register.gauge("ourvidz_leases_held", "Leases held now")
        self.lost = register.counter(
            "ourvidz_leases_lost_total", "Leases that ended under a running job"
        )
        self.renew_failures = register.counter(
            "ourvidz_lease_renew_failures_total", "Renewals that got no answer"
        )

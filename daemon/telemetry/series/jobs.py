"""Jobs as time series: claimed, timed, ended."""

from functools import cache

from prometheus_client import Counter, Histogram

from daemon.telemetry.series.labels import CODE, JOB_TYPE, MODEL, OUTCOME, PHASE, class_of
from daemon.telemetry.series.register import MINUTES, Register


class JobSeries:
    """What becomes of jobs."""

    def __init__(self, register: Register) -> None:
        self._claimed = register.counter(
            "ourvidz_jobs_claimed_total", "Jobs that claims returned", JOB_TYPE
        )
        self._finished = register.counter(
            "ourvidz_jobs_finished_total",
            "Runs that ended, by how they ended",
            JOB_TYPE,
            OUTCOME,
        )
        self._errors = register.counter(
            "ourvidz_job_errors_total", "Runs that ended with an error code", CODE
        )
        self._phase = register.histogram(
            "ourvidz_job_phase_seconds",
            "Time that jobs spend in each part of their way",
            MODEL,
            PHASE,
            buckets=MINUTES,
        )
        self._generation = register.histogram(
            "ourvidz_job_generation_seconds",
            "Time of generation of completed runs",
            MODEL,
            buckets=MINUTES,
        )
        self._active = register.gauge(
            "ourvidz_active_jobs", "Jobs claimed or answered over HTTP now"
        )
        # Looking a child up by its labels costs as much as all the rest of a job's figures.
        self._phase_of = cache(self._phase_child)
        self._finished_of = cache(self._finished_child)
        self._generation_of = cache(self._generation_child)
        self._start_at_zero()

    def claimed(self, job_type: str, count: int) -> None:
        """Count jobs that a claim returned."""
        self._claimed.labels(JOB_TYPE.of(job_type)).inc(count)

    def phase(self, job_type: str, phase: str, seconds: float) -> None:
        """Time one part of a job's way."""
        self._phase_of(JOB_TYPE.of(job_type), PHASE.of(phase)).observe(seconds)

    def finished(self, job_type: str, outcome: str, seconds: float, error_code: str | None) -> None:
        """Count a run that ended; `seconds` is its time of generation."""
        job_type = JOB_TYPE.of(job_type)
        self._finished_of(job_type, OUTCOME.of(outcome)).inc()
        if error_code is not None:
            self._errors.labels(CODE.of(error_code)).inc()
        if outcome == "completed":
            self._generation_of(job_type).observe(seconds)

    def active(self, count: int) -> None:
        """Say how many jobs are claimed or answered over HTTP at this moment."""
        self._active.set(count)

    def _start_at_zero(self) -> None:
        """Show each counter before its first event: one that appears at 1 shows no increase."""
        for job_type in JOB_TYPE.values:
            self._claimed.labels(job_type)
            for outcome in OUTCOME.values:
                self._finished.labels(job_type, outcome)
        for code in CODE.values:
            self._errors.labels(code)

    def _phase_child(self, job_type: str, phase: str) -> Histogram:
        return self._phase.labels(class_of(job_type)[0], phase)

    def _finished_child(self, job_type: str, outcome: str) -> Counter:
        return self._finished.labels(job_type, outcome)

    def _generation_child(self, job_type: str) -> Histogram:
        return self._generation.labels(class_of(job_type)[0])

"""Jobs as time series: claimed, timed, ended."""

from prometheus_client import Counter

from daemon.telemetry.series.labels import CODE, JOB_TYPE, MODEL, OUTCOME, PHASE, class_of
from daemon.telemetry.series.register import MINUTES, Register
from daemon.telemetry.series.timings import Timing


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
        self._phase = register.timings(
            "ourvidz_job_phase_seconds",
            "Time that jobs spend in each part of their way",
            MODEL,
            PHASE,
            buckets=MINUTES,
        )
        self._generation = register.timings(
            "ourvidz_job_generation_seconds",
            "Time of generation of completed runs",
            MODEL,
            buckets=MINUTES,
        )
        self._active = register.gauge(
            "ourvidz_active_jobs", "Jobs claimed or answered over HTTP now"
        )
        # Looking up by labels costs more than counting. Only known names become keys.
        self._phases: dict[tuple[str, str], Timing] = {}
        self._ends: dict[tuple[str, str], tuple[Counter, Timing | None]] = {}
        self._start_at_zero()

    def claimed(self, job_type: str, count: int) -> None:
        """Count jobs that a claim returned."""
        self._claimed.labels(JOB_TYPE.of(job_type)).inc(count)

    def phase(self, job_type: str, phase: str, seconds: float) -> None:
        """Time one part of a job's way."""
        timing = self._phases.get((job_type, phase)) or self._phase_of(job_type, phase)
        timing.observe(seconds)

    def finished(self, job_type: str, outcome: str, seconds: float, error_code: str | None) -> None:
        """Count a run that ended; `seconds` is its time of generation."""
        ended, timing = self._ends.get((job_type, outcome)) or self._end_of(job_type, outcome)
        ended.inc()
        if timing is not None:
            timing.observe(seconds)
        if error_code is not None:
            self._errors.labels(CODE.of(error_code)).inc()

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

    def _phase_of(self, job_type: str, phase: str) -> Timing:
        known = JOB_TYPE.of(job_type), PHASE.of(phase)
        timing = self._phase.labels(class_of(job_type)[0], known[1])
        return self._phases.setdefault(known, timing)

    def _end_of(self, job_type: str, outcome: str) -> tuple[Counter, Timing | None]:
        known = JOB_TYPE.of(job_type), OUTCOME.of(outcome)
        timing = self._generation.labels(class_of(job_type)[0]) if outcome == "completed" else None
        return self._ends.setdefault(known, (self._finished.labels(*known), timing))

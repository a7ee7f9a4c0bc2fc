"""The daemon's Prometheus metrics: one method per act, called by whoever does it.

Where a part keeps totals of its own, they are handed over as totals when a scrape asks.

Labels are bounded: names that a stranger could choose become "other", and no user, job or claim
is ever a label. Units are Prometheus' own (seconds, bytes, ratios), except in the six gauges that
the API document names (`ourvidz_jobs_processed` and so on), which show the figures of `/status`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache
from math import nan
from typing import Any

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Histogram,
    disable_created_metrics,
    generate_latest,
)

from daemon.job_types import JOB_TYPES, Model
from daemon.jobs import ErrorCode
from daemon.telemetry.gpu import GpuSample
from daemon.telemetry.host import HostSample
from daemon.telemetry.live_series import LiveSeries
from daemon.telemetry.respect import Respect
from daemon.telemetry.scheduling_series import SchedulingSeries
from daemon.telemetry.series import (
    DocumentedSeries,
    JobSeries,
    LinkSeries,
    MachineSeries,
    ModelSeries,
    QueueSeries,
    StoreSeries,
    WorkerSeries,
)
from daemon.telemetry.stats import Performance, RunStats
from daemon.values import Backlog, Loss

OUTCOMES = ("completed", "failed", "retry", "cancelled", "released", "lost")
"""How a run can end; `lost` is a run whose lease was gone, so that nothing was recorded."""

PHASES = ("wake_up", "queue", "vram", "switch", "load", "run", "upload", "finish")
"""Parts of a job's way that are timed, in order."""

MODEL_STATES = ("loaded", "loading", "evicting", "host", "unloaded", "failed")
"""The words of `daemon.server.reports.ModelState`."""

VRAM_KINDS = ("capacity", "reserve", "weights", "reserved")
"""What a device's bytes are: there, kept free, taken by weights, promised to jobs."""

STORE_ERRORS = ("unavailable", "rejected")
"""How a call of the store can fail; the names of the two exceptions in `daemon.values`."""

_OTHER = "other"
_GIB = 2**30

# A "_created" series beside each counter would double the exposition, and nothing here reads it.
# (The library gives this one function no types.)
disable_created_metrics()  # type: ignore[no-untyped-call]


class Metrics:
    """Takes events, keeps figures. One per process; every method returns at once."""

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        """Register all metrics in `registry`; by default in a new one of its own."""
        self.registry = registry if registry is not None else CollectorRegistry()
        self._jobs = JobSeries(self.registry)
        self._queue = QueueSeries(self.registry)
        self._link = LinkSeries(self.registry)
        self._models = ModelSeries(self.registry)
        self._store = StoreSeries(self.registry)
        self._machine = MachineSeries(self.registry)
        self._worker = WorkerSeries(self.registry)
        self._documented = DocumentedSeries(self.registry)
        self.scheduling = SchedulingSeries(self.registry)
        self.live = LiveSeries(self.registry)
        self._stats = RunStats()
        self._shown: dict[Counter, int] = {}
        self.respect = Respect(self.registry, self._documented.system_prompt_respect_rate)
        # Looking a child up by its labels costs as much as all the rest of a job's figures.
        self._phase_of = cache(self._phase_child)
        self._finished_of = cache(self._finished_child)
        self._generation_of = cache(self._generation_child)
        self.gpus(())

    def exposition(self) -> bytes:
        """Return everything in Prometheus' text format."""
        self._show_performance()
        return generate_latest(self.registry)

    def performance(self) -> Performance:
        """Return the figures of `/status`, made from the same events."""
        rate = self.respect.rate
        return replace(self._stats.performance(), system_prompt_respect_rate=rate)

    # Jobs

    def jobs_claimed(self, job_type: str, count: int = 1) -> None:
        """Count jobs that a claim returned."""
        self._jobs.claimed.labels(_job_type(job_type)).inc(count)
        # A counter that appears with its first event at 1 shows no increase: start it at 0.
        for outcome in ("completed", "failed"):
            self._jobs.finished.labels(_job_type(job_type), outcome)

    def job_phase(self, job_type: str, phase: str, seconds: float) -> None:
        """Time one of `PHASES`."""
        self._phase_of(_job_type(job_type), phase if phase in PHASES else _OTHER).observe(seconds)

    def job_finished(
        self, job_type: str, outcome: str, seconds: float, error_code: str | None = None
    ) -> None:
        """Count a run that ended; `seconds` is its time of generation."""
        job_type = _job_type(job_type)
        outcome = outcome if outcome in OUTCOMES else _OTHER
        self._finished_of(job_type, outcome).inc()
        if error_code is not None:
            code = error_code if error_code in ErrorCode.__members__ else _OTHER
            self._jobs.errors.labels(code).inc()
        if outcome == "completed":
            self._generation_of(job_type).observe(seconds)
            self._stats.completed(seconds)
        elif outcome == "failed":
            self._stats.failed()

    def jobs_active(self, count: int) -> None:
        """Say how many jobs are claimed or answered over HTTP at this moment."""
        self._jobs.active.set(count)

    def queue_counted(self, backlog: Sequence[Backlog]) -> None:
        """Show the last count of the queue; job types that are gone from it vanish."""
        self._queue.queued.clear()
        self._queue.oldest.clear()
        for line in backlog:
            name = _job_type(line.job_type)
            self._queue.queued.labels(name, "queued").inc(line.queued)
            self._queue.queued.labels(name, "processing").inc(line.processing)
            self._queue.oldest.labels(name).set(line.oldest_queued_s or 0.0)

    # Leases

    def leases_held(self, count: int) -> None:
        """Say how many leases are held."""
        self._queue.leases.set(count)

    def leases_counted(self, *, lost: int, renew_failures: int) -> None:
        """Bring the counters up to the totals that the leases keep: lost ones, failed renewals."""
        self._grow(self._queue.leases_lost, lost)
        self._grow(self._queue.renew_failures, renew_failures)

    # Wake-ups

    def wakeup_source(self, source: str, state: Mapping[str, Any]) -> None:
        """Show a source's state, and bring the counters up to the totals that it keeps.

        Args:
            source: its name.
            state: as `ProofOfLife.states` gives it.
        """
        for gauge, key in self._link.gauges:
            gauge.labels(source).set(nan if state[key] is None else state[key])
        for counter, key in self._link.counters:
            self._grow(counter.labels(source), state[key])

    def swept(self, rescued: int, failed: int) -> None:
        """Count what a sweep took back."""
        self._link.rescued.inc(rescued)
        self._link.sweep_failed.inc(failed)

    # Models and engines

    def model_state(self, model: str, state: str) -> None:
        """Show where a model's weights are: 1 for its state, 0 for the one before."""
        name = _model(model)
        for other in MODEL_STATES:
            self._models.residency.labels(name, other).set(other == state)
        # From the first state on, what may go wrong stands at 0.
        self._models.load_failures.labels(name)
        self._models.evictions.labels(name)
        self.scheduling.leaks.labels(name)
        for loss in Loss:
            self._models.engine_deaths.labels(name, loss.value)

    def model_loaded(self, model: str, seconds: float) -> None:
        """Count and time a load that succeeded."""
        self._models.loads.labels(_model(model)).observe(seconds)

    def load_failed(self, model: str) -> None:
        """Count a load that failed."""
        self._models.load_failures.labels(_model(model)).inc()

    def model_evicted(self, model: str) -> None:
        """Count weights that made room for others."""
        self._models.evictions.labels(_model(model)).inc()

    def engine_died(self, model: str, loss: Loss) -> None:
        """Count an engine process that ended without being asked to, by how it was lost."""
        self._models.engine_deaths.labels(_model(model), loss.value).inc()

    def vram(self, device: int, amounts: Mapping[str, int]) -> None:
        """Show the scheduler's book of a device, bytes by kind (`VRAM_KINDS`)."""
        for kind in VRAM_KINDS:
            if kind in amounts:
                self._models.vram.labels(str(device), kind).set(amounts[kind])

    # The database

    def store_call(self, call: str, seconds: float, error: str | None = None) -> None:
        """Time a call of the store; `error` is `unavailable` or `rejected`, None: it succeeded."""
        self._store.calls.labels(call).observe(seconds)
        for known in STORE_ERRORS:
            self._store.errors.labels(call, known).inc(known == error)

    # The machine

    def gpus(self, samples: Sequence[GpuSample]) -> None:
        """Show the last samples; figures that aren't known any more vanish."""
        self._machine.clear_gpus()
        for sample in samples:
            device = str(sample.index)
            if sample.utilization is not None:
                self._machine.gpu_utilization.labels(device).set(sample.utilization / 100)
            if sample.memory_used is not None:
                self._machine.gpu_used.labels(device).set(sample.memory_used)
            if sample.memory_total is not None:
                self._machine.gpu_total.labels(device).set(sample.memory_total)
            if sample.temperature is not None:
                self._machine.gpu_temperature.labels(device).set(sample.temperature)
        utilization = [gpu.utilization for gpu in samples if gpu.utilization is not None]
        used = [gpu.memory_used for gpu in samples if gpu.memory_used is not None]
        mean = sum(utilization) / len(utilization) if utilization else nan
        self._documented.gpu_utilization.set(mean)
        self._documented.memory_usage.set(sum(used) / _GIB if used else nan)

    def host(self, sample: HostSample) -> None:
        """Show the last sample of the host."""
        for gauge, amount in (
            (self._machine.process_memory, sample.process_memory),
            (self._machine.disk_used, sample.disk_used),
            (self._machine.disk_total, sample.disk_total),
        ):
            gauge.set(nan if amount is None else amount)

    # The worker

    def started(self, worker_type: str, version: str, unix_time_s: float) -> None:
        """Say who this is, and since when."""
        self._worker.info.labels(worker_type, version).set(1)
        self._worker.start_time.set(unix_time_s)

    def ready(self, *, ready: bool) -> None:
        """Say whether new work is taken."""
        self._worker.ready.set(ready)

    def _grow(self, counter: Counter, total: int) -> None:
        """Add what a total has grown by since it was last shown."""
        shown = self._shown.get(counter, 0)
        counter.inc(max(0, total - shown))
        self._shown[counter] = total

    def _phase_child(self, job_type: str, phase: str) -> Histogram:
        return self._jobs.phase.labels(_model_of(job_type), phase)

    def _finished_child(self, job_type: str, outcome: str) -> Counter:
        return self._jobs.finished.labels(job_type, outcome)

    def _generation_child(self, job_type: str) -> Histogram:
        return self._jobs.generation.labels(_model_of(job_type))

    def _show_performance(self) -> None:
        figures = self._stats.performance()
        documented = self._documented
        documented.jobs_processed.set(figures.jobs_completed + figures.jobs_failed)
        seconds, rate = figures.average_generation_time, figures.success_rate
        documented.average_generation_time.set(nan if seconds is None else seconds)
        documented.success_rate.set(nan if rate is None else rate)


def _job_type(name: str) -> str:
    return name if name in JOB_TYPES else _OTHER


def _model_of(job_type: str) -> str:
    known = JOB_TYPES.get(job_type)
    return _OTHER if known is None else known.model.value


def _model(name: str) -> str:
    return name if name in set(Model) else _OTHER

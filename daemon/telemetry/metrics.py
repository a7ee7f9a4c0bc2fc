"""The daemon's Prometheus metrics: one method per act, called by whoever does it.

Where a part keeps totals of its own, they are handed over as totals when a scrape asks.

Labels are bounded: names that a stranger could choose become "other", and no user, job or claim
is ever a label. Units are Prometheus' own (seconds, bytes, ratios), except in the six gauges that
the API document names (`ourvidz_jobs_processed` and so on), which show the figures of `/status`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from prometheus_client import CollectorRegistry, disable_created_metrics, generate_latest

from daemon.telemetry.gpu import GpuSample
from daemon.telemetry.host import HostSample
from daemon.telemetry.series.calls import ArtifactSeries, StoreSeries
from daemon.telemetry.series.documented import DocumentedSeries
from daemon.telemetry.series.engines import EngineSeries
from daemon.telemetry.series.http import HttpSeries
from daemon.telemetry.series.jobs import JobSeries
from daemon.telemetry.series.live import LiveSeries
from daemon.telemetry.series.machine import GpuSeries, HostSeries
from daemon.telemetry.series.queue import LeaseSeries, QueueSeries
from daemon.telemetry.series.register import Described, Register
from daemon.telemetry.series.respect import Respect
from daemon.telemetry.series.scheduling import SchedulingSeries
from daemon.telemetry.series.totals import Totals
from daemon.telemetry.series.vram import VramSeries
from daemon.telemetry.series.wakeups import WakeUpSeries
from daemon.telemetry.series.worker import WorkerSeries
from daemon.telemetry.stats import Performance, RunStats
from daemon.values import Backlog

# A "_created" series beside each counter would double the exposition, and nothing here reads it.
# (The library gives this one function no types.)
disable_created_metrics()  # type: ignore[no-untyped-call]


class Metrics:
    """Takes events, keeps figures. One per process; every method returns at once."""

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        """Register all metrics in `registry`; by default in a new one of its own."""
        self.registry = registry if registry is not None else CollectorRegistry()
        register, self._totals = Register(self.registry), Totals()
        self._worker = WorkerSeries(register.about("The worker"))
        self._documented = DocumentedSeries(register.about("The API document's figures"))
        self._jobs = JobSeries(register.about("Jobs"))
        self.respect = Respect(register.about("System prompts"))
        self._queue = QueueSeries(register.about("The queue"))
        self.scheduling = SchedulingSeries(register.about("The scheduler"))
        self.memory = VramSeries(register.about("Memory"))
        self.engines = EngineSeries(register.about("Engines"))
        self._leases = LeaseSeries(register.about("Leases"))
        self._link = WakeUpSeries(register.about("Wake-ups and sweeps"), self._totals)
        self._store = StoreSeries(register.about("The database"))
        self.artifacts = ArtifactSeries(register.about("Artifacts"))
        self.http = HttpSeries(register.about("The HTTP server"))
        self.live = LiveSeries(register.about("Watching jobs live"))
        self._gpus = GpuSeries(register.about("GPUs, as the driver tells it"))
        self._host = HostSeries(register.about("The host"))
        self._stats = RunStats()
        self.described: Sequence[Described] = register.described
        """Every metric that there is, in order."""
        self.gpus(())

    def exposition(self) -> bytes:
        """Return everything in Prometheus' text format."""
        self._documented.performance(self._stats.performance(), self.respect.share)
        return generate_latest(self.registry)

    def performance(self) -> Performance:
        """Return the figures of `/status`, made from the same events."""
        rate = self.respect.rate
        return replace(self._stats.performance(), system_prompt_respect_rate=rate)

    # Jobs

    def jobs_claimed(self, job_type: str, count: int = 1) -> None:
        """Count jobs that a claim returned."""
        self._jobs.claimed(job_type, count)

    def job_phase(self, job_type: str, phase: str, seconds: float) -> None:
        """Time one part of a job's way, see `series.labels.PHASE`."""
        self._jobs.phase(job_type, phase, seconds)

    def job_finished(
        self, job_type: str, outcome: str, seconds: float, error_code: str | None = None
    ) -> None:
        """Count a run that ended; `seconds` is its time of generation."""
        self._jobs.finished(job_type, outcome, seconds, error_code)
        if outcome == "completed":
            self._stats.completed(seconds)
        elif outcome == "failed":
            self._stats.failed()

    def jobs_active(self, count: int) -> None:
        """Say how many jobs are claimed or answered over HTTP at this moment."""
        self._jobs.active(count)

    def queue_counted(self, backlog: Sequence[Backlog] | None) -> None:
        """Show the last count of the queue; None: it couldn't be counted, so nothing is shown."""
        if backlog is None:
            self._queue.unknown()
        else:
            self._queue.counted(backlog)

    # Leases

    def leases_held(self, count: int) -> None:
        """Say how many leases are held."""
        self._leases.held.set(count)

    def leases_counted(self, *, lost: int, renew_failures: int) -> None:
        """Bring the counters up to the totals that the leases keep: lost ones, failed renewals."""
        self._totals.show(self._leases.lost, lost)
        self._totals.show(self._leases.renew_failures, renew_failures)

    # Wake-ups

    def wakeup_source(self, source: str, state: Mapping[str, Any]) -> None:
        """Show a source's state, and bring the counters up to the totals that it keeps.

        Args:
            source: its name.
            state: as `ProofOfLife.states` gives it.
        """
        self._link.source(source, state)

    def swept(self, rescued: int, failed: int) -> None:
        """Count what a sweep took back."""
        self._link.swept(rescued, failed)

    # Models

    def model_state(self, model: str, state: str) -> None:
        """Show where a model's weights are: 1 for its state, 0 for the one before."""
        self.memory.state(model, state)
        self.engines.start_at_zero(model)

    def vram(self, device: int, amounts: Mapping[str, int]) -> None:
        """Show the scheduler's book of a device, bytes by kind."""
        self.memory.device(device, amounts)

    # The database

    def store_call(self, call: str, seconds: float, error: str | None = None) -> None:
        """Time a call of the store; `error` is `unavailable` or `rejected`, None: it succeeded."""
        self._store.called(call, seconds, error)

    # The machine

    def gpus(self, samples: Sequence[GpuSample]) -> None:
        """Show the last samples; figures that aren't known any more vanish."""
        self._gpus.show(samples)
        self._documented.gpus(samples)

    def host(self, sample: HostSample) -> None:
        """Show the last sample of the host."""
        self._host.show(sample)

    # The worker

    def started(self, worker_type: str, version: str, unix_time_s: float) -> None:
        """Say who this is, and since when."""
        self._worker.started(worker_type, version, unix_time_s)

    def ready(self, *, ready: bool) -> None:
        """Say whether new work is taken."""
        self._worker.ready(ready=ready)

    def loop_lagged(self, seconds: float) -> None:
        """Take how much too late the event loop was."""
        self._worker.lagged(seconds)

"""The time series that `metrics.Metrics` fills: names, help and labels, grouped by subject."""

from math import nan

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

_FAST = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
"""Seconds of a database call."""

_SLOW = (0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 15, 30, 60, 120, 300, 600)
"""Seconds of a job: from a wake-up's milliseconds to minutes of video."""


class JobSeries:
    """Jobs: claimed, timed, ended."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.claimed = Counter(
            "ourvidz_jobs_claimed", "Jobs that claims returned", ["job_type"], registry=registry
        )
        self.finished = Counter(
            "ourvidz_jobs_finished",
            "Runs that ended, by how they ended",
            ["job_type", "outcome"],
            registry=registry,
        )
        self.errors = Counter(
            "ourvidz_job_errors", "Runs that ended with an error code", ["code"], registry=registry
        )
        self.phase = Histogram(
            "ourvidz_job_phase_seconds",
            "Time that jobs spend in each part of their way",
            ["model", "phase"],
            buckets=_SLOW,
            registry=registry,
        )
        self.generation = Histogram(
            "ourvidz_job_generation_seconds",
            "Time of generation of completed runs",
            ["model"],
            buckets=_SLOW,
            registry=registry,
        )
        self.active = Gauge(
            "ourvidz_active_jobs", "Jobs claimed or answered over HTTP now", registry=registry
        )


class QueueSeries:
    """The queue, and leases."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.queued = Gauge(
            "ourvidz_queue_jobs",
            "Unfinished rows at the last count",
            ["job_type", "status"],
            registry=registry,
        )
        self.oldest = Gauge(
            "ourvidz_queue_oldest_seconds",
            "Age of the oldest queued row at the last count",
            ["job_type"],
            registry=registry,
        )
        self.leases = Gauge("ourvidz_leases_held", "Leases held now", registry=registry)
        self.leases_lost = Counter(
            "ourvidz_leases_lost", "Leases that ended under a running job", registry=registry
        )
        self.renew_failures = Counter(
            "ourvidz_lease_renew_failures", "Renewals that got no answer", registry=registry
        )


class LinkSeries:
    """How new rows are heard of."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.hints = Counter(
            "ourvidz_wakeup_hints", "Hints that work may exist", ["source"], registry=registry
        )
        self.ready = Gauge(
            "ourvidz_wakeup_source_ready",
            "1 while the other side says that it announces rows",
            ["source"],
            registry=registry,
        )
        self.proven = Gauge(
            "ourvidz_wakeup_source_proven",
            "1 while something has come through the source, and not too long ago",
            ["source"],
            registry=registry,
        )
        self.proof_age = Gauge(
            "ourvidz_wakeup_proof_age_seconds",
            "Age of the last hint or canary that came through the source",
            ["source"],
            registry=registry,
        )
        self.delay = Gauge(
            "ourvidz_wakeup_canary_delay_seconds",
            "How long the last hundred canaries were under way, the middle one",
            ["source"],
            registry=registry,
        )
        self.missed_canaries = Counter(
            "ourvidz_wakeup_missed_canaries",
            "Canaries that the source didn't hear",
            ["source"],
            registry=registry,
        )
        self.doubts = Counter(
            "ourvidz_wakeup_doubts",
            "Connections that were replaced since they announced nothing",
            ["source"],
            registry=registry,
        )
        self.connections = Counter(
            "ourvidz_wakeup_connections",
            "Connections that a source has made, the first one too",
            ["source"],
            registry=registry,
        )
        self.missed = Counter(
            "ourvidz_wakeup_missed_jobs",
            "Jobs that a sweep found, no source having announced them",
            ["source"],
            registry=registry,
        )
        self.rescued = Counter(
            "ourvidz_sweep_rescued_jobs", "Jobs taken back from expired leases", registry=registry
        )
        self.sweep_failed = Counter(
            "ourvidz_sweep_failed_jobs",
            "Jobs failed by a sweep: no attempt left, or an unknown type",
            registry=registry,
        )
        # What each shows of a source's state.
        self.gauges = (
            (self.ready, "ready"),
            (self.proven, "proven"),
            (self.proof_age, "last_proof_s"),
            (self.delay, "canary_delay_s"),
        )
        self.counters = (
            (self.hints, "hints"),
            (self.connections, "generations"),
            (self.missed, "missed_hints"),
            (self.missed_canaries, "missed_canaries"),
            (self.doubts, "doubts"),
        )


class ModelSeries:
    """Weights, engines and the scheduler's book of memory."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.residency = Gauge(
            "ourvidz_model_residency",
            "1 for the state that a model's weights are in",
            ["model", "state"],
            registry=registry,
        )
        self.loads = Histogram(
            "ourvidz_model_load_seconds",
            "Loads that succeeded",
            ["model"],
            buckets=_SLOW,
            registry=registry,
        )
        self.load_failures = Counter(
            "ourvidz_model_load_failures", "Loads that failed", ["model"], registry=registry
        )
        self.evictions = Counter(
            "ourvidz_model_evictions",
            "Weights that made room for others",
            ["model"],
            registry=registry,
        )
        self.engine_deaths = Counter(
            "ourvidz_engine_deaths",
            "Engine processes that ended unasked",
            ["model", "loss"],
            registry=registry,
        )
        self.vram = Gauge(
            "ourvidz_vram_bytes",
            "The scheduler's book of a device: capacity, reserve, weights, reserved",
            ["device", "kind"],
            registry=registry,
        )


class StoreSeries:
    """Calls of the database."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.calls = Histogram(
            "ourvidz_store_call_seconds",
            "Calls of the store, failed ones too",
            ["call"],
            buckets=_FAST,
            registry=registry,
        )
        self.errors = Counter(
            "ourvidz_store_errors",
            "Calls that got no answer (unavailable) or a refusal (rejected)",
            ["call", "error"],
            registry=registry,
        )


class MachineSeries:
    """GPUs as the driver tells it, and the host."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.gpu_utilization = Gauge(
            "ourvidz_gpu_utilization_ratio",
            "Share of time in which a kernel ran, 0 to 1",
            ["device"],
            registry=registry,
        )
        self.gpu_used = Gauge(
            "ourvidz_gpu_memory_used_bytes", "Memory in use", ["device"], registry=registry
        )
        self.gpu_total = Gauge(
            "ourvidz_gpu_memory_total_bytes", "Memory there is", ["device"], registry=registry
        )
        self.gpu_temperature = Gauge(
            "ourvidz_gpu_temperature_celsius", "Temperature", ["device"], registry=registry
        )
        self.process_memory = Gauge(
            "ourvidz_process_resident_memory_bytes",
            "Memory of the daemon's process, without its engines",
            registry=registry,
        )
        self.disk_used = Gauge(
            "ourvidz_disk_used_bytes",
            "In use on the file system of the state folder",
            registry=registry,
        )
        self.disk_total = Gauge(
            "ourvidz_disk_total_bytes", "Size of that file system", registry=registry
        )
        for gauge in (self.process_memory, self.disk_used, self.disk_total):
            gauge.set(nan)  # not known yet; 0 would be a figure

    def clear_gpus(self) -> None:
        """Forget the last samples."""
        self.gpu_utilization.clear()
        self.gpu_used.clear()
        self.gpu_total.clear()
        self.gpu_temperature.clear()


class WorkerSeries:
    """The process itself."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.info = Gauge(
            "ourvidz_worker_info", "Always 1", ["worker_type", "version"], registry=registry
        )
        self.start_time = Gauge(
            "ourvidz_start_time_seconds", "Unix time of the start", registry=registry
        )
        self.ready = Gauge("ourvidz_ready", "1 while new work is taken", registry=registry)


class DocumentedSeries:
    """The six figures of the API document's `collect_metrics`, in its names and units."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.jobs_processed = Gauge(
            "ourvidz_jobs_processed", "Runs completed or failed since the start", registry=registry
        )
        self.average_generation_time = Gauge(
            "ourvidz_average_generation_time",
            "Seconds, over the last 200 completed runs",
            registry=registry,
        )
        self.success_rate = Gauge(
            "ourvidz_success_rate", "Completed of completed and failed, percent", registry=registry
        )
        self.gpu_utilization = Gauge(
            "ourvidz_gpu_utilization", "Mean over the GPUs, percent", registry=registry
        )
        self.memory_usage = Gauge(
            "ourvidz_memory_usage", "GPU memory in use, sum over the GPUs, GB", registry=registry
        )
        self.system_prompt_respect_rate = Gauge(
            "ourvidz_system_prompt_respect_rate",
            "Chat runs that got exactly the caller's messages, percent",
            registry=registry,
        )
        self.system_prompt_respect_rate.set(nan)

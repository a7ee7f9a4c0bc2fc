"""The six figures of the API document's `collect_metrics`, in its names and units."""

from collections.abc import Sequence
from math import nan

from daemon.telemetry.gpu import GIB, GpuSample
from daemon.telemetry.series.register import Register
from daemon.telemetry.stats import Performance


class DocumentedSeries:
    """The figures of `/status`, as gauges; what isn't known is NaN.

    Over a fleet, or a time of one's own choice, they are better made from the counters: see the
    recording rules in `monitoring/`.
    """

    def __init__(self, register: Register) -> None:
        gauge = register.gauge
        self._processed = gauge(
            "ourvidz_jobs_processed", "Runs completed or failed since the start"
        )
        self._seconds = gauge(
            "ourvidz_average_generation_time", "Seconds, over the last 200 completed runs"
        )
        self._success = gauge(
            "ourvidz_success_rate", "Completed of completed and failed since the start, percent"
        )
        self._utilization = gauge("ourvidz_gpu_utilization", "Mean over the GPUs, percent")
        self._memory = gauge(
            "ourvidz_memory_usage", "GPU memory in use, sum over the GPUs, GB of 2^30 bytes"
        )
        self._respect = gauge(
            "ourvidz_system_prompt_respect_rate",
            "Chat runs that got exactly the caller's messages, percent",
        )

    def performance(self, figures: Performance, respect_rate: float | None) -> None:
        """Show how jobs went."""
        self._processed.set(figures.jobs_completed + figures.jobs_failed)
        for gauge, value in (
            (self._seconds, figures.average_generation_time),
            (self._success, figures.success_rate),
            (self._respect, respect_rate),
        ):
            gauge.set(nan if value is None else value)

    def gpus(self, samples: Sequence[GpuSample]) -> None:
        """Show the last samples, all GPUs together."""
        utilization = [gpu.utilization for gpu in samples if gpu.utilization is not None]
        used = [gpu.memory_used for gpu in samples if gpu.memory_used is not None]
        self._utilization.set(sum(utilization) / len(utilization) if utilization else nan)
        self._memory.set(sum(used) / GIB if used else nan)

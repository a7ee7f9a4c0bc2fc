"""GPUs as the driver tells it, and the host, as time series."""

from collections.abc import Sequence
from math import nan

from daemon.telemetry.gpu import GpuSample
from daemon.telemetry.host import HostSample
from daemon.telemetry.series.labels import DEVICE
from daemon.telemetry.series.register import Register


class GpuSeries:
    """The last samples; figures that aren't known any more vanish."""

    def __init__(self, register: Register) -> None:
        gauge = register.gauge
        self._utilization = gauge(
            "ourvidz_gpu_utilization_ratio", "Share of time in which a kernel ran, 0 to 1", DEVICE
        )
        self._used = gauge("ourvidz_gpu_memory_used_bytes", "Memory in use, by anybody", DEVICE)
        self._total = gauge("ourvidz_gpu_memory_total_bytes", "Memory there is", DEVICE)
        self._temperature = gauge("ourvidz_gpu_temperature_celsius", "Temperature", DEVICE)
        self._power = gauge("ourvidz_gpu_power_watts", "Power drawn", DEVICE)

    def show(self, samples: Sequence[GpuSample]) -> None:
        """Show one round of samples."""
        for gauge, field, scale in (
            (self._utilization, "utilization", 0.01),
            (self._used, "memory_used", 1),
            (self._total, "memory_total", 1),
            (self._temperature, "temperature", 1),
            (self._power, "power", 1),
        ):
            gauge.clear()
            for sample in samples:
                if (value := getattr(sample, field)) is not None:
                    gauge.labels(str(sample.index)).set(value * scale)


class HostSeries:
    """The host; what isn't known is NaN, since 0 would be a figure."""

    def __init__(self, register: Register) -> None:
        self._memory = register.gauge(
            "ourvidz_process_resident_memory_bytes",
            "Memory of the daemon's process, without its engines",
        )
        self._disk_used = register.gauge(
            "ourvidz_disk_used_bytes", "In use on the file system of the state folder"
        )
        self._disk_total = register.gauge("ourvidz_disk_total_bytes", "Size of that file system")
        self.show(HostSample(None, None, None))

    def show(self, sample: HostSample) -> None:
        """Show the last sample."""
        for gauge, n_bytes in (
            (self._memory, sample.process_memory),
            (self._disk_used, sample.disk_used),
            (self._disk_total, sample.disk_total),
        ):
            gauge.set(nan if n_bytes is None else n_bytes)

"""The process itself, as time series."""

from daemon.telemetry.series.labels import VERSION, WORKER_TYPE
from daemon.telemetry.series.register import MILLISECONDS, Register


class WorkerSeries:
    """Who this is, since when, and how its event loop fares."""

    def __init__(self, register: Register) -> None:
        self._info = register.gauge("ourvidz_worker_info", "Always 1", WORKER_TYPE, VERSION)
        self._start_time = register.gauge("ourvidz_start_time_seconds", "Unix time of the start")
        self._ready = register.gauge("ourvidz_ready", "1 while new work is taken")
        self._lag = register.histogram(
            "ourvidz_event_loop_lag_seconds",
            "How much too late the event loop was for a call, looked at four times a second",
            buckets=MILLISECONDS,
        )

    def started(self, worker_type: str, version: str, unix_time_s: float) -> None:
        """Say who this is, and since when."""
        self._info.labels(worker_type, version).set(1)
        self._start_time.set(unix_time_s)

    def ready(self, *, ready: bool) -> None:
        """Say whether new work is taken."""
        self._ready.set(ready)

    def lagged(self, seconds: float) -> None:
        """Take one look at the event loop."""
        self._lag.observe(seconds)

"""Who looks on from outside, by the settings: a broker, a collector of traces. None by default.

Their libraries are extras, and are imported only where they are used.
"""

from collections.abc import Coroutine
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Protocol

from daemon.job_run import JobRun
from daemon.jobs import Outcome, Recorded
from daemon.remote import RemoteControl
from daemon.reporting import DaemonReports
from daemon.settings import Settings
from daemon.stopping import Stopping
from daemon.values import StepReport, WorkerIdentity

if TYPE_CHECKING:
    from daemon.parts import Parts
    from daemon.telemetry.mqtt.service import MqttService
    from daemon.telemetry.tracing.export import Tracing


class Watcher(Protocol):
    """Hears of every run, that of a row and that of a request. It doesn't block, nor raise."""

    def stepped(self, run: JobRun, report: StepReport) -> None:
        """Take a run's step."""
        ...

    def ended(self, run: JobRun, outcome: Outcome | None, recorded: Recorded | None) -> None:
        """Take the end of a run."""
        ...


@dataclass(frozen=True)
class Outside:
    """What the settings ask for."""

    reports: DaemonReports
    stopping: Stopping
    mqtt: "MqttService | None" = None
    tracing: "Tracing | None" = None

    @property
    def watchers(self) -> list[Watcher]:
        """Those that hear of runs."""
        return [each for each in (self.mqtt, self.tracing) if each is not None]

    def services(self, parts: "Parts") -> list[Coroutine[Any, Any, None]]:
        """Return what runs beside the jobs, until it is cancelled."""
        control = RemoteControl(parts, self.reports, self.stopping)
        return [
            *([self.mqtt.run(control)] if self.mqtt else []),
            *([self.tracing.run()] if self.tracing else []),
        ]


def outside(reports: DaemonReports, worker: WorkerIdentity, stopping: Stopping) -> Outside:
    """Return who looks on."""
    return Outside(reports, stopping, _mqtt(reports, worker), _tracing(reports, worker))


def _mqtt(reports: DaemonReports, worker: WorkerIdentity) -> "MqttService | None":
    settings = reports.settings.mqtt
    if settings.host is None:
        return None
    from daemon.telemetry.mqtt.service import MqttService

    mqtt = MqttService(settings, worker, reports.version, reports)
    reports.mqtt = mqtt.counts
    return mqtt


def _tracing(reports: DaemonReports, worker: WorkerIdentity) -> "Tracing | None":
    settings = reports.settings.tracing
    if not settings.enabled:
        return None
    from daemon.telemetry.tracing.export import Tracing

    return Tracing(settings, worker, reports.version)


def missing_libraries(settings: Settings) -> list[str]:
    """Return a sentence for each extra that the settings need and that isn't installed."""
    missing = []
    if settings.mqtt.host is not None and not _installed("aiomqtt"):
        missing.append(
            "mqtt.host is set, and aiomqtt isn't installed: pip install 'ourvidz-worker[mqtt]'"
        )
    if settings.tracing.enabled and not _installed("opentelemetry.exporter.otlp.proto.http"):
        missing.append(
            "tracing.enabled is set, and the OpenTelemetry SDK isn't installed: "
            "pip install 'ourvidz-worker[otel]'"
        )
    return missing


def _installed(name: str) -> bool:
    try:
        return find_spec(name) is not None
    except ModuleNotFoundError:
        return False

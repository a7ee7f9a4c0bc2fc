"""What the side server tells of this daemon, from the first moment on.

Everything comes from memory. Parts that aren't built yet are None, and are told as unknown.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from daemon.exposing import show_health, show_parts, show_settings
from daemon.job_reports import job_reports
from daemon.job_types import Model
from daemon.server.keys import KeyRing
from daemon.server.reports import (
    DeviceReport,
    Health,
    LeaseReport,
    ModelReport,
    ModelState,
    Phase,
    Status,
    StoreReport,
)
from daemon.settings import Settings
from daemon.telemetry.gpu import GpuSample
from daemon.telemetry.host import HostSample
from daemon.telemetry.metrics import Metrics
from daemon.telemetry.mqtt.outgoing import Counts
from daemon.values import Backlog

if TYPE_CHECKING:
    from daemon.exchanges import Answers
    from daemon.parts import Parts

_STATES = {
    "resident": ModelState.LOADED,
    "loading": ModelState.LOADING,
    "offloading": ModelState.EVICTING,
    "host": ModelState.HOST,
    "evicting": ModelState.EVICTING,
}


@dataclass
class DaemonReports:
    """Implements `Reports` for the daemon; `parts` is set when they are built."""

    settings: Settings
    metrics: Metrics
    version: str
    worker_id: str = ""
    phase: Phase = Phase.STARTING
    starting: str = "the worker is starting"
    """What the start waits for."""
    keys: KeyRing | None = None
    parts: "Parts | None" = None
    queue: Sequence[Backlog] | None = None
    gpus: Sequence[GpuSample] = ()
    host: HostSample | None = None
    mqtt: Counts | None = None
    """What went to the broker and came from it; None: there is none."""
    learned_since: Callable[[], Mapping[str, str]] = dict
    """When the first figure was learned that the scheduler goes by, by model."""
    _began: float = field(default_factory=time.monotonic)

    def health(self) -> Health:
        """Return what `/health` shows."""
        snapshot = self.parts.admissions.snapshot() if self.parts else None
        return Health(
            worker_type=self.settings.worker_type,
            phase=self.phase,
            reasons=self._reasons(snapshot),
            uptime_s=time.monotonic() - self._began,
            active_jobs=len(self.parts.executor.runs) if self.parts else 0,
            models=self._models(snapshot),
            gpus=self.gpus,
            devices=self._devices(snapshot),
        )

    def ready(self) -> tuple[bool, Sequence[str]]:
        """Say whether new work is taken."""
        if self.phase is Phase.STARTING:
            return False, [self.starting]
        if self.phase is Phase.DRAINING:
            return False, ["the worker is draining"]
        if self.parts is not None and self.parts.store.health.failing:
            return False, ["the database does not answer"]
        return True, []

    def answering(self) -> "Answers | None":
        """Return who answers requests; None until the worker takes any."""
        return self.parts.answering if self.parts is not None else None

    def status(self) -> Status:
        """Return what `/status` shows."""
        parts = self.parts
        return Status(
            health=self.health(),
            worker_id=self.worker_id,
            version=self.version,
            performance=self.metrics.performance(),
            host=self.host,
            store=self._store(),
            leases=self._leases(),
            queue=self.queue,
            scheduler=self._scheduler(),
            jobs=job_reports(parts) if parts else (),
            forecast=_forecast(parts) if parts else {},
            wakeups=parts.proof.states() if parts else {},
            counters=self._counters(),
        )

    def exposition(self) -> bytes:
        """Return all metrics, the gauges being brought up to date first."""
        show_health(self.metrics, self.health(), ready=self.ready()[0])
        show_settings(self.metrics, self.settings)
        if self.parts is not None:
            show_parts(self.metrics, self.settings, self.parts)
        return self.metrics.exposition()

    def _scheduler(self) -> dict[str, Any]:
        if self.parts is None:
            return {}
        snapshot = self.parts.admissions.snapshot()
        return {**asdict(snapshot), "learned_since": dict(self.learned_since())}

    def _reasons(self, snapshot: Any) -> list[str]:
        reasons = [] if self.keys is None or not self.keys.complaint else [self.keys.complaint]
        if self.parts is None or snapshot is None:
            return [self.starting, *reasons] if self.phase is Phase.STARTING else reasons
        if self.parts.store.health.failing:
            reasons.append("the database does not answer")
        credentials = self.settings.supabase.credentials
        if credentials and (complaint := credentials.complaint(time.time())):
            reasons.append(complaint)
        if self.parts.sources and not self.parts.proof.any_proven():
            reasons.append("no wake-up source is proven alive: the table is swept instead")
        reasons += [
            f"model {each.model} could not be loaded; next try in {each.next_try_s:.0f} s"
            for each in snapshot.back_offs
        ]
        return reasons

    def _models(self, snapshot: Any) -> Mapping[Model, ModelReport]:
        models = {
            model: ModelReport(settings.name or str(model), ModelState.UNLOADED)
            for model, settings in self.settings.enabled_models.items()
        }
        if snapshot is None:
            return models
        for each in snapshot.back_offs:
            models[Model(each.model)] = ModelReport(
                models[Model(each.model)].name, ModelState.FAILED
            )
        for device in snapshot.devices:
            for placed in device.placements:
                models[Model(placed.model)] = ModelReport(
                    models[Model(placed.model)].name,
                    _STATES[placed.residency.value],
                    device.device,
                    placed.weights_bytes,
                )
        return models

    def _devices(self, snapshot: Any) -> list[DeviceReport]:
        if snapshot is None:
            return []
        return [
            DeviceReport(
                index=device.device,
                simulated=self.settings.device.simulate_gb is not None,
                capacity=device.capacity_bytes,
                reserve=device.reserve_bytes,
                weights=sum(placed.weights_bytes for placed in device.placements),
                reserved=sum(placed.reserved_bytes for placed in device.placements),
            )
            for device in snapshot.devices
        ]

    def _store(self) -> StoreReport | None:
        if self.parts is None:
            return None
        health = self.parts.store.health
        return StoreReport(
            kind="supabase" if self.settings.database.dsn is None else "postgres",
            last_ok_s=_age(health.last_ok),
            last_error_s=_age(health.last_failure),
            last_error=health.last_error,
            calls=health.calls,
            errors=health.errors,
        )

    def _leases(self) -> LeaseReport:
        if self.parts is None:
            return LeaseReport()
        leases = self.parts.leases
        return LeaseReport(
            held=leases.held,
            lost=leases.stats.lost,
            renew_failures=leases.stats.renew_errors,
            last_renewed_s=_age(leases.stats.last_renewal),
        )

    def _counters(self) -> dict[str, float]:
        if self.parts is None:
            return {}
        stats = self.parts.intake.stats
        mqtt = asdict(self.mqtt) if self.mqtt else {}
        return {
            **{f"mqtt_{name}": count for name, count in mqtt.items()},
            "wakes": stats.wakes,
            "claims": stats.claims,
            "claimed": stats.claimed,
            "sweeps": stats.sweeps,
            "rescued": stats.rescued,
        }


def _age(moment: float | None) -> float | None:
    return None if moment is None else round(time.monotonic() - moment, 3)


def _forecast(parts: "Parts") -> dict[str, Any]:
    """Return what is foretold; `told_rows` is None where queued rows are told nothing."""
    teller = parts.queue_teller
    return parts.foreteller.report_of() | {"told_rows": teller.told if teller else None}

"""Gauges that show what the parts know, brought up to date when a scrape asks."""

from dataclasses import asdict
from typing import TYPE_CHECKING

from daemon.scheduling.snapshot import LaneSnapshot, SchedulerSnapshot
from daemon.sections import GIB
from daemon.server.reports import Health
from daemon.settings import Settings
from daemon.telemetry.metrics import Metrics

if TYPE_CHECKING:
    from daemon.parts import Parts


def show_health(metrics: Metrics, health: Health, *, ready: bool) -> None:
    """Show what `/health` and `/ready` say."""
    metrics.jobs_active(health.active_jobs)
    metrics.ready(ready=ready)
    for model, report in health.models.items():
        metrics.model_state(model, report.state)
    for device in health.devices:
        metrics.vram(device.index, asdict(device))


def show_settings(metrics: Metrics, settings: Settings) -> None:
    """Show what the models may take."""
    metrics.memory.budgets(
        {model: int(each.budget_gb * GIB) for model, each in settings.enabled_models.items()}
    )


def show_parts(metrics: Metrics, settings: Settings, parts: "Parts") -> None:
    """Show the scheduler, the leases and the wake-up sources as they are."""
    snapshot = parts.admissions.snapshot()
    _show_memory(metrics, snapshot)
    _show_scheduling(metrics, settings, snapshot)
    foreteller = parts.foreteller
    metrics.scheduling.ends_kept(foreteller.kept.coverage, foreteller.table.coverage)
    stats = parts.leases.stats
    metrics.leases_held(parts.leases.held)
    metrics.leases_counted(lost=stats.lost, renew_failures=stats.renew_errors)
    for name, state in parts.proof.states().items():
        metrics.wakeup_source(name, state)


def _show_memory(metrics: Metrics, snapshot: SchedulerSnapshot) -> None:
    memory = metrics.memory
    memory.clear_models()
    for device in snapshot.devices:
        memory.outside(device.device, device.outside_bytes)
        for placed in device.placements:
            memory.model(
                placed.model,
                device.device,
                weights=placed.weights_bytes,
                reserved=placed.reserved_bytes,
            )
    memory.host(snapshot.host_capacity_bytes - snapshot.host_free_bytes)


def _show_scheduling(metrics: Metrics, settings: Settings, snapshot: SchedulerSnapshot) -> None:
    scheduling = metrics.scheduling
    scheduling.waiting(waiting_by_class(settings, snapshot.lanes))
    for each in snapshot.coverage:
        scheduling.memory_kept(each.model, each.quality, each.covered)
    for moves in snapshot.moves:
        for move in ("load", "restore", "offload", "unload"):
            scheduling.move_expected(moves.model, move, getattr(moves, f"{move}_s"))


def waiting_by_class(
    settings: Settings, lanes: tuple[LaneSnapshot, ...]
) -> dict[tuple[str, str], tuple[int, float]]:
    """Return by model and quality how many requests wait, and for how long the oldest has.

    Each class that this worker serves is there, also where nobody waits.
    """
    waiting = {
        (model.value, quality.value): (0, 0.0)
        for model, chosen in settings.enabled_models.items()
        for quality in chosen.footprint_gb
    }
    for lane in lanes:
        count, oldest_s = waiting.get((lane.model, lane.quality), (0, 0.0))
        waiting[lane.model, lane.quality] = count + lane.waiting, max(oldest_s, lane.oldest_s)
    return waiting

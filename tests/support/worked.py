"""Metrics of a worker with GPUs to which everything has happened."""

from daemon.telemetry.gpu import GIB, GpuSample
from daemon.telemetry.host import HostSample
from daemon.telemetry.metrics import Metrics
from daemon.telemetry.series.labels import (
    ARTIFACT_CALL,
    DEVICE,
    JOB_TYPE,
    MODEL,
    MOVE,
    OUTCOME,
    PHASE,
    QUALITY,
    ROUTE,
    SOURCE,
    STATE,
    STORE_CALL,
    VERSION,
)
from daemon.values import Backlog, Loss

OPEN = (DEVICE, VERSION, ROUTE)
"""Labels whose values the host brings."""

GPUS = (
    GpuSample(0, "A", 45.2, 8 * GIB, 48 * GIB, 61.0, 212.5),
    GpuSample(1, "B", 80.0, 40 * GIB, 48 * GIB, 74.0, 295.0),
)

SOURCE_STATE = {
    "ready": True,
    "proven": True,
    "hints": 9,
    "last_proof_s": 2.5,
    "canary_delay_s": 0.004,
    "missed_hints": 2,
    "missed_canaries": 3,
    "doubts": 4,
    "generations": 5,
}


def everything_happened(names: str | None = None) -> Metrics:
    """Return the metrics; `names` stands for whatever a stranger may name instead."""
    metrics = Metrics()
    metrics.started("all", "0.1.0", 1.8e9)
    metrics.ready(ready=True)
    metrics.loop_lagged(0.002)
    metrics.gpus(GPUS)
    metrics.host(HostSample(10, 20, 30))
    _jobs(metrics, names)
    for model in (*MODEL.values, *([names] if names else [])):
        _model(metrics, model)
    _links(metrics)
    return metrics


def _jobs(metrics: Metrics, names: str | None) -> None:
    for job_type in (*JOB_TYPE.values, *([names] if names else [])):
        metrics.jobs_claimed(job_type, 3)
        for outcome in OUTCOME.values:
            code = "GENERATION_FAILED" if outcome == "failed" else names
            metrics.job_finished(job_type, names or outcome, 4.0, code)
            metrics.job_finished(job_type, outcome, 4.0, code)
        for phase in PHASE.values:
            metrics.job_phase(job_type, names or phase, 0.5)
    metrics.respect.used(respected=True)
    metrics.jobs_active(2)
    metrics.queue_counted([Backlog("chat", 3, 1, 12.0), Backlog(names or "chat", 3, 1, 12.0)])


def _model(metrics: Metrics, model: str) -> None:
    memory, engines, scheduling = metrics.memory, metrics.engines, metrics.scheduling
    metrics.model_state(model, STATE.values[0])
    metrics.vram(0, {"capacity": 48, "reserve": 1, "weights": 12, "reserved": 4, "other": 1})
    memory.model(model, 0, weights=12, reserved=4)
    memory.budgets({model: 16})
    memory.peak(model, 15)
    memory.outside(0, 2)
    memory.host(3)
    engines.loaded(model, 20.0)
    engines.loaded(model, 0.7, from_host=True)
    engines.load_failed(model)
    engines.offloaded(model, 0.5)
    engines.evicted(model)
    engines.restarted(model)
    engines.leaks(model)
    for loss in Loss:
        engines.died(model, loss)
    for during in ("load", "run"):
        engines.out_of_memory(model, during)
    scheduling.waiting({(model, quality): (2, 30.0) for quality in QUALITY.values})
    scheduling.memory_kept(model, "fast", 0.99)
    scheduling.ends_kept(0.9, 0.8)
    for move in MOVE.values:
        scheduling.move_expected(model, move, 1.0)


def _links(metrics: Metrics) -> None:
    metrics.leases_held(3)
    metrics.leases_counted(lost=1, renew_failures=1)
    metrics.swept(4, 5)
    for source in SOURCE.values:
        metrics.wakeup_source(source, SOURCE_STATE)
    for call in STORE_CALL.values:
        metrics.store_call(call, 0.01)
    metrics.store_call("finish", 0.2, "rejected")
    for call in ARTIFACT_CALL.values:
        metrics.artifacts.called(call, 0.2, ok=True)
    metrics.artifacts.saved("image", 4000)
    metrics.http.served("/chat", 200, 1.5)
    metrics.http.served("/chat", 503, 0.01)
    metrics.live.streams(1)
    metrics.live.sent(5)

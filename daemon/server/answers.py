"""From reports to the JSON of `worker-api.md`. Pure.

Figures are real or null. "GB" is 2**30 bytes, as GPU tools show it; *usage* is an amount in GB and
*utilization* a share in percent, for GPU memory and disk alike.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from daemon.job_types import Model
from daemon.server.reports import DeviceReport, Health, ModelState, Phase, Status
from daemon.telemetry.gpu import GpuSample

ARCHITECTURE = "pure_inference_engine"

SYSTEM_PROMPT_FEATURES: Mapping[str, bool | str] = {
    "pure_inference_engine": True,
    "no_prompt_overrides": True,
    "respects_provided_prompts": True,
    "template_override_risk": "eliminated",
}

_GIB = 2**30

_MODEL_KEYS = {Model.CHAT: "qwen_instruct"}
"""Names of models in `/status` where the API's differ from ours."""


def health_answer(health: Health) -> dict[str, Any]:
    """Return the body of `GET /health`: the documented fields, then the worker's own."""
    return {
        "status": health_word(health),
        "architecture": ARCHITECTURE,
        "worker_type": health.worker_type,
        "gpu_utilization": gpu_utilization(health.gpus),
        "memory_usage": memory_usage(health.gpus),
        "active_jobs": health.active_jobs,
        "uptime": int(health.uptime_s),
        "model_loaded": any(model.state is ModelState.LOADED for model in health.models.values()),
        "system_prompt_features": dict(SYSTEM_PROMPT_FEATURES),
        "capabilities": {
            "hardcoded_prompts": False,
            "prompt_modification": False,
            "pure_inference": True,
        },
        "reasons": list(health.reasons),
        "memory_reserved": _reserved(health.devices),
        "simulated_device": any(device.simulated for device in health.devices),
    }


def status_answer(status: Status) -> dict[str, Any]:
    """Return the body of `GET /status`: the documented fields, then the worker's own."""
    health = status.health
    word = health_word(health)
    return {
        "worker_type": health.worker_type,
        "status": "active" if word == "healthy" else word,
        "architecture": ARCHITECTURE,
        "performance": asdict(status.performance),
        "resources": _resources(status),
        "models": _models(health),
        "security": {
            "template_override_risk": "eliminated",
            "hardcoded_prompts": False,
            "edge_function_control": True,
        },
        "worker_id": status.worker_id,
        "version": status.version,
        "uptime": int(health.uptime_s),
        "active_jobs": health.active_jobs,
        "reasons": list(health.reasons),
        "model_details": {_key(model): asdict(report) for model, report in health.models.items()},
        "devices": _devices(health),
        "scheduler": status.scheduler,
        "jobs": list(status.jobs),
        "forecast": status.forecast,
        "wakeups": status.wakeups,
        "store": None if status.store is None else asdict(status.store),
        "leases": asdict(status.leases),
        "queue": None if status.queue is None else [asdict(backlog) for backlog in status.queue],
        "counters": status.counters,
    }


def info_answer(health: Health) -> dict[str, Any]:
    """Return the body of `GET /worker/info`: what this worker can do, by its configuration."""
    models = health.models
    chat = Model.CHAT in models
    first = next(iter(models.values()), None)
    shown = models.get(Model.CHAT, first)
    return {
        "worker_type": ARCHITECTURE,
        "model": None if shown is None else shown.name,
        "capabilities": {
            "chat": chat,
            "enhancement": chat,
            "generation": chat,
            "hardcoded_prompts": False,
            "prompt_modification": False,
            "pure_inference": True,
            "image_generation": Model.SDXL in models or Model.WAN in models,
            "video_generation": Model.VIDEO in models,
        },
        "architecture": {
            "template_override_risk": "eliminated",
            "separation_of_concerns": "complete",
            "edge_function_control": True,
        },
        "models": {_key(model): report.name for model, report in models.items()},
    }


def health_word(health: Health) -> str:
    """Return the status in one word; what happens to the process goes before what is wrong."""
    if health.phase is not Phase.SERVING:
        return health.phase.value
    return "degraded" if health.reasons else "healthy"


def gpu_utilization(gpus: Sequence[GpuSample]) -> float | None:
    """Return the mean over the GPUs that tell it, percent."""
    told = [gpu.utilization for gpu in gpus if gpu.utilization is not None]
    return round(sum(told) / len(told), 1) if told else None


def memory_usage(gpus: Sequence[GpuSample]) -> float | None:
    """Return the sum over the GPUs that tell it, GB."""
    told = [gpu.memory_used for gpu in gpus if gpu.memory_used is not None]
    return _gb(sum(told)) if told else None


def _resources(status: Status) -> dict[str, Any]:
    host, gpus = status.host, status.health.gpus
    used = None if host is None else host.disk_used
    total = None if host is None else host.disk_total
    return {
        "gpu_utilization": gpu_utilization(gpus),
        "memory_usage": memory_usage(gpus),
        "disk_usage": _gb(used),
        "disk_total": _gb(total),
        "disk_utilization": round(100 * used / total, 1) if used is not None and total else None,
        "memory_total": _sum_gb(gpu.memory_total for gpu in gpus),
        "memory_reserved": _reserved(status.health.devices),
        "process_memory": None if host is None else _gb(host.process_memory),
        "temperature": max(
            (gpu.temperature for gpu in gpus if gpu.temperature is not None), default=None
        ),
    }


def _models(health: Health) -> dict[str, str]:
    states = {_key(model): report.state.value for model, report in health.models.items()}
    return {**states, "architecture": ARCHITECTURE}


def _devices(health: Health) -> list[dict[str, Any]]:
    """Join the scheduler's book of each device with the GPU behind it."""
    gpus = {gpu.index: gpu for gpu in health.gpus}
    books = {device.index: device for device in health.devices}
    joined = []
    for index in sorted(gpus.keys() | books.keys()):
        gpu, book = gpus.get(index), books.get(index)
        joined.append(
            {
                "index": index,
                "name": None if gpu is None else gpu.name,
                "simulated": None if book is None else book.simulated,
                "utilization": None if gpu is None else gpu.utilization,
                "temperature": None if gpu is None else gpu.temperature,
                "memory_used": None if gpu is None else _gb(gpu.memory_used),
                "memory_total": None if gpu is None else _gb(gpu.memory_total),
                "capacity": None if book is None else _gb(book.capacity),
                "reserve": None if book is None else _gb(book.reserve),
                "weights": None if book is None else _gb(book.weights),
                "reserved": None if book is None else _gb(book.reserved),
            }
        )
    return joined


def _reserved(devices: Sequence[DeviceReport]) -> float | None:
    """Return what weights and admitted jobs may take together, GB."""
    return _sum_gb(device.weights + device.reserved for device in devices)


def _sum_gb(amounts: Iterable[int | None]) -> float | None:
    told = [amount for amount in amounts if amount is not None]
    return _gb(sum(told)) if told else None


def _gb(amount: int | None) -> float | None:
    return None if amount is None else round(amount / _GIB, 2)


def _key(model: Model) -> str:
    return _MODEL_KEYS.get(model, model.value)

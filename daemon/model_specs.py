"""From settings to what the scheduler counts with: bytes, and the job types of each class."""

from collections.abc import Iterable, Mapping, Sequence

from daemon.job_types import JOB_TYPES, Model, Quality
from daemon.scheduling.models import DeviceSpec, ModelSpec, QualitySpec
from daemon.sections import GIB, DeviceSettings, ModelSettings
from daemon.settings import SettingsError
from daemon.values import Backlog

TAKE_ALL_AT_THE_LOAD = frozenset({"vllm"})
"""Runners that fill their model's budget at the load, and whose runs live in that."""


def specs_from(models: Mapping[Model, ModelSettings]) -> tuple[ModelSpec, ...]:
    """Return the models as the scheduler sees them.

    Raises:
        SettingsError: a quality has a footprint and no concurrency, or the other way round.
    """
    return tuple(_spec(model, settings) for model, settings in models.items())


def devices_from(
    capacities_bytes: Sequence[int], settings: DeviceSettings
) -> tuple[DeviceSpec, ...]:
    """Return the devices by their measured capacities, or the simulated one if it is set."""
    if settings.simulate_gb is not None:
        capacities_bytes = [int(settings.simulate_gb * GIB)]
    reserve = int(settings.reserve_gb * GIB)
    return tuple(
        DeviceSpec(index, capacity, reserve) for index, capacity in enumerate(capacities_bytes)
    )


def host_bytes_of(settings: DeviceSettings, available_bytes: int | None) -> int:
    """Return the bytes of the host's memory in which weights may wait."""
    if settings.host_gb is not None:
        return int(settings.host_gb * GIB)
    if settings.simulate_gb is not None or available_bytes is None:
        return 0
    return available_bytes // 2


def _spec(model: Model, settings: ModelSettings) -> ModelSpec:
    uneven = settings.footprint_gb.keys() ^ settings.concurrency.keys()
    if uneven:
        raise SettingsError(
            f"model {model}: footprint_gb and concurrency must name the same qualities, "
            f"not in both: {', '.join(sorted(uneven))}"
        )
    spec = ModelSpec(
        name=model,
        budget_bytes=int(settings.budget_gb * GIB),
        weights_bytes=int(settings.weights_gb * GIB),
        max_concurrent=settings.max_concurrent,
        load_s=settings.load_s,
        restore_s=settings.restore_s,
        qualities={
            quality: QualitySpec(
                name=quality,
                footprint_bytes=int(footprint_gb * GIB),
                concurrency=settings.concurrency[quality],
                job_types=_job_types(model, quality),
                run_s=settings.run_s.get(quality, QualitySpec.run_s),
                weight=settings.weight,
            )
            for quality, footprint_gb in settings.footprint_gb.items()
        },
    )
    return spec.including_runs() if settings.runner in TAKE_ALL_AT_THE_LOAD else spec


def classes_of(backlog: Iterable[Backlog]) -> dict[tuple[str, str], int]:
    """Return how many queued jobs of each class, (model, quality), a count of the table shows."""
    counts: dict[tuple[str, str], int] = {}
    for each in backlog:
        job_type = JOB_TYPES.get(each.job_type)
        if job_type is not None:
            key = job_type.model, job_type.quality
            counts[key] = counts.get(key, 0) + each.queued
    return counts


def job_types_of(models: Iterable[ModelSpec]) -> dict[tuple[str, str], tuple[str, ...]]:
    """Return the job types of each class, (model, quality)."""
    return {
        (model.name, quality.name): quality.job_types
        for model in models
        for quality in model.qualities.values()
    }


def _job_types(model: Model, quality: Quality) -> tuple[str, ...]:
    return tuple(
        name
        for name, job_type in JOB_TYPES.items()
        if job_type.model is model and job_type.quality is quality
    )

"""From a job's untrusted request to the parameters that its run uses, by the settings."""

from collections.abc import Mapping
from typing import Any

from daemon.execution import Resolver
from daemon.job_types import JobType
from daemon.jobs import ErrorCode, Job, JobError
from daemon.settings import Settings
from handlers.params import InvalidRequest, Limits, resolve

_MAKE_FILES = frozenset({"image", "video"})


def resolver(settings: Settings) -> Resolver:
    """Return what checks requests; only the fake runner may be told how to fare."""
    limits = {
        model: Limits(allow_fake=chosen.runner == "fake")
        for model, chosen in settings.models.items()
    }
    defaults = {
        model: {quality: each.given() for quality, each in chosen.defaults.items()}
        for model, chosen in settings.models.items()
    }

    def resolved(job_type: JobType, job: Job) -> Mapping[str, Any]:
        try:
            params = resolve(
                job_type.handler,
                job.job_type,
                job_type.model,
                job_type.quality,
                job.request,
                original_prompt=job.original_prompt,
                limits=limits[job_type.model],
                defaults=defaults[job_type.model].get(job_type.quality),
            ).params
        except InvalidRequest as error:
            raise JobError(ErrorCode.INVALID_PROMPT, str(error)) from error
        if settings.artifacts.provenance and job_type.handler in _MAKE_FILES:
            return {**params, "job_id": str(job.id)}
        return params

    return resolved

"""What a job asks of the scheduler."""

from collections.abc import Mapping
from typing import Any

from daemon.job_run import JobRun
from daemon.job_types import JobType
from daemon.values import AdmissionRequest


def request_of(
    run: JobRun, job_type: JobType, params: Mapping[str, Any], *, interactive: bool = False
) -> AdmissionRequest:
    """Return a job's wish for the GPU."""
    job = run.job
    return AdmissionRequest(
        id=str(job.claim_id),
        model=job_type.model,
        quality=job_type.quality,
        user=str(job.user_id) if job.user_id else job.caller or None,
        created_s=run.claimed_at - job.queued_s,
        interactive=interactive,
        alone=job.engine_losses > 0,
        size=size_of(params),
        priority=job.priority,
    )


def size_of(params: Mapping[str, Any]) -> int:
    """Return the pixels of all frames, rounded up to a power of two; 0 where there are none."""
    pixels = int(params.get("width", 0)) * int(params.get("height", 0))
    pixels *= int(params.get("frames", 1))
    return 1 << (pixels - 1).bit_length() if pixels > 0 else 0

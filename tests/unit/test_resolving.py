"""What a job's run is given, by the settings."""

from typing import Any

import pytest
from scripted import a_job

from daemon.job_types import JOB_TYPES
from daemon.jobs import ErrorCode, JobError
from daemon.resolving import resolver
from daemon.settings import load_settings


def resolved(job_type: str, request: Any, overrides: dict[str, Any] | None = None) -> Any:
    job = a_job(job_type=job_type, request=request)
    return resolver(load_settings(None, overrides))(JOB_TYPES[job_type], job), job


@pytest.mark.parametrize("job_type", ["sdxl_image_fast", "wan_image_high", "video_fast"])
def test_files_are_told_their_job(job_type: str) -> None:
    """Unless the settings say that they shall hold nothing but pixels."""
    params, job = resolved(job_type, {"prompt": "a lake"})
    assert params["job_id"] == str(job.id)

    plain = {"artifacts": {"provenance": False}}
    params, _ = resolved(job_type, {"prompt": "a lake"}, plain)
    assert not params["job_id"]


def test_text_is_not() -> None:
    """It makes no file."""
    assert "job_id" not in resolved("chat", {"prompt": "hello"})[0]


def test_an_author_can_not_name_another_job() -> None:
    """A row's metadata is untrusted."""
    params, job = resolved("sdxl_image_fast", {"prompt": "a lake", "job_id": "another"})

    assert params["job_id"] == str(job.id)


def test_a_refusal_is_the_authors_to_read() -> None:
    """With the code of the API."""
    with pytest.raises(JobError) as refusal:
        resolved("sdxl_image_fast", {"prompt": "a lake", "width": 1})

    assert refusal.value.error_code is ErrorCode.INVALID_PROMPT
    assert "width" in refusal.value.message


def test_what_is_left_open_is_the_operators() -> None:
    """Of the model and the quality that the job picks; then the worker's own."""
    defaults = {"fast": {"steps": 4, "guidance_scale": 0}, "high": {"steps": 8}}
    turbo = {"models": {"sdxl": {"defaults": defaults}}}

    found = {
        job_type: resolved(job_type, {"prompt": "a lake"}, turbo)[0]
        for job_type in ("sdxl_image_fast", "sdxl_image_high", "wan_image_fast")
    }

    assert [(each["steps"], each["guidance_scale"]) for each in found.values()] == [
        (4, 0.0),
        (8, 5.0),
        (20, 5.0),
    ]

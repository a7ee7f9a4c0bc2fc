"""Names of result files: pure."""

import re

from daemon.jobs import Job
from daemon.values import ArtifactFile

_UNSAFE = re.compile(r"[^a-z0-9]")
_LONGEST_EXTENSION = 8


def path_of(job: Job, number: int, file: ArtifactFile) -> str:
    """Return `{user_id}/{job_id}/{claim_id}-{n}.{ext}`, the same for the same claim's file.

    The extension comes from a handler: all but letters and digits is dropped, so that no path
    leaves its folder.
    """
    owner = "anonymous" if job.user_id is None else str(job.user_id)
    extension = _UNSAFE.sub("", file.extension.lower())[:_LONGEST_EXTENSION] or "bin"
    return f"{owner}/{job.id}/{job.claim_id}-{number}.{extension}"

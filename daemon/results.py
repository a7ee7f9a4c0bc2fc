"""What a row publishes: the engine's fields and the stored files, in the shapes frontends read."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from daemon.values import Artifact

_URL_FIELDS = {"image": "image_url", "video": "video_url", "thumbnail": "thumbnail_url"}


def result_of(fields: Mapping[str, Any], artifacts: Sequence[Artifact]) -> dict[str, Any]:
    """Join a run's fields with its files.

    `image_url`, `video_url` and `thumbnail_url` are the first file of their kind; every file stands
    in `artifacts` with bucket, path, content type and size in bytes.
    """
    result = dict(fields)
    for artifact in artifacts:
        result.setdefault(_URL_FIELDS.get(artifact.kind, f"{artifact.kind}_url"), artifact.url)
    if artifacts:
        result["artifacts"] = [asdict(artifact) for artifact in artifacts]
    return result

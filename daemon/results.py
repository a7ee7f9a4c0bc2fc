"""What a row publishes: the engine's fields and the stored files, in the shapes frontends read."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from daemon.values import Artifact

_URL_FIELDS = {"image": "image_url", "video": "video_url", "thumbnail": "thumbnail_url"}


def noted(fields: Mapping[str, Any], notes: Mapping[str, Any]) -> Mapping[str, Any]:
    """Add notes to the metadata of a run's fields."""
    if not notes:
        return fields
    return {**fields, "metadata": {**fields.get("metadata", {}), **notes}}


def result_of(
    fields: Mapping[str, Any],
    artifacts: Sequence[Artifact],
    timings: Mapping[str, float] | None = None,
) -> dict[str, Any]:
    """Join a run's fields with its files, and with where its time went.

    `image_url`, `video_url` and `thumbnail_url` are the first file of their kind; every file stands
    in `artifacts` with bucket, path, content type and size in bytes. `timings` are seconds that add
    up to the time from when the row was due to now.
    """
    result = dict(fields)
    if timings:
        result["timings"] = {name: round(seconds, 3) for name, seconds in timings.items()}
    for artifact in artifacts:
        result.setdefault(_URL_FIELDS.get(artifact.kind, f"{artifact.kind}_url"), artifact.url)
    if artifacts:
        result["artifacts"] = [asdict(artifact) for artifact in artifacts]
    return result

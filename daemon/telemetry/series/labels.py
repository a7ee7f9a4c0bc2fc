"""The labels of all series, and every value that each may have.

A label without values takes numbers or names that the host itself brings, such as its devices.
Nothing that a stranger writes becomes a value as it is: what isn't known becomes "other".
"""

from daemon.job_types import JOB_TYPES, Model, Quality
from daemon.jobs import ErrorCode
from daemon.values import Loss

OTHER = "other"
"""Stands for whatever isn't known."""


class Label:
    """A label's name, its meaning, and its values.

    Args:
        name: as it stands in the exposition.
        says: half a sentence for the reference.
        values: all that there are; none: see the module.
        open_ended: whether a stranger's value may arrive, which is then shown as "other".
    """

    def __init__(self, name: str, says: str, *values: str, open_ended: bool = False) -> None:
        self.name = name
        self.says = says
        self.values = tuple(str(value) for value in values) + ((OTHER,) if open_ended else ())
        self._known = frozenset(self.values)

    def of(self, value: str) -> str:
        """Return the value if it is known, else "other"."""
        return value if value in self._known else OTHER


JOB_TYPE = Label("job_type", "the row's job type", *JOB_TYPES, open_ended=True)
MODEL = Label("model", "the family of weights", *Model, open_ended=True)
QUALITY = Label("quality", "how much time and memory a job may take", *Quality, open_ended=True)
STATUS = Label("status", "of the row", "queued", "processing")
OUTCOME = Label(
    "outcome",
    "how a run ended; `lost`: its lease was gone, so nothing was recorded",
    "completed",
    "failed",
    "retry",
    "cancelled",
    "released",
    "lost",
    open_ended=True,
)
CODE = Label("code", "the error code of the row", *ErrorCode, open_ended=True)
PHASE = Label(
    "phase",
    "a part of a job's way, in this order",
    "wake_up",
    "queue",
    "vram",
    "switch",
    "load",
    "run",
    "upload",
    "finish",
    open_ended=True,
)
SOURCE = Label("source", "what announces new rows", "listen", "broadcast", "realtime")
STATE = Label(
    "state",
    "where a model's weights are",
    "loaded",
    "loading",
    "evicting",
    "host",
    "unloaded",
    "failed",
)
ORIGIN = Label("origin", "where weights were loaded from", "disk", "host")
LOSS = Label("loss", "in which way an engine was lost", *Loss)
DURING = Label("during", "what the engine was doing", "load", "run")
MOVE = Label("move", "between disk, host and device", "load", "restore", "offload", "unload")
DEVICE = Label("device", "the GPU's position among those that this worker may use, from 0")
DEVICE_KIND = Label(
    "kind",
    "what a device's bytes are: there, kept free, taken by weights, promised to runs",
    "capacity",
    "reserve",
    "weights",
    "reserved",
)
MODEL_KIND = Label(
    "kind", "a model's bytes: taken by weights, promised to runs", "weights", "reserved"
)
STORE_CALL = Label(
    "call",
    "the store's method",
    "check_schema",
    "claim",
    "renew",
    "progress",
    "finish",
    "sweep",
    "beat_canary",
    "queue_summary",
    "foretell",
    "submit",
    "look",
    "cancel",
)
STORE_ERROR = Label("error", "no answer came, or the database refused", "unavailable", "rejected")
ARTIFACT_CALL = Label("call", "the artifact store's method", "save", "remove", "check")
ARTIFACT_OUTCOME = Label("outcome", "of the call, after all its tries", "ok", "failed")
FILE_KIND = Label("kind", "of the file", "image", "video", "thumbnail", open_ended=True)
WORKER_TYPE = Label("worker_type", "which models are served", "all", *Model)
VERSION = Label("version", "of the daemon")


def class_of(job_type: str) -> tuple[str, str]:
    """Return the model and the quality of a job type."""
    known = JOB_TYPES.get(job_type)
    return (OTHER, OTHER) if known is None else (known.model.value, known.quality.value)


ROUTE = Label("route", "the pattern of the path, such as `/jobs/{job_id}`; `other`: there is none")
HTTP_STATUS = Label(
    "status",
    "of the answer; 499: the client had gone",
    *map(str, (200, 202, 204, 304, 400, 401, 404, 405, 408, 409, 410, 413, 415, 422, 429)),
    *map(str, (499, 500, 503)),
    open_ended=True,
)

"""What the scheduler decides: acts that somebody else carries out and reports back."""

from dataclasses import dataclass, field

from daemon.jobs import ErrorCode
from daemon.values import NO_WAIT, Waits


@dataclass(frozen=True, slots=True)
class StartRun:
    """The request may use the model on the device: its bytes are reserved."""

    request_id: str
    model: str
    device: int


@dataclass(frozen=True, slots=True)
class LoadModel:
    """Load the model, from the host's memory if its engine waits there, else from disk.

    Report `load_done` or, once its engine is gone, `load_failed`.
    """

    model: str
    device: int


@dataclass(frozen=True, slots=True)
class OffloadModel:
    """Move the model's weights to the host's memory; report `offload_done`, or `engine_lost`."""

    model: str
    device: int


@dataclass(frozen=True, slots=True)
class UnloadModel:
    """End the model's engine; report `unload_done` when its bytes are free for certain."""

    model: str
    device: int


@dataclass(frozen=True, slots=True)
class RefuseRequest:
    """The request can't be granted; it is no longer known here."""

    request_id: str
    error_code: ErrorCode
    message: str
    waited: Waits = field(default=NO_WAIT, compare=False, repr=False)
    """Seconds that it had waited, by reason."""


Command = StartRun | LoadModel | OffloadModel | UnloadModel | RefuseRequest

"""What handlers and runners agree on: a model's description, a run's control, results, errors."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from enum import IntEnum
from typing import Any, Protocol

from handlers.requests import ImageRequest, Message, TextRequest, VideoRequest

INVALID_PROMPT = "INVALID_PROMPT"
MODEL_LOAD_FAILED = "MODEL_LOAD_FAILED"
VRAM_OVERFLOW = "VRAM_OVERFLOW"
GENERATION_FAILED = "GENERATION_FAILED"


class Saving(IntEnum):
    """How far a run goes to save the device's memory, at the cost of time."""

    NONE = 0
    TILED = 1
    """Pictures are decoded tile by tile, and one at a time."""
    OFFLOADED = 2
    """Beside that only the component that computes is on the device."""


class RunError(Exception):
    """A run or a load that failed: a sentence for people and an error code for programs."""

    def __init__(self, error_code: str, message: str) -> None:
        super().__init__(message)
        self.error_code = error_code
        self.message = message


class StoppedError(Exception):
    """The run was asked to stop; raised at its next step."""


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """Which model an engine loads, and how.

    Attributes:
        model: the family, such as `sdxl`.
        name: the name shown to users.
        path: a folder or file of weights, or a hub's name of one.
        runner: the code that holds it, a key of `registry`.
        dtype: `auto`, `float32`, `float16` or `bfloat16`.
        device: `auto`, `cpu` or `cuda`.
        max_concurrent: the most runs at a time.
        options: the runner's own settings.
        budget_bytes: the most that it may hold of the device; 0: nobody said.
    """

    model: str
    name: str
    path: str
    runner: str
    dtype: str = "auto"
    device: str = "auto"
    max_concurrent: int = 1
    options: Mapping[str, Any] = field(default_factory=dict)
    budget_bytes: int = 0

    def fields(self) -> dict[str, Any]:
        """Return the fields by name."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class ResultFile:
    """A file that a run made. `kind` is `image`, `video` or `thumbnail`."""

    kind: str
    content_type: str
    extension: str
    data: bytes


@dataclass(frozen=True, slots=True)
class RunResult:
    """What a run made: JSON fields, files in order, and seconds by phase."""

    fields: Mapping[str, Any]
    files: Sequence[ResultFile] = ()
    timings: Mapping[str, float] = field(default_factory=dict)


class Control(Protocol):
    """A run's line to the outside: steps go out, the wish to stop comes in."""

    def step(
        self, current_step: str, fraction: float, step: int | None = None, steps: int | None = None
    ) -> None:
        """Report how far the run is, 0.0 to 1.0; raises `StoppedError` if it shall stop."""
        ...

    def tell(self, text: str) -> None:
        """Hand out the next piece of an answer; it goes out with the next step."""
        ...

    def show(self, picture: bytes) -> None:
        """Hand out a small JPEG of what is drawn so far; it goes out with the next step."""
        ...

    def check(self) -> None:
        """Raise `StoppedError` if the run shall stop."""
        ...


@dataclass(frozen=True, slots=True)
class TextAnswer:
    """An answer of a language model.

    Attributes:
        finish_reason: `stop` or `length`.
        messages: as they stood in the prompt; None: as they were given.
        respected: nothing else stood in the prompt.
    """

    text: str
    prompt_tokens: int
    completion_tokens: int
    finish_reason: str
    messages: Sequence[Message] | None = None
    respected: bool = True


@dataclass(frozen=True, slots=True)
class ImageAnswer:
    """A picture as PNG, and what its metadata shall say beside the request's values."""

    png: bytes
    notes: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class VideoAnswer:
    """A film as MP4, one of its frames as a picture, and what its metadata shall say beside."""

    mp4: bytes
    thumbnail: bytes
    thumbnail_type: str = "image/jpeg"
    thumbnail_extension: str = "jpg"
    notes: Mapping[str, Any] = field(default_factory=dict)


class Runner(Protocol):
    """A loaded model. Its methods block and are called from several threads at once.

    A runner has the methods of the requests that it can serve, and reports those here.
    """

    name: str

    def description(self) -> dict[str, str]:
        """Return what a picture's metadata says of the model: `model`, `model_name`."""
        ...

    def serves(self) -> frozenset[str]:
        """Return the handlers that this model can serve."""
        ...

    def savings(self) -> Saving:
        """Return how far its runs can go to save memory."""
        ...

    def offloads(self) -> bool:
        """Say whether its weights can wait in the host's memory."""
        ...

    def offload(self) -> int:
        """Move the weights to the host's memory; return the bytes that they take there.

        No run is in it, and none comes before `restore`. Only where it `offloads`.
        """
        ...

    def restore(self) -> None:
        """Move the weights back to the device."""
        ...

    def close(self) -> None:
        """Give back what it holds; no run is in it any more."""
        ...


class TextRunner(Runner, Protocol):
    """A loaded language model."""

    def text(self, request: TextRequest, control: Control) -> TextAnswer:
        """Answer the messages, and nothing but the messages."""
        ...


class ImageRunner(Runner, Protocol):
    """A loaded model of pictures."""

    def image(self, request: ImageRequest, seed: int, control: Control) -> ImageAnswer:
        """Return one picture; the same request and seed, the same bytes."""
        ...


class VideoRunner(Runner, Protocol):
    """A loaded model of films."""

    def video(self, request: VideoRequest, control: Control) -> VideoAnswer:
        """Return a film; the same request, the same bytes."""
        ...

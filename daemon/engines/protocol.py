"""What daemon and engine say to each other: frames of msgpack over one byte stream; no I/O here.

A frame is the length of its body (4 bytes, big-endian) and the body: one tagged message. Nothing
in it refers to this host (no shared memory, no file, no process id): files travel as bytes, so
that an engine can stand elsewhere.

    daemon                    engine
                          <-- Hello           the process is up, nothing is loaded
    Load                  -->
                          <-- Loaded | LoadFailed
    Run                   -->
                          <-- Step*           the latest one wins, its text grows
    Cancel                -->
                          <-- Done | RunFailed | RunCancelled      exactly one per run
    Offload               -->                     no run is in the engine
                          <-- Offloaded | OffloadFailed
    Restore               -->
                          <-- Loaded | LoadFailed
    Ping                  -->
                          <-- Pong
                          <-- Fatal           the engine ends, and says why
    Shutdown              --> (the engine ends)
"""

from collections.abc import Iterator, Mapping
from typing import Any, Generic, TypeVar

import msgspec

from daemon.engines.figures import Activity, Held, Savings, Seconds

MAX_FRAME_BYTES = 512 * 2**20
"""The longest body; a longer one means a fault, not a film."""

PROTOCOL_VERSION = 4
_LENGTH_BYTES = 4


class ProtocolError(Exception):
    """The other side sent something that isn't a message, or stopped in the middle of one."""


class Load(msgspec.Struct, frozen=True, tag="load"):
    """Load a model; the fields are those of `handlers.base.ModelSpec`."""

    model: str
    name: str
    path: str
    runner: str
    dtype: str
    device: str
    max_concurrent: int
    options: Mapping[str, Any]
    budget_bytes: int = 0


class Run(msgspec.Struct, frozen=True, tag="run"):
    """Run a handler on the loaded model."""

    run_id: str
    handler: str
    params: Mapping[str, Any]


class Cancel(msgspec.Struct, frozen=True, tag="cancel"):
    """Stop a run at its next step; an unknown id is ignored."""

    run_id: str


class Offload(msgspec.Struct, frozen=True, tag="offload"):
    """Move the weights to the host's memory."""


class Restore(msgspec.Struct, frozen=True, tag="restore"):
    """Move the weights back to the device."""


class Shutdown(msgspec.Struct, frozen=True, tag="shutdown"):
    """End: stop the runs at their next step, give back what is held, exit."""


class Ping(msgspec.Struct, frozen=True, tag="ping"):
    """Answer with a `Pong` of the same number."""

    number: int


class Hello(msgspec.Struct, frozen=True, tag="hello"):
    """The engine is up and waits for `Load`."""

    version: int = PROTOCOL_VERSION


class Loaded(msgspec.Struct, frozen=True, tag="loaded"):
    """The model is in memory: the bytes its weights took and the seconds it took.

    `offloads` says whether `Offload` may be asked, `savings` is the highest `handlers.base.Saving`.
    """

    weights_bytes: Held
    seconds: Seconds
    offloads: bool = False
    savings: Savings = 0


class LoadFailed(msgspec.Struct, frozen=True, tag="load_failed"):
    """The model can't be loaded; the engine is of no further use."""

    error_code: str
    message: str


class Offloaded(msgspec.Struct, frozen=True, tag="offloaded"):
    """The weights wait in the host's memory: what is left on the device, what they take there."""

    left_bytes: Held
    host_bytes: Held
    seconds: Seconds


class OffloadFailed(msgspec.Struct, frozen=True, tag="offload_failed"):
    """The weights can't be moved; the engine is of no further use."""

    error_code: str
    message: str


class Step(msgspec.Struct, frozen=True, tag="step"):
    """How far a run is: `fraction` 0.0 to 1.0 of the whole; and what is new since the last one.

    `text` is the next piece of an answer, `preview` a small JPEG of what is drawn so far.
    """

    run_id: str
    current_step: str
    fraction: float
    step: int | None = None
    steps: int | None = None
    text: str = ""
    preview: bytes | None = None

    def after(self, unsent: "Step") -> "Step":
        """Return this step with what is new in an earlier one that wasn't sent."""
        preview = unsent.preview if self.preview is None else self.preview
        return msgspec.structs.replace(self, text=unsent.text + self.text, preview=preview)


class File(msgspec.Struct, frozen=True):
    """A result file with its bytes."""

    kind: str
    content_type: str
    extension: str
    data: bytes


class Done(msgspec.Struct, frozen=True, tag="done"):
    """A run succeeded. `timings` are seconds by phase.

    `held_bytes`, here and below: what the engine holds when no other run is in it, else None.
    """

    run_id: str
    fields: Mapping[str, Any]
    files: list[File]
    peak_bytes: int | None
    timings: Mapping[str, float]
    held_bytes: int | None = None


class RunFailed(msgspec.Struct, frozen=True, tag="run_failed"):
    """A run failed; the engine lives on."""

    run_id: str
    error_code: str
    message: str
    held_bytes: int | None = None


class RunCancelled(msgspec.Struct, frozen=True, tag="run_cancelled"):
    """A run stopped at a step because it was asked to."""

    run_id: str
    held_bytes: int | None = None


class Fatal(msgspec.Struct, frozen=True, tag="fatal"):
    """The engine can't go on and is about to end; its runs are lost.

    `poisoned`: its device's context is broken; otherwise something else that it needs has ended.
    """

    cause: str
    poisoned: bool = True


class Pong(msgspec.Struct, frozen=True, tag="pong"):
    """The engine lives; `memory_bytes` is what it holds now beyond an empty process.

    `activity` comes while weights move; None: they don't, or it couldn't be measured.
    """

    number: int
    memory_bytes: int
    activity: Activity | None = None


FromDaemon = Load | Run | Cancel | Offload | Restore | Shutdown | Ping
RunEnd = Done | RunFailed | RunCancelled
FromEngine = Hello | Loaded | LoadFailed | Offloaded | OffloadFailed | Step | RunEnd | Fatal | Pong

MessageT = TypeVar("MessageT")


def encode(message: FromDaemon | FromEngine, max_bytes: int = MAX_FRAME_BYTES) -> bytes:
    """Return the message as one frame.

    Raises:
        ProtocolError: the message is longer than `max_bytes`, or holds what msgpack can't.
    """
    frame = bytearray(_LENGTH_BYTES)
    try:
        _ENCODER.encode_into(message, frame, _LENGTH_BYTES)
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        raise ProtocolError(f"a {type(message).__name__} can't be sent: {error}") from error
    body_bytes = len(frame) - _LENGTH_BYTES
    if body_bytes > max_bytes:
        raise ProtocolError(
            f"a {type(message).__name__} of {body_bytes:,} bytes is longer than {max_bytes:,}"
        )
    frame[:_LENGTH_BYTES] = body_bytes.to_bytes(_LENGTH_BYTES, "big")
    return bytes(frame)


class FrameReader(Generic[MessageT]):
    """Turns received bytes, cut anywhere, into messages. Of no use after a `ProtocolError`."""

    def __init__(
        self, decoder: "msgspec.msgpack.Decoder[MessageT]", max_bytes: int = MAX_FRAME_BYTES
    ) -> None:
        self._decoder = decoder
        self._max_bytes = max_bytes
        self._buffer = bytearray()

    def feed(self, data: bytes) -> Iterator[MessageT]:
        """Take received bytes and yield each message that is now whole.

        Raises:
            ProtocolError: a frame is longer than allowed or isn't a message.
        """
        self._buffer += data
        while (message := self._next()) is not None:
            yield message

    def end(self) -> None:
        """Say that nothing more comes; raises `ProtocolError` if a frame is incomplete."""
        if self._buffer:
            raise ProtocolError(f"the stream ended {len(self._buffer)} bytes into a frame")

    def _next(self) -> MessageT | None:
        if len(self._buffer) < _LENGTH_BYTES:
            return None
        length = int.from_bytes(self._buffer[:_LENGTH_BYTES], "big")
        if length > self._max_bytes:
            raise ProtocolError(f"a frame of {length:,} bytes is longer than {self._max_bytes:,}")
        end = _LENGTH_BYTES + length
        if len(self._buffer) < end:
            return None
        with memoryview(self._buffer) as view:
            try:
                message = self._decoder.decode(view[_LENGTH_BYTES:end])
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
                raise ProtocolError(f"a frame isn't a message: {error}") from None
        del self._buffer[:end]
        return message


_ENCODER = msgspec.msgpack.Encoder()


def reader_of_engine(max_bytes: int = MAX_FRAME_BYTES) -> FrameReader[FromEngine]:
    """Return a reader for the daemon's side."""
    return FrameReader(msgspec.msgpack.Decoder(FromEngine), max_bytes)


def reader_of_daemon(max_bytes: int = MAX_FRAME_BYTES) -> FrameReader[FromDaemon]:
    """Return a reader for the engine's side."""
    return FrameReader(msgspec.msgpack.Decoder(FromDaemon), max_bytes)

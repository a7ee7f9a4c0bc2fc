"""A runner without a model: deterministic answers, and faults on demand.

The request's `fake` field says how a run goes:

    steps           int     number of steps, by default the request's own
    step_s          float   seconds that each step takes, by default 0
    fail            str     fail with this message after the steps
    error_code      str     the code of that failure, by default GENERATION_FAILED
    crash           int     end the process with this status at the middle step
    crash_once      str     the same, unless this file exists; it is made first
    ignore_cancel   bool    don't stop when asked to
    hold            str     at the middle step, wait until this file exists
    end_mark        str     make this file at the very end of the run, however it ends
    broken          bool    fail as a broken CUDA context does
    bytes           int     size of the text or file that is made
    peak            int     bytes that are really held during the run
    leak            int     bytes that are really held from the run on, for ever
    oom_times       int     so many first runs of this engine run out of memory
    oom_until_saving int    run out of memory unless the request saves so much
    preview         int     show a preview of so many bytes at each step
    starve_s        float   let no other thread of the engine run for so many seconds

The model's options may hold

    load_s, load_fail, load_crash       seconds, a message, an exit status of the load
    load_needs                          a file without which the load fails
    load_waits                          a file that the load waits for
    load_hangs                          the load never ends, and uses nothing
    load_crawls                         a file that the load waits for, reading a little meanwhile
    load_fault                          a file that the next load takes away, and does what it says:
                                        fail, crash, broken, oom
    close_s                             seconds that the engine takes to let its model go
    child                               a command that runs beside the model, as those of vLLM do
    weights                             bytes that the model really holds
    offload                             it can be moved to the host's memory
    offload_s, offload_fail             seconds and a message of that move
    restore_s, restore_fail             the same of the way back
    offload_hangs, restore_hangs        that move never ends, and uses nothing
    savings                             how far its runs can go to save memory, by default 2
"""

import ctypes
import itertools
import os
import random
import struct
import subprocess
import threading
import time
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from handlers.base import (
    GENERATION_FAILED,
    MODEL_LOAD_FAILED,
    Control,
    ImageAnswer,
    ModelSpec,
    RunError,
    Saving,
    StoppedError,
    TextAnswer,
    VideoAnswer,
)
from handlers.requests import ImageRequest, TextRequest, VideoRequest

_TEXT_STEPS = 8
_SIDE = 8
_BROKEN = "CUDA error: an illegal memory access was encountered"


def load(spec: ModelSpec) -> "FakeRunner":
    """Load nothing, as the options say."""
    if (command := spec.options.get("child")) is not None:
        subprocess.Popen(command)  # noqa: S603 -- the operator's own settings
    time.sleep(float(spec.options.get("load_s", 0)))
    while (awaited := spec.options.get("load_waits")) and not Path(awaited).exists():
        time.sleep(0.01)
    if spec.options.get("load_hangs"):
        _hang()
    _crawl(spec.options.get("load_crawls"))
    if (status := spec.options.get("load_crash")) is not None:
        os._exit(int(status))
    if (message := spec.options.get("load_fail")) is not None:
        raise RunError(MODEL_LOAD_FAILED, str(message))
    _strike(spec.options.get("load_fault"))
    needed = spec.options.get("load_needs")
    if needed is not None and not Path(needed).exists():
        raise RunError(MODEL_LOAD_FAILED, f"{needed} doesn't exist")
    return FakeRunner(spec)


def _hang() -> None:
    """Wait as for a mount that doesn't answer: only a signal ends it."""
    threading.Event().wait()


def _crawl(path: str | None) -> None:
    """Go on as slow weights do, until a file exists."""
    while path is not None and not Path(path).exists():
        with open("/dev/zero", "rb") as slow:  # noqa: PTH123 -- a device
            slow.read(2**20)
        time.sleep(0.1)


def _strike(path: str | None) -> None:
    """Do what a file says, once."""
    if path is None or not Path(path).exists():
        return
    fault = Path(path).read_text().strip()
    Path(path).unlink()
    match fault:
        case "crash":
            os._exit(9)
        case "broken":
            raise RuntimeError(_BROKEN)
        case "oom":
            raise MemoryError("out of memory")
        case _:
            raise RunError(MODEL_LOAD_FAILED, f"{path} says: {fault}")


class FakeRunner:
    """Serves every handler."""

    def __init__(self, spec: ModelSpec) -> None:
        self._spec = spec
        self.name = spec.name
        self._weights = _touched(int(spec.options.get("weights", 0)))
        self._leaked: list[bytes] = []
        self._runs = itertools.count(1)

    def description(self) -> dict[str, str]:
        """Return what metadata says of the model."""
        return {"model": self._spec.model, "model_name": self.name}

    def serves(self) -> frozenset[str]:
        """Return every handler's name."""
        return frozenset({"chat", "enhance", "generate", "image", "video"})

    def savings(self) -> Saving:
        """Return what the options say."""
        return Saving(int(self._spec.options.get("savings", Saving.OFFLOADED)))

    def offloads(self) -> bool:
        """Return what the options say."""
        return bool(self._spec.options.get("offload"))

    def offload(self) -> int:
        """Move nothing, as the options say; host and device are the same memory here."""
        self._move("offload")
        return len(self._weights)

    def restore(self) -> None:
        """Move nothing back."""
        self._move("restore")

    def _move(self, name: str) -> None:
        if self._spec.options.get(f"{name}_hangs"):
            _hang()
        time.sleep(float(self._spec.options.get(f"{name}_s", 0)))
        if (message := self._spec.options.get(f"{name}_fail")) is not None:
            raise RuntimeError(str(message))

    def close(self) -> None:
        """Hold nothing, as slowly as the options say."""
        time.sleep(float(self._spec.options.get("close_s", 0)))

    def text(self, request: TextRequest, control: Control) -> TextAnswer:
        """Answer with the last message."""
        text = f"You said: {request.messages[-1].content}"
        if (size := request.fake.get("bytes")) is not None:
            text = "x" * int(size)
        self._steps(request.fake, _TEXT_STEPS, "generating_text", _Speaking(control, text))
        words = sum(len(message.content.split()) for message in request.messages)
        return TextAnswer(text, words, len(text.split()), "stop")

    def image(self, request: ImageRequest, seed: int, control: Control) -> ImageAnswer:
        """Return a small picture in a colour drawn with the seed."""
        self._steps(request.fake, request.steps, "generating_image", control, request.saving)
        return ImageAnswer(_png(seed, request.fake))

    def video(self, request: VideoRequest, control: Control) -> VideoAnswer:
        """Return bytes that pass for a film."""
        self._steps(request.fake, request.steps, "generating_video", control, request.saving)
        film = random.Random(request.seed).randbytes(int(request.fake.get("bytes", 64)))  # noqa: S311 -- pixels
        head = struct.pack(">I", 16) + b"ftypisom" + bytes(4)
        return VideoAnswer(head + film, _png(request.seed, {}), "image/png", "png")

    def _steps(
        self,
        fake: Mapping[str, Any],
        usual: int,
        current_step: str,
        control: Control,
        saving: int = Saving.NONE,
    ) -> None:
        peak = _touched(int(fake.get("peak", 0)))
        self._leaked.append(_touched(int(fake.get("leak", 0))))
        if next(self._runs) <= int(fake.get("oom_times", 0)) or saving < int(
            fake.get("oom_until_saving", 0)
        ):
            raise MemoryError(f"out of memory with {len(peak)} bytes in use")
        try:
            self._take_steps(fake, int(fake.get("steps", usual)), current_step, control)
        finally:
            if (mark := fake.get("end_mark")) is not None:
                Path(mark).touch()

    def _take_steps(
        self, fake: Mapping[str, Any], steps: int, current_step: str, control: Control
    ) -> None:
        for number in range(1, steps + 1):
            if number == steps // 2 + 1:
                _misbehave(fake)
                _hold(fake, control)
            time.sleep(float(fake.get("step_s", 0)))
            if (size := fake.get("preview")) is not None:
                control.show(_jpeg(number, int(size)))
            try:
                control.step(current_step, number / steps, number, steps)
            except StoppedError:
                if not fake.get("ignore_cancel"):
                    raise
        if (message := fake.get("fail")) is not None:
            raise RunError(str(fake.get("error_code", GENERATION_FAILED)), str(message))


class _Speaking:
    """Implements `Control` for a run that says its text bit by bit."""

    def __init__(self, control: Control, text: str) -> None:
        self._control = control
        self._text = text
        self._said = 0
        self.check, self.tell, self.show = control.check, control.tell, control.show

    def step(
        self, current_step: str, fraction: float, step: int | None = None, steps: int | None = None
    ) -> None:
        until = round(len(self._text) * fraction)
        self._control.tell(self._text[self._said : until])
        self._said = until
        self._control.step(current_step, fraction, step, steps)


def _touched(size: int) -> bytes:
    """Return so many bytes that the kernel had to find memory for."""
    return b"\1" * size


def _hold(fake: Mapping[str, Any], control: Control) -> None:
    while (awaited := fake.get("hold")) is not None and not Path(awaited).exists():
        if not fake.get("ignore_cancel"):
            control.check()
        time.sleep(0.01)


def _misbehave(fake: Mapping[str, Any]) -> None:
    if (seconds := fake.get("starve_s")) is not None:
        # A foreign function that doesn't let go of the interpreter.
        ctypes.PyDLL(None).usleep(int(float(seconds) * 1e6))
    if fake.get("broken"):
        raise RuntimeError(_BROKEN)
    if (mark := fake.get("crash_once")) is not None:
        if Path(mark).exists():
            return
        Path(mark).touch()
    if (status := fake.get("crash")) is not None:
        os._exit(int(status))


def _jpeg(number: int, size: int) -> bytes:
    """Return so many bytes that begin and end as a JPEG does, and differ from step to step."""
    return b"\xff\xd8" + struct.pack(">I", number) + bytes(max(0, size - 8)) + b"\xff\xd9"


def _png(seed: int, fake: Mapping[str, Any]) -> bytes:
    colour = random.Random(seed).randbytes(3)  # noqa: S311 -- pixels
    rows = (b"\0" + colour * _SIDE) * _SIDE
    header = struct.pack(">IIBBBBB", _SIDE, _SIDE, 8, 2, 0, 0, 0)
    padding = bytes(int(fake.get("bytes", 0)))
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"paDd", padding), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(*chunk) for chunk in chunks)


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

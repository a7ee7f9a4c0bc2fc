"""A runner without a model: deterministic answers, and faults on demand.

The request's `fake` field says how a run goes:

    steps           int     number of steps, by default the request's own
    step_s          float   seconds that each step takes, by default 0
    fail            str     fail with this message after the steps
    error_code      str     the code of that failure, by default GENERATION_FAILED
    crash           int     end the process with this status at the middle step
    crash_once      str     the same, unless this file exists; it is made first
    ignore_cancel   bool    don't stop when asked to
    end_mark        str     make this file at the very end of the run, however it ends
    broken          bool    fail as a broken CUDA context does
    bytes           int     size of the text or file that is made

The model's options may hold `load_s` (seconds), `load_fail` (a message), `load_crash` (an exit
status) and `child` (a command that runs beside the model, as those of vLLM do).
"""

import os
import random
import struct
import subprocess
import time
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from handlers.base import (
    GENERATION_FAILED,
    MODEL_LOAD_FAILED,
    Control,
    ModelSpec,
    RunError,
    StoppedError,
    TextAnswer,
    VideoAnswer,
)
from handlers.requests import ImageRequest, TextRequest, VideoRequest

_TEXT_STEPS = 8
_SIDE = 8


def load(spec: ModelSpec) -> "FakeRunner":
    """Load nothing, as the options say."""
    if (command := spec.options.get("child")) is not None:
        subprocess.Popen(command)  # noqa: S603 -- the operator's own settings
    time.sleep(float(spec.options.get("load_s", 0)))
    if (status := spec.options.get("load_crash")) is not None:
        os._exit(int(status))
    if (message := spec.options.get("load_fail")) is not None:
        raise RunError(MODEL_LOAD_FAILED, str(message))
    return FakeRunner(spec)


class FakeRunner:
    """Serves every handler."""

    def __init__(self, spec: ModelSpec) -> None:
        self._spec = spec
        self.name = spec.name

    def description(self) -> dict[str, str]:
        """Return what metadata says of the model."""
        return {"model": self._spec.model, "model_name": self.name}

    def serves(self) -> frozenset[str]:
        """Return every handler's name."""
        return frozenset({"chat", "enhance", "generate", "image", "video"})

    def close(self) -> None:
        """Hold nothing."""

    def text(self, request: TextRequest, control: Control) -> TextAnswer:
        """Answer with the last message."""
        self._steps(request.fake, _TEXT_STEPS, "generating_text", control)
        text = f"You said: {request.messages[-1].content}"
        if (size := request.fake.get("bytes")) is not None:
            text = "x" * int(size)
        words = sum(len(message.content.split()) for message in request.messages)
        return TextAnswer(text, words, len(text.split()), "stop")

    def image(self, request: ImageRequest, seed: int, control: Control) -> bytes:
        """Return a small picture in a colour drawn with the seed."""
        self._steps(request.fake, request.steps, "generating_image", control)
        return _png(seed, request.fake)

    def video(self, request: VideoRequest, control: Control) -> VideoAnswer:
        """Return bytes that pass for a film."""
        self._steps(request.fake, request.steps, "generating_video", control)
        film = random.Random(request.seed).randbytes(int(request.fake.get("bytes", 64)))  # noqa: S311 -- pixels
        head = struct.pack(">I", 16) + b"ftypisom" + bytes(4)
        return VideoAnswer(head + film, _png(request.seed, {}), "image/png", "png")

    def _steps(
        self, fake: Mapping[str, Any], usual: int, current_step: str, control: Control
    ) -> None:
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
            time.sleep(float(fake.get("step_s", 0)))
            try:
                control.step(current_step, number / steps, number, steps)
            except StoppedError:
                if not fake.get("ignore_cancel"):
                    raise
        if (message := fake.get("fail")) is not None:
            raise RunError(str(fake.get("error_code", GENERATION_FAILED)), str(message))


def _misbehave(fake: Mapping[str, Any]) -> None:
    if fake.get("broken"):
        raise RuntimeError("CUDA error: an illegal memory access was encountered")
    if (mark := fake.get("crash_once")) is not None:
        if Path(mark).exists():
            return
        Path(mark).touch()
    if (status := fake.get("crash")) is not None:
        os._exit(int(status))


def _png(seed: int, fake: Mapping[str, Any]) -> bytes:
    colour = random.Random(seed).randbytes(3)  # noqa: S311 -- pixels
    rows = (b"\0" + colour * _SIDE) * _SIDE
    header = struct.pack(">IIBBBBB", _SIDE, _SIDE, 8, 2, 0, 0, 0)
    padding = bytes(int(fake.get("bytes", 0)))
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"paDd", padding), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(*chunk) for chunk in chunks)


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

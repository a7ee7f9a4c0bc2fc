"""Chat, enhance and generate: messages in, text out, in three result shapes."""

import time
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from handlers.base import Control, RunResult, TextAnswer, TextRunner
from handlers.requests import TextRequest
from handlers.results import chat_result, enhance_result, generate_result

_Shape = Callable[[TextRequest, TextAnswer, str, float], dict[str, Any]]


def chat(runner: TextRunner, params: Mapping[str, Any], control: Control) -> RunResult:
    """Answer a conversation."""
    return _answer(runner, params, control, chat_result)


def enhance(runner: TextRunner, params: Mapping[str, Any], control: Control) -> RunResult:
    """Rewrite a prompt as the caller's messages ask for."""
    return _answer(runner, params, control, enhance_result)


def generate(runner: TextRunner, params: Mapping[str, Any], control: Control) -> RunResult:
    """Answer any messages."""
    return _answer(runner, params, control, generate_result)


def _answer(
    runner: TextRunner, params: Mapping[str, Any], control: Control, shape: _Shape
) -> RunResult:
    request = msgspec.convert(params, TextRequest)
    started = time.monotonic()
    answer = runner.text(request, control)
    seconds = time.monotonic() - started
    return RunResult(shape(request, answer, runner.name, seconds), timings={"text": seconds})

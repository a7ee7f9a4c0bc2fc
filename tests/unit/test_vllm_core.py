"""Threads that wait for an engine on an event loop: pieces, cancellation, loss. Without vLLM."""

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import closing
from types import SimpleNamespace
from typing import Any

import pytest

from handlers import vllm_core
from handlers.base import StoppedError
from handlers.failures import CoreLostError, is_broken, is_poisoned
from handlers.vllm_core import Core, Piece
from handlers.warm_up import Unheard

WAIT_S = 30


class Engine:
    """As much of vLLM's `AsyncLLM` as is used. A prompt is a list of the texts to answer with.

    None in it waits for ever, an exception is raised.
    """

    def __init__(self) -> None:
        self.errored = False
        self.model_config = SimpleNamespace(max_model_len=64)
        self.asked: list[str] = []
        self.left: list[str] = []
        self.shut_down = threading.Event()

    async def generate(self, prompt: Any, _: Any, request_id: str) -> AsyncIterator[Any]:
        self.asked.append(request_id)
        try:
            for number, text in enumerate(prompt, 1):
                if text is None:
                    await asyncio.Event().wait()
                if isinstance(text, Exception):
                    self.errored = isinstance(text, EOFError)
                    raise text
                reason = "stop" if number == len(prompt) else None
                yield SimpleNamespace(
                    outputs=[SimpleNamespace(text=text, token_ids=[number], finish_reason=reason)]
                )
        finally:
            await asyncio.sleep(0)
            self.left.append(request_id)

    def shutdown(self, timeout: float) -> None:
        self.shut_down.set()


class Wish(Unheard):
    """Wants the run to stop once `after` looks have been taken."""

    def __init__(self, after: int) -> None:
        self.after = after

    def check(self) -> None:
        self.after -= 1
        if self.after < 0:
            raise StoppedError


@pytest.fixture
def engine() -> Engine:
    return Engine()


@pytest.fixture
def ended() -> threading.Event:
    return threading.Event()


@pytest.fixture
def core(engine: Engine, ended: threading.Event, monkeypatch: pytest.MonkeyPatch) -> Iterator[Core]:
    monkeypatch.setattr(vllm_core, "_LAST_WORDS_S", 0.0)
    monkeypatch.setattr(vllm_core, "_LOOK_S", 0.01)
    monkeypatch.setattr(vllm_core, "_WATCH_S", 0.02)
    core = Core(lambda: engine, ended.set)
    yield core
    core.close()
    assert engine.shut_down.is_set()


def heard(core: Core, prompt: Any, control: Any = None) -> list[Piece]:
    with closing(core.answer(prompt, None, control or Unheard())) as pieces:
        return list(pieces)


def stopped_after(core: Core, prompt: Any, looks: int) -> None:
    with pytest.raises(StoppedError):
        heard(core, prompt, Wish(looks))


def test_an_answer_comes_in_pieces(core: Core) -> None:
    """Each with its tokens; the last one says why it is the last."""
    assert heard(core, ["Pa", "ris"]) == [Piece("Pa", 1), Piece("ris", 1, "stop")]
    assert core.context == 64


def test_many_threads_are_answered_at_once(core: Core, engine: Engine) -> None:
    """One that waits for ever keeps nobody."""
    waiting = threading.Thread(target=stopped_after, args=(core, ["a", None], 9), daemon=True)
    waiting.start()

    assert [piece.text for piece in heard(core, ["b", "c"])] == ["b", "c"]
    waiting.join(WAIT_S)
    assert sorted(engine.left) == sorted(engine.asked)


@pytest.mark.parametrize("prompt", [[None], ["a", None]], ids=["no token yet", "after a token"])
def test_a_run_that_waits_for_a_token_notices_that_it_shall_stop(
    core: Core, engine: Engine, prompt: Any
) -> None:
    """And goes on only when the engine has let go of the request."""
    with pytest.raises(StoppedError):
        heard(core, prompt, Wish(2))

    assert engine.left == engine.asked == ["1"]


def test_a_run_that_stops_between_tokens_leaves_nothing(core: Core, engine: Engine) -> None:
    """As one does whose report of a step raises."""
    with closing(core.answer(["a"] * 1000 + [None], None, Unheard())) as pieces:
        assert next(pieces) == Piece("a", 1)

    assert engine.left == engine.asked == ["1"]


def test_a_request_that_is_left_before_it_began_is_gone(core: Core, engine: Engine) -> None:
    """Its end comes all the same: nobody waits for ever."""
    entered, go_on = threading.Event(), threading.Event()

    def busy() -> None:
        entered.set()
        go_on.wait(WAIT_S)

    core._loop.call_soon_threadsafe(busy)
    entered.wait(WAIT_S)
    stopped = threading.Thread(target=stopped_after, args=(core, ["a"], 0), daemon=True)
    stopped.start()
    while not any("_cancel" in repr(each) for each in list(core._loop._ready)):
        time.sleep(0)
    go_on.set()
    stopped.join(WAIT_S)

    assert not stopped.is_alive()
    assert engine.left == engine.asked


def test_an_error_of_one_request_is_raised_in_its_thread(core: Core) -> None:
    """The next one is answered."""
    with pytest.raises(ValueError, match="too long"):
        heard(core, ["a", ValueError("too long")])

    assert heard(core, ["b"]) == [Piece("b", 1, "stop")]


def test_a_dead_engine_is_lost_for_its_runs_and_ends_the_process(
    core: Core, ended: threading.Event
) -> None:
    """The runs learn of it first."""
    with pytest.raises(CoreLostError) as caught:
        heard(core, ["a", EOFError("gone")])

    assert is_broken(caught.value)
    assert not is_poisoned(caught.value)
    assert ended.wait(WAIT_S)


def test_an_engine_that_dies_unused_ends_the_process_too(
    core: Core, engine: Engine, ended: threading.Event
) -> None:
    """Otherwise the next request would be lost with it."""
    engine.errored = True

    assert ended.wait(WAIT_S)


def test_an_engine_that_is_closed_is_no_loss(
    engine: Engine, ended: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It ends because it was told to."""
    monkeypatch.setattr(vllm_core, "_WATCH_S", 0.0)
    monkeypatch.setattr(vllm_core, "_LAST_WORDS_S", 0.0)
    core = Core(lambda: engine, ended.set)
    core.close()
    engine.errored = True

    assert not core._thread.is_alive()
    assert not ended.is_set()


def test_an_engine_that_does_not_start_says_why() -> None:
    """In the thread that loads."""

    def fails() -> None:
        raise RuntimeError("no memory")

    with pytest.raises(RuntimeError, match="no memory"):
        Core(fails)

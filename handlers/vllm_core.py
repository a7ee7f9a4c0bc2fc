"""vLLM's engine on an event loop of its own, for callers in threads.

    run-threads  --answer-->  loop: AsyncLLM  --sockets-->  vLLM's own processes (EngineCore, …)
                 <--pieces--

Many threads wait at once, so vLLM computes their requests together. Nothing is tried again: once a
process of vLLM's is gone every request fails with `CoreLostError`, and this process is of no use.
"""

import asyncio
import itertools
import logging
import os
import queue
import threading
from collections.abc import Callable, Coroutine, Generator
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, TypeVar

from handlers.base import Control
from handlers.failures import CoreLostError

_LOOK_S = 0.25
"""How soon a run that waits for its next token notices that it shall stop."""

_WATCH_S = 0.5
_LAST_WORDS_S = 3.0
"""Time for runs to say that their engine is lost, before the process ends without them."""

_SHUTDOWN_S = 3.0
"""Below the patience of whoever stops the engine: what isn't gone by then is killed."""

_EXIT_LOST = 71

_log = logging.getLogger("vllm_core")
_Result = TypeVar("_Result")


@dataclass(frozen=True, slots=True)
class Piece:
    """What came of an answer since the last piece. `finish_reason` is set in the last one."""

    text: str
    tokens: int
    finish_reason: str | None = None


_Pieces = queue.SimpleQueue[Piece | Exception | None]
"""What a request yields; None comes last, once vLLM has let go of it."""


def _end_process() -> None:
    _log.error("vLLM's processes have ended, and so does this one")
    os._exit(_EXIT_LOST)


class Core:
    """A running vLLM engine.

    Args:
        start: returns vLLM's `AsyncLLM`; called on the loop that is then the engine's.
        end: ends this process, which is of no use once the engine is dead.
    """

    def __init__(self, start: Callable[[], Any], end: Callable[[], None] = _end_process) -> None:
        self._numbers = itertools.count(1)
        self._closing = False
        self._end = end
        served: queue.SimpleQueue[asyncio.AbstractEventLoop] = queue.SimpleQueue()
        self._thread = threading.Thread(
            target=lambda: asyncio.run(self._serve(served)), name="vllm", daemon=True
        )
        self._thread.start()
        self._loop = served.get()
        try:
            self._engine = self._do(_called(start))
        except BaseException:
            self._stop_loop()
            raise
        self._watching = self._begin(self._watch())

    @property
    def context(self) -> int:
        """The most tokens of prompt and answer together: the model's, or what the cache holds."""
        return int(self._engine.model_config.max_model_len)

    def answer(self, prompt: Any, sampling: Any, control: Control) -> Generator[Piece]:
        """Yield an answer's pieces as they come.

        However it is left, by an error of the caller's or by `control`, vLLM has let go of the
        request by then.
        """
        pieces: _Pieces = queue.SimpleQueue()
        request = _Request(self._loop, self._ask(prompt, sampling, pieces), pieces)
        ended = False
        try:
            while True:
                try:
                    piece = pieces.get(timeout=_LOOK_S)
                except queue.Empty:
                    control.check()
                    continue
                if piece is None:
                    ended = True
                    return
                if isinstance(piece, Exception):
                    raise piece
                yield piece
        finally:
            if not ended:
                request.cancel()
                while pieces.get() is not None:
                    pass

    def sleep(self) -> int:
        """Move the weights to the host's memory, forget the KV cache; return the bytes there."""
        self._do(self._engine.sleep(level=1))
        return sum(self._do(self._engine.collective_rpc("host_bytes")))

    def wake(self) -> None:
        """Move the weights back."""
        if not self._do(self._engine.wake_up()):
            raise RuntimeError("vLLM is still asleep")

    def close(self) -> None:
        """End vLLM's processes."""
        self._closing = True
        self._watching.cancel()
        # Not on the loop: it answers what the processes still send.
        self._engine.shutdown(timeout=_SHUTDOWN_S)
        self._stop_loop()
        # Its finalizer would shut down once more, at an exit that has no loop.
        del self._engine

    async def _serve(self, served: "queue.SimpleQueue[asyncio.AbstractEventLoop]") -> None:
        self._stopping = asyncio.Event()
        served.put(asyncio.get_running_loop())
        await self._stopping.wait()

    def _stop_loop(self) -> None:
        self._loop.call_soon_threadsafe(self._stopping.set)
        self._thread.join(_SHUTDOWN_S)

    async def _ask(self, prompt: Any, sampling: Any, pieces: "_Pieces") -> None:
        """Put an answer's pieces into the queue, or the error that it ended with."""
        try:
            answer = self._engine.generate(prompt, sampling, request_id=str(next(self._numbers)))
            async for output in answer:
                (completion,) = output.outputs
                made = len(completion.token_ids)
                pieces.put(Piece(completion.text, made, completion.finish_reason))
        except Exception as error:  # noqa: BLE001 -- raised again in the run's thread
            pieces.put(_lost(error) if self._engine.errored else error)

    async def _watch(self) -> None:
        """End this process after vLLM's own have ended: the daemon then starts another one.

        Runs that wait for tokens learn of it first, and say why.
        """
        while not self._engine.errored:  # noqa: ASYNC110 -- vLLM tells nobody when it ends
            await asyncio.sleep(_WATCH_S)
        await asyncio.sleep(_LAST_WORDS_S)
        if not self._closing:
            self._end()

    def _begin(self, work: Coroutine[Any, Any, _Result]) -> "Future[_Result]":
        return asyncio.run_coroutine_threadsafe(work, self._loop)

    def _do(self, work: Coroutine[Any, Any, _Result]) -> _Result:
        return self._begin(work).result()


async def _called(start: Callable[[], Any]) -> Any:
    return start()


class _Request:
    """One request's task on the loop; also one that is cancelled before it begins ends."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, work: Coroutine[Any, Any, None], pieces: _Pieces
    ) -> None:
        self._loop = loop
        self._work = work
        self._pieces = pieces
        self._task: asyncio.Task[None] | None = None
        loop.call_soon_threadsafe(self._start)

    def cancel(self) -> None:
        self._loop.call_soon_threadsafe(self._cancel)

    def _start(self) -> None:
        self._task = self._loop.create_task(self._work)
        self._task.add_done_callback(lambda _: self._pieces.put(None))

    def _cancel(self) -> None:
        if self._task is not None:
            self._task.cancel()


def _lost(error: Exception) -> CoreLostError:
    lost = CoreLostError("vLLM's processes have ended")
    lost.__cause__ = error
    return lost

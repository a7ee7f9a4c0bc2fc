"""Finishes on their way to the database, sent in groups.

What is queued while one call is in flight goes with the next: alone, a finish waits for nobody;
under load the groups grow by themselves.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from uuid import UUID

import structlog
from tenacity import (
    AsyncRetrying,
    RetryCallState,
    retry_if_exception_type,
    wait_random_exponential,
)

from daemon.jobs import Finish, Recorded
from daemon.ports import JobStore
from daemon.values import StoreRejectedError, StoreUnavailableError

_log = structlog.get_logger(__name__)

_FIRST_DELAY_S = 0.1
_LONGEST_DELAY_S = 5.0


@dataclass(eq=False, slots=True)
class _Entry:
    finish: Finish
    answer: asyncio.Future[Recorded]

    def resolve(self, recorded: Recorded) -> None:
        if not self.answer.done():
            self.answer.set_result(recorded)

    def refuse(self, error: StoreRejectedError) -> None:
        if not self.answer.done():
            self.answer.set_exception(error)


class Outbox:
    """Sends finishes until each has an answer; `run` does the sending.

    Args:
        store: where they go.
        max_batch: the most finishes in one call.
        sleep: waits between tries while the database is away.
    """

    def __init__(
        self,
        store: JobStore,
        *,
        max_batch: int = 200,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._store = store
        self._max_batch = max_batch
        self._sleep = sleep
        self._queue: deque[_Entry] = deque()
        self._sending: list[_Entry] = []
        self._filled = asyncio.Event()
        self._empty = asyncio.Event()
        self._empty.set()

    async def finish(self, finish: Finish, *, until: float | None = None) -> Recorded:
        """Return what became of a finish, however long the database is away.

        The finish stays on its way when the caller stops waiting: a job that is done shall be seen
        as done.

        Args:
            finish: how a run ended.
            until: when to stop waiting, by the event loop's clock.

        Raises:
            StoreRejectedError: the database refused this one.
            StoreUnavailableError: it hadn't answered by `until`.
        """
        entry = _Entry(finish, asyncio.get_running_loop().create_future())
        # Nobody may be left to read it.
        entry.answer.add_done_callback(lambda answer: answer.cancelled() or answer.exception())
        self._queue.append(entry)
        self._empty.clear()
        self._filled.set()
        try:
            async with asyncio.timeout_at(until):
                return await asyncio.shield(entry.answer)
        except TimeoutError as error:
            raise StoreUnavailableError("the outcome isn't recorded yet") from error

    async def run(self) -> None:
        """Send what is queued, until cancelled."""
        while True:
            await self._filled.wait()
            self._sending = [
                self._queue.popleft() for _ in range(min(len(self._queue), self._max_batch))
            ]
            try:
                await self._send(self._sending)
            finally:
                unanswered = [entry for entry in self._sending if not entry.answer.done()]
                self._queue.extendleft(reversed(unanswered))
                self._sending = []
            if not self._queue:
                self._filled.clear()
                self._empty.set()

    async def drain(self, timeout: float) -> bool:  # noqa: ASYNC109 - giving up is an answer here
        """Wait until all is sent, at most `timeout` seconds; return whether it is."""
        try:
            async with asyncio.timeout(timeout):
                await self._empty.wait()
        except TimeoutError:
            _log.error("outcomes not recorded", count=len(self._queue) + len(self._sending))
            return False
        return True

    async def _send(self, entries: Sequence[_Entry]) -> None:
        """Record a group; where it is refused, halve it until the offender stands alone."""
        try:
            recorded = await self._call([entry.finish for entry in entries])
        except StoreRejectedError as error:
            if len(entries) == 1:
                entries[0].refuse(error)
                return
            middle = len(entries) // 2
            await self._send(entries[:middle])
            await self._send(entries[middle:])
            return
        for entry in entries:
            entry.resolve(recorded.get(entry.finish.claim_id, Recorded.STALE))

    async def _call(self, finishes: Sequence[Finish]) -> dict[UUID, Recorded]:
        async for attempt in AsyncRetrying(
            retry=retry_if_exception_type(StoreUnavailableError),
            wait=wait_random_exponential(multiplier=_FIRST_DELAY_S, max=_LONGEST_DELAY_S),
            sleep=self._sleep,
            before_sleep=_say_waiting,
        ):
            with attempt:
                return await self._store.finish(finishes)
        raise AssertionError("retries for ever")


def _say_waiting(state: RetryCallState) -> None:
    if state.attempt_number == 1:
        error = state.outcome.exception() if state.outcome else None
        _log.warning("waiting for the database to record outcomes", error=str(error))

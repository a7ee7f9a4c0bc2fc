"""A service that reads something slow every few seconds and keeps the last value."""

import asyncio
import logging
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Generic, TypeVar

_log = logging.getLogger("daemon.telemetry.sampling")

T = TypeVar("T")

_STALE_AFTER = 4
"""A value older than this many intervals isn't reported any more: the reader hangs."""


class Sampler(Generic[T]):
    """Calls `read` in a thread of its own, so that neither it nor the event loop waits.

    The thread is a daemon thread: a reader that hangs in a driver doesn't hold up the exit.
    """

    def __init__(
        self,
        name: str,
        read: Callable[[], T],
        *,
        interval_s: float = 5.0,
        on_sample: Callable[[T | None], None] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Call `on_sample` in the event loop with every new value, None when there is none now."""
        self._name = name
        self._read = read
        self._interval_s = interval_s
        self._on_sample = on_sample
        self._clock = clock
        self._last: tuple[float, T] | None = None
        self._failing = False

    def sample(self) -> T | None:
        """Return the last value; None before the first one, and when it is too old to be true."""
        last = self._last
        if last is None or self._clock() - last[0] > self._interval_s * _STALE_AFTER:
            return None
        return last[1]

    async def run(self) -> None:
        """Sample until cancelled."""
        loop = asyncio.get_running_loop()
        stop = threading.Event()
        thread = threading.Thread(
            target=self._sample_until, args=(stop, loop), name=f"sample-{self._name}", daemon=True
        )
        thread.start()
        try:
            while True:
                await asyncio.sleep(self._interval_s)
                self._notice_age()
        finally:
            stop.set()

    def _notice_age(self) -> None:
        """Tell the listener, too, that a hanging reader's last value isn't true any more."""
        if self._last is not None and self.sample() is None:
            self._last = None
            if self._on_sample is not None:
                self._on_sample(None)

    def _sample_until(self, stop: threading.Event, loop: asyncio.AbstractEventLoop) -> None:
        while not stop.is_set():
            self._sample_once(loop)
            stop.wait(self._interval_s)

    def _sample_once(self, loop: asyncio.AbstractEventLoop) -> None:
        value: T | None = None
        try:
            value = self._read()
        except Exception as error:  # noqa: BLE001 -- whatever a driver raises means: no value
            if not self._failing:
                # Once, and no warning: a machine without a GPU is a supported one.
                _log.info("no %s figures: %s", self._name, error)
        self._failing = value is None
        self._last = None if value is None else (self._clock(), value)
        if self._on_sample is not None:
            # RuntimeError: the loop closed while the driver was asked.
            with suppress(RuntimeError):
                loop.call_soon_threadsafe(self._on_sample, value)

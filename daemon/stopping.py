"""The two steps of stopping, as signals ask for them: finish what runs, then only release it."""

import asyncio
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Stopping:
    """`soft` is set by the first signal, `hard` by the second."""

    def __init__(self) -> None:
        self.soft = asyncio.Event()
        self.hard = asyncio.Event()
        self._told: list[Callable[[], None]] = []

    def on_soft(self, call: Callable[[], None]) -> None:
        """Have `call` called when the first step begins; at once when it has begun."""
        self._told.append(call)
        if self.soft.is_set():
            call()

    def step(self) -> None:
        """Take the next step."""
        if self.soft.is_set():
            self.hard.set()
            return
        self.soft.set()
        for call in self._told:
            call()

    @contextmanager
    def signals(self) -> Iterator[None]:
        """Take a step at each SIGINT or SIGTERM, for the time of the block."""
        loop = asyncio.get_running_loop()
        for number in _SIGNALS:
            loop.add_signal_handler(number, self.step)
        try:
            yield
        finally:
            for number in _SIGNALS:
                loop.remove_signal_handler(number)

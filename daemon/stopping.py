"""What signals ask for: to stop in two steps (finish what runs, then release it), or to reload.

SIGHUP means "read your settings again", as it does for other daemons. In a terminal it also says
that the terminal has gone, and then the worker stops: nobody would be there to stop it later.
"""

import asyncio
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress


class Stopping:
    """`soft` is set by the first signal, `hard` by the second, `reload` by SIGHUP.

    Args:
        reloads: whether there are settings to be read again; without, SIGHUP stops.
    """

    def __init__(self, *, reloads: bool = False) -> None:
        self.soft = asyncio.Event()
        self.hard = asyncio.Event()
        self.reload = asyncio.Event()
        """Whoever reloads clears it."""
        self._reloads = reloads
        self._in_terminal = _stdin_is_terminal()
        self._told: list[Callable[[], None]] = []

    def on_soft(self, call: Callable[[], None]) -> None:
        """Have `call` called when the first step begins; at once when it has begun."""
        self._told.append(call)
        if self.soft.is_set():
            call()

    @contextmanager
    def telling(self, *calls: Callable[[], None]) -> Iterator[None]:
        """Do as `on_soft` does for the time of the block."""
        for call in calls:
            self.on_soft(call)
        try:
            yield
        finally:
            for call in calls:
                self._told.remove(call)

    def step(self) -> None:
        """Take the next step."""
        if self.soft.is_set():
            self.hard.set()
            return
        self.soft.set()
        for call in self._told:
            call()

    def hang_up(self) -> None:
        """Ask for a reload; stop where there is nothing to reload, or the terminal has gone."""
        if self._reloads and not (self._in_terminal and not _stdin_is_terminal()):
            self.reload.set()
        elif not self.soft.is_set():
            self.step()

    @contextmanager
    def signals(self) -> Iterator[None]:
        """Take a step at each SIGINT or SIGTERM, and hear SIGHUP, for the time of the block."""
        loop = asyncio.get_running_loop()
        calls = {
            signal.SIGINT: self.step,
            signal.SIGTERM: self.step,
            signal.SIGHUP: self.hang_up,
        }
        for number, call in calls.items():
            loop.add_signal_handler(number, call)
        try:
            yield
        finally:
            for number in calls:
                loop.remove_signal_handler(number)


def _stdin_is_terminal() -> bool:
    """Whether somebody's terminal is there; one that was hung up is none any more."""
    with suppress(OSError, ValueError, AttributeError):
        return os.isatty(sys.stdin.fileno())
    return False

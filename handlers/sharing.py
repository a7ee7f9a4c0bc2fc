"""A thing that many use at the same time, or one has alone."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager


class Sharing:
    """Who waits to have it alone lets nobody else in; it gets it when the last user has left."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._users = 0
        self._alone = False

    @contextmanager
    def shared(self) -> Iterator[None]:
        """Use it beside others."""
        with self._changed:
            self._changed.wait_for(lambda: not self._alone)
            self._users += 1
        try:
            yield
        finally:
            with self._changed:
                self._users -= 1
                self._changed.notify_all()

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Have it alone."""
        with self._changed:
            self._changed.wait_for(lambda: not self._alone)
            self._alone = True
            self._changed.wait_for(lambda: self._users == 0)
        try:
            yield
        finally:
            with self._changed:
                self._alone = False
                self._changed.notify_all()

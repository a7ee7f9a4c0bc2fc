"""What passes between those who ask over HTTP and who answers them; light, as the server is."""

import asyncio
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Protocol
from uuid import UUID, uuid4

from daemon.job_run import JobRun
from daemon.jobs import Outcome


class FullError(Exception):
    """The worker holds as many requests as it may, or takes none any more."""


@dataclass(frozen=True, slots=True)
class Order:
    """What is asked for.

    Attributes:
        job_type: as for rows.
        request: the parameters, as a row's metadata.
        caller: the name of who asks: callers are served fairly.
        user_id: for whom, if the caller says so: it is he then who is served fairly.
        inline: give files back as data URLs, and store none.
    """

    job_type: str
    request: Mapping[str, Any]
    caller: str = ""
    user_id: UUID | None = None
    inline: bool = False


class Exchange:
    """One request under way: the pieces of its answer, and how it ends."""

    def __init__(self, order: Order) -> None:
        self.order = order
        self.job_id = uuid4()
        self.run: JobRun | None = None
        """The run that it is carried by."""
        self.outcome: Outcome | None = None
        self.told = False
        """Whether a piece of the answer has been taken."""
        self._pieces: list[str] = []
        self._changed = asyncio.Event()

    async def changed(self) -> None:
        """Wait until there is a piece of the answer, or its end."""
        await self._changed.wait()

    def take(self) -> str:
        """Return what is new of the answer; empty if nothing is."""
        text = "".join(self._pieces)
        self._pieces.clear()
        self.told = self.told or bool(text)
        if self.outcome is None:
            self._changed.clear()
        return text

    async def ended(self) -> Outcome:
        """Wait for the end; pieces may be left."""
        while self.outcome is None:
            await self._changed.wait()
            self._pieces.clear()
            if self.outcome is None:
                self._changed.clear()
        return self.outcome

    def add(self, text: str) -> None:
        """Take the next piece."""
        self._pieces.append(text)
        self._changed.set()

    def drop(self) -> None:
        """Forget the pieces of a run that was lost."""
        self._pieces.clear()

    def end(self, outcome: Outcome) -> None:
        """Take the end."""
        self.outcome = outcome
        self._changed.set()


class Answers(Protocol):
    """Who answers (`answering.Answering`)."""

    def ask(self, order: Order) -> AbstractContextManager[Exchange]:
        """Begin a request; leaving before its end stops it at its next step.

        Raises:
            FullError: no more are taken.
        """
        ...

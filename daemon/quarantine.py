"""A job that is tried again has its model's engine for itself.

Whatever ended its last attempt may have been its own doing. Alone it can end nobody else's, and an
engine that ends under it again was ended by it: the others lose one attempt, never their job.
"""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from daemon.job_types import JOB_TYPES
from daemon.ports import AdmissionRequest, Admissions, Demand, Engine


class Quarantine:
    """Implements `Admissions` by others, which get a request when its company allows."""

    def __init__(self, admissions: Admissions) -> None:
        self._admissions = admissions
        self._gates: defaultdict[str, _Gate] = defaultdict(_Gate)

    def demand(self) -> Sequence[Demand]:
        """Return the demand, but for models that a request has, or waits to have, for itself."""
        return [
            demand
            for demand in self._admissions.demand()
            if not self._gates[JOB_TYPES[demand.job_types[0]].model].alone
        ]

    @asynccontextmanager
    async def admit(self, request: AdmissionRequest) -> AsyncIterator[Engine]:
        """Wait for the right company, then for a reservation."""
        gate = self._gates[request.model]
        async with (
            gate.for_itself() if request.alone else gate.beside_others(),
            self._admissions.admit(request) as engine,
        ):
            yield engine


class _Gate:
    """One model's requests: any number beside one another, or one for itself."""

    def __init__(self) -> None:
        self.alone = 0
        """Requests that have the model for themselves, or wait for that."""
        self._together = 0
        self._turn = asyncio.Lock()
        self._changed = asyncio.Event()

    @asynccontextmanager
    async def beside_others(self) -> AsyncIterator[None]:
        while self.alone:
            await self._changed.wait()
        self._together += 1
        try:
            yield
        finally:
            self._together -= 1
            self._tell()

    @asynccontextmanager
    async def for_itself(self) -> AsyncIterator[None]:
        self.alone += 1
        try:
            async with self._turn:
                while self._together:
                    await self._changed.wait()
                yield
        finally:
            self.alone -= 1
            self._tell()

    def _tell(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

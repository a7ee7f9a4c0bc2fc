"""A job whose engine was lost under it has its model's engine for itself from then on.

Any of the jobs that were in that engine may have ended it. Alone one can end nobody else's, and an
engine that ends under it again was ended by it: it is failed, and the others have lost nothing.
"""

import asyncio
from collections import defaultdict
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from types import TracebackType

from daemon.engine_ports import Admissions, AdmittedEngine
from daemon.job_types import JOB_TYPES
from daemon.values import AdmissionRequest, Demand, Waits


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

    def admit(
        self, request: AdmissionRequest, loads: Callable[[], None] = lambda: None
    ) -> "_Visit":
        """Wait for the right company, then for a reservation."""
        gate = self._gates[request.model]
        return _Visit(gate, self._admissions.admit(request, loads), alone=request.alone)

    def waited(self, request_id: str) -> Waits:
        """Return why a request has waited so far, once its company allowed it to."""
        return self._admissions.waited(request_id)


class _Gate:
    """One model's requests: any number beside one another, or one for itself."""

    def __init__(self) -> None:
        self.alone = 0
        """Requests that have the model for themselves, or wait for that."""
        self._together = 0
        self._turn = asyncio.Lock()
        self._changed = asyncio.Event()

    async def enter_beside_others(self) -> None:
        while self.alone:
            await self._changed.wait()
        self._together += 1

    def leave_others(self) -> None:
        self._together -= 1
        self._tell()

    async def enter_alone(self) -> None:
        self.alone += 1
        try:
            await self._turn.acquire()
            try:
                while self._together:
                    await self._changed.wait()
            except BaseException:
                self._turn.release()
                raise
        except BaseException:
            self.alone -= 1
            self._tell()
            raise

    def leave_alone(self) -> None:
        self._turn.release()
        self.alone -= 1
        self._tell()

    def _tell(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()


class _Visit:
    """One request's time in its model's company. A class, since every job goes through it."""

    def __init__(
        self, gate: _Gate, admission: AbstractAsyncContextManager[AdmittedEngine], *, alone: bool
    ) -> None:
        self._gate = gate
        self._admission = admission
        self._alone = alone

    async def __aenter__(self) -> AdmittedEngine:
        await (self._gate.enter_alone() if self._alone else self._gate.enter_beside_others())
        try:
            return await self._admission.__aenter__()
        except BaseException:
            self._leave()
            raise

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> bool | None:
        try:
            return await self._admission.__aexit__(kind, error, trace)
        finally:
            self._leave()

    def _leave(self) -> None:
        if self._alone:
            self._gate.leave_alone()
        else:
            self._gate.leave_others()

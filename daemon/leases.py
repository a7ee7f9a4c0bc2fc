"""Leases of the claims that this worker holds, renewed in one batch from a thread of their own.

The renewal can't be starved by a busy event loop, since it runs on another one, with another
connection. Trust is local and shorter than the lease: `trusted_until` is the moment the request
was *sent*, plus the lease, minus a margin. A claim that isn't renewed by then is treated as lost,
before the database gives the job to somebody else.

If the main loop hangs for good, renewing for it would hold its jobs for ever: a renewal is skipped
while the main loop hasn't shown itself for `HUNG_AFTER_S`.
"""

import asyncio
import contextlib
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from uuid import UUID

import structlog

from daemon.jobs import LeaseState
from daemon.ports import JobStore
from daemon.sections import LeaseSettings
from daemon.telemetry import context
from daemon.values import StoreRejectedError, StoreUnavailableError

HUNG_AFTER_S = 60.0
"""A main loop that is silent for so long is taken for dead."""

_log = structlog.get_logger("daemon.leases")


@dataclass(slots=True)
class Lease:
    """One claim that is held. `on_end` is called once, in the main loop, when it stops being so."""

    claim_id: UUID
    trusted_until: float
    """Monotonic seconds."""
    on_end: Callable[[LeaseState], None]
    about: context.Described | None
    """What lines of the log about it are about."""
    ended: bool = False


@dataclass(slots=True)
class LeaseStats:
    """Counts since the start, for `/status` and metrics."""

    renewals: int = 0
    renew_errors: int = 0
    lost: int = 0
    cancelled: int = 0
    last_renewal: float | None = None
    """Monotonic seconds of the last answered renewal."""


@dataclass
class Leases:
    """Holds the leases; `run` keeps them alive for as long as it runs.

    Args:
        make_store: called in the renewal thread, for a store of its own.
        settings: durations in seconds.
        clock: monotonic seconds.
    """

    make_store: Callable[[], JobStore]
    settings: LeaseSettings
    clock: Callable[[], float] = time.monotonic
    stats: LeaseStats = field(default_factory=LeaseStats)
    _held: dict[UUID, Lease] = field(default_factory=dict)
    _main_seen: float = 0.0

    @contextlib.contextmanager
    def hold(
        self, claim_id: UUID, claimed_at: float, on_end: Callable[[LeaseState], None]
    ) -> Iterator[Lease]:
        """Keep a claim's lease for the block. `claimed_at`: when the claim was sent, monotonic."""
        trusted = claimed_at + self.settings.duration_s - self.settings.margin_s
        lease = Lease(claim_id, trusted, on_end, context.current())
        self._held[claim_id] = lease
        try:
            yield lease
        finally:
            self._held.pop(claim_id, None)

    @property
    def held(self) -> int:
        """How many claims are held."""
        return len(self._held)

    def apply(self, states: Mapping[UUID, LeaseState]) -> None:
        """Take the database's word on claims, from a renewal or a progress report."""
        for claim_id, state in states.items():
            if state is not LeaseState.HELD:
                self._end(claim_id, state)

    async def run(self) -> None:
        """Renew until cancelled; in the main loop, end what is no longer trusted."""
        loop = asyncio.get_running_loop()
        stopping = threading.Event()
        thread = threading.Thread(
            target=self._renew_in_thread, args=(loop, stopping), name="leases", daemon=True
        )
        self._main_seen = self.clock()
        thread.start()
        try:
            while True:
                self._main_seen = self.clock()
                self.end_untrusted()
                if not thread.is_alive():
                    raise RuntimeError("the thread that renews leases has ended")
                await asyncio.sleep(min(self.settings.margin_s / 2, 1.0))
        finally:
            stopping.set()
            await asyncio.to_thread(thread.join, 5.0)

    def end_untrusted(self) -> None:
        """End every lease whose trust deadline has passed."""
        now = self.clock()
        for lease in list(self._held.values()):
            if lease.trusted_until <= now:
                with context.lines_of(lease.about):
                    _log.warning("lease no longer trusted", claim_id=str(lease.claim_id))
                self._end(lease.claim_id, LeaseState.LOST)

    async def renew_once(self, store: JobStore) -> dict[UUID, LeaseState]:
        """Send one batch renewal and extend the trust in what is held. Runs in the thread."""
        claims = list(self._held)  # in one step of the interpreter: the main loop changes it
        if not claims:
            return {}
        sent_at = self.clock()
        states = await store.renew(claims, self.settings.duration_s)
        trusted = sent_at + self.settings.duration_s - self.settings.margin_s
        for claim_id, state in states.items():
            lease = self._held.get(claim_id)
            if lease is not None and state is LeaseState.HELD:
                lease.trusted_until = max(lease.trusted_until, trusted)
        self.stats.renewals += 1
        self.stats.last_renewal = self.clock()
        return states

    def _end(self, claim_id: UUID, state: LeaseState) -> None:
        lease = self._held.get(claim_id)
        if lease is None or lease.ended:
            return
        lease.ended = True
        if state is LeaseState.LOST:
            self.stats.lost += 1
        else:
            self.stats.cancelled += 1
        lease.on_end(state)

    def _renew_in_thread(
        self, main_loop: asyncio.AbstractEventLoop, stopping: threading.Event
    ) -> None:
        asyncio.run(self._renew_until(main_loop, stopping))

    async def _renew_until(
        self, main_loop: asyncio.AbstractEventLoop, stopping: threading.Event
    ) -> None:
        store = self.make_store()
        pause = self.settings.renew_every_s
        try:
            while not await asyncio.to_thread(stopping.wait, pause):
                pause = await self._renew_and_tell(store, main_loop)
        finally:
            await store.aclose()

    async def _renew_and_tell(self, store: JobStore, main_loop: asyncio.AbstractEventLoop) -> float:
        """Renew; return the seconds to wait before the next time."""
        every = self.settings.renew_every_s
        if self.clock() - self._main_seen > HUNG_AFTER_S:
            _log.error("the main loop hangs: its leases are not renewed")
            return every
        try:
            # A call that hangs must leave time for a second one before trust ends.
            states = await asyncio.wait_for(self.renew_once(store), every)
        except (StoreUnavailableError, StoreRejectedError, TimeoutError) as error:
            self.stats.renew_errors += 1
            _log.warning("leases not renewed", error=str(error) or "no answer in time")
            return every / 4
        except Exception:  # noqa: BLE001  # a thread that ends would end every job with it
            self.stats.renew_errors += 1
            _log.exception("leases not renewed")
            return every / 4
        if any(state is not LeaseState.HELD for state in states.values()):
            with contextlib.suppress(RuntimeError):  # the main loop has closed: nobody to tell
                main_loop.call_soon_threadsafe(self.apply, states)
        return every

"""The jobs table over a direct connection: one function call for each act of the store."""

import asyncio
import json
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from typing import Any, NoReturn
from urllib.parse import urlsplit
from uuid import UUID

import asyncpg

from daemon.job_rows import JobRow, NewJob, Submitted
from daemon.jobs import Finish, Job, LeaseState, Progress, Recorded
from daemon.migrate import mismatch
from daemon.store import desk, rows
from daemon.traces import Arrival
from daemon.values import (
    Backlog,
    Canary,
    Demand,
    QueueForecast,
    SchemaMismatchError,
    StoreRejectedError,
    StoreUnavailableError,
    SweepResult,
    WorkerIdentity,
)

_TRANSACTION_POOLER_PORT = 6543
_CLOSE_SECONDS = 5.0


class PostgresStore:
    """`JobStore` on a pool of connections, opened as they are needed.

    Args:
        dsn: the connection string; it never appears in an error.
        pool_size: the most connections held.
        statement_timeout_s: how long a call may take, connecting included.
    """

    def __init__(self, dsn: str, *, pool_size: int, statement_timeout_s: float) -> None:
        self._dsn = dsn
        self._pool_size = pool_size
        self._timeout_s = statement_timeout_s
        self._pooled = _is_transaction_pooler(dsn)
        self._pool: asyncpg.Pool | None = None
        self._closed = False

    async def check_schema(self) -> None:
        """Raise `SchemaMismatchError` unless the database has exactly this daemon's schema."""
        [row] = await self._call("select public.ourvidz_schema_version() as version")
        if error := mismatch(row["version"]):
            raise error

    async def claim(
        self, worker: WorkerIdentity, request_id: UUID, demands: Sequence[Demand], lease_s: float
    ) -> list[Job]:
        """Claim up to each demand's count, in fair order."""
        found = await self._call(
            "select * from public.claim_jobs($1, $2, $3, $4, $5)",
            worker.worker_id,
            worker.instance_id,
            request_id,
            json.dumps(rows.demand_entries(demands)),
            lease_s,
        )
        return [rows.job_of(row) for row in found]

    async def renew(self, claims: Sequence[UUID], lease_s: float) -> dict[UUID, LeaseState]:
        """Extend the leases that are still held."""
        return rows.lease_states(
            await self._call("select * from public.renew_leases($1, $2)", list(claims), lease_s)
        )

    async def progress(self, reports: Sequence[Progress]) -> dict[UUID, LeaseState]:
        """Write progress of claims that are still held."""
        entries = json.dumps(rows.progress_entries(reports))
        return rows.lease_states(
            await self._call("select * from public.report_progress($1)", entries)
        )

    async def finish(self, finishes: Sequence[Finish]) -> dict[UUID, Recorded]:
        """Record outcomes, each fenced by its claim: all or none."""
        text = rows.finish_text(finishes)
        return rows.recorded(await self._call("select * from public.finish_jobs($1)", text))

    async def sweep(self, worker: WorkerIdentity, *, predecessor: bool = False) -> SweepResult:
        """Take back expired leases, and those of a dead predecessor if told so."""
        [row] = await self._call(
            "select * from public.sweep_jobs($1, $2, $3)",
            worker.worker_id,
            worker.instance_id,
            predecessor,
        )
        return rows.sweep_result(row)

    async def beat_canary(self, min_age_s: float) -> Canary:
        """Send a canary unless one was sent so few seconds ago; return the last one."""
        [row] = await self._call("select * from public.beat_canary($1)", min_age_s)
        return rows.canary_of(row)

    async def queue_summary(self) -> list[Backlog]:
        """Count what is queued and processing, by job type."""
        found = await self._call("select * from public.queue_summary()")
        return [rows.backlog_of(row) for row in found]

    async def charge(self, seconds: Mapping[UUID, float]) -> None:
        """Put users' next jobs so many seconds further behind in the fair order."""
        entries = json.dumps(rows.charge_entries(seconds))
        await self._call("select public.charge_users($1)", entries)

    async def foretell(
        self, worker_id: str, forecasts: Sequence[QueueForecast], limit: int, every_s: float
    ) -> int:
        """Tell queued rows when they should end; return how many were told."""
        [row] = await self._call(
            "select * from public.foretell_queue($1, $2, $3, $4)",
            worker_id,
            json.dumps(rows.forecast_entries(forecasts)),
            limit,
            every_s,
        )
        return int(row["told"])

    async def submit(self, job: NewJob) -> Submitted:
        """Add a job, unless there is one of that id."""
        [row] = await self._call(
            "select * from public.submit_job($1, $2, $3, $4, $5)",
            job.id,
            rows.clean(job.job_type),
            desk.metadata_text(job),
            job.user_id,
            job.fingerprint,
        )
        return desk.submitted_of(row)

    async def look(self, job_ids: Sequence[UUID]) -> dict[UUID, JobRow]:
        """Return the rows of those that exist."""
        return desk.job_rows(await self._call("select * from public.read_jobs($1)", list(job_ids)))

    async def cancel(self, job_id: UUID) -> str | None:
        """Cancel an unfinished job; return the status that it has now, None: there is none."""
        return desk.status_of(await self._call("select * from public.withdraw_job($1)", job_id))

    async def arrivals(self, within_s: float, limit: int) -> list[Arrival]:
        """Return what was asked for in the last so many seconds: the first `limit`, in order.

        No part of `JobStore`: operators ask for it, the daemon doesn't.
        """
        found = await self._call(
            "select * from public.export_trace("
            "public.ourvidz_now() - make_interval(secs => $1), public.ourvidz_now(), $2)",
            within_s,
            limit,
        )
        return [rows.arrival_of(row) for row in found]

    async def aclose(self) -> None:
        """Close the connections, also those that don't answer."""
        self._closed = True
        pool, self._pool = self._pool, None
        if pool is None:
            return
        try:
            async with asyncio.timeout(_CLOSE_SECONDS):
                await pool.close()
        except TimeoutError:
            pool.terminate()

    async def _call(self, query: str, *args: object) -> list[asyncpg.Record]:
        try:
            # The server has the same limit: this one also ends a wait for a dead connection.
            async with asyncio.timeout(self._timeout_s + 1):
                pool = await self._open_pool()
                async with pool.acquire() as connection:
                    return await self._fetch(connection, query, *args)
        except asyncpg.PostgresError as error:
            _translate(error)
        except ValueError as error:
            # The driver quotes pieces of the connection string, the password among them.
            reason = str(error) if isinstance(error, asyncpg.DataError) else "it can't be read"
            raise StoreRejectedError(f"the connection string or an argument: {reason}") from None
        except (
            OSError,
            TimeoutError,
            asyncpg.InterfaceError,
            # The driver's own confusion when a connection is cut between two of its messages.
            asyncpg.InternalClientError,
        ) as error:
            # TimeoutError has no text of its own.
            reason = str(error) or "no answer in time"
            raise StoreUnavailableError(f"the database can't be reached: {reason}") from error

    async def _fetch(self, connection: Any, query: str, *args: object) -> list[asyncpg.Record]:
        # Preparing and executing are two messages: only in a transaction does a pooler of that mode
        # send both to the same server.
        async with connection.transaction() if self._pooled else nullcontext():
            found: list[asyncpg.Record] = await connection.fetch(query, *args)
        return found

    async def _open_pool(self) -> asyncpg.Pool:
        if self._closed:
            raise StoreUnavailableError("the store is closed")
        if self._pool is None:
            self._pool = self._new_pool()
        # With no connection to open in advance this is done at once; a second caller may come in
        # between, and waits for the same.
        await self._pool
        return self._pool

    def _new_pool(self) -> asyncpg.Pool:
        milliseconds = str(int(self._timeout_s * 1000))
        settings = {"application_name": "ourvidz-worker", "statement_timeout": milliseconds}
        return asyncpg.create_pool(
            self._dsn,
            min_size=0,
            max_size=self._pool_size,
            timeout=self._timeout_s,
            # Nothing is ever set in a session: no round trip to undo it after each call.
            reset=_keep,
            # A pooler in transaction mode keeps neither settings nor prepared statements.
            server_settings={} if self._pooled else settings,
            statement_cache_size=0 if self._pooled else 100,
        )


async def _keep(_connection: object) -> None:
    """Leave a session as it is."""


def _is_transaction_pooler(dsn: str) -> bool:
    try:
        return urlsplit(dsn).port == _TRANSACTION_POOLER_PORT
    except ValueError:
        return False


def _translate(error: asyncpg.PostgresError) -> NoReturn:
    """Raise the store's error for the server's: without its details, which may show row data."""
    sqlstate: str = error.sqlstate or ""
    message = str(error.args[0]) if error.args else type(error).__name__
    if rows.is_unmigrated(sqlstate, message):
        raise mismatch(None) or SchemaMismatchError(message) from error
    if rows.is_unavailable(sqlstate):
        raise StoreUnavailableError(f"{message} ({sqlstate})") from error
    raise StoreRejectedError(f"{message} ({sqlstate})") from error

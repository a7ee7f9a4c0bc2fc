"""The jobs table over Supabase's REST interface: the same functions, called by name."""

import asyncio
import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NoReturn
from uuid import UUID

import httpx

from daemon.credentials import EXPIRED, Credentials, says_expired
from daemon.job_rows import JobRow, NewJob, Submitted
from daemon.jobs import Finish, Job, LeaseState, Progress, Recorded
from daemon.migrate import mismatch
from daemon.store import desk, rows
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

if TYPE_CHECKING:
    # The library costs half a second: it is loaded by the first call.
    from postgrest import APIError
    from supabase import AsyncClient

_LIMITED = frozenset({408, 429})
_UNREACHED_DATABASE = ("PGRST000", "PGRST001", "PGRST002", "PGRST003")
"""PostgREST's own codes for a database that it can't reach."""


class SupabaseStore:
    """`JobStore` on a Supabase client.

    Args:
        url: the project's address.
        credentials: their role may execute the worker's functions; never shown in an error.
        timeout_s: how long a call may take.
    """

    def __init__(self, url: str, credentials: Credentials, *, timeout_s: float) -> None:
        self._url = url
        self._credentials = credentials
        self._timeout_s = timeout_s
        self._connections: httpx.AsyncClient | None = None
        self._client: AsyncClient | None = None
        self._opening = asyncio.Lock()
        self._closed = False

    async def check_schema(self) -> None:
        """Raise `SchemaMismatchError` unless the database has exactly this daemon's schema."""
        if error := mismatch(await self._call("ourvidz_schema_version", {})):
            raise error

    async def claim(
        self, worker: WorkerIdentity, request_id: UUID, demands: Sequence[Demand], lease_s: float
    ) -> list[Job]:
        """Claim up to each demand's count, in fair order."""
        arguments = {
            "p_worker_id": worker.worker_id,
            "p_instance_id": str(worker.instance_id),
            "p_request_id": str(request_id),
            "p_demands": rows.demand_entries(demands),
            "p_lease_s": lease_s,
        }
        return [rows.job_of(row) for row in await self._call("claim_jobs", arguments)]

    async def renew(self, claims: Sequence[UUID], lease_s: float) -> dict[UUID, LeaseState]:
        """Extend the leases that are still held."""
        arguments = {"p_claims": [str(claim) for claim in claims], "p_lease_s": lease_s}
        return rows.lease_states(await self._call("renew_leases", arguments))

    async def progress(self, reports: Sequence[Progress]) -> dict[UUID, LeaseState]:
        """Write progress of claims that are still held."""
        arguments = {"p_reports": rows.progress_entries(reports)}
        return rows.lease_states(await self._call("report_progress", arguments))

    async def finish(self, finishes: Sequence[Finish]) -> dict[UUID, Recorded]:
        """Record outcomes, each fenced by its claim: all or none."""
        # Read back, so that both stores write a value alike, whatever a handler returned.
        arguments = {"p_finishes": json.loads(rows.finish_text(finishes))}
        return rows.recorded(await self._call("finish_jobs", arguments))

    async def sweep(self, worker: WorkerIdentity, *, predecessor: bool = False) -> SweepResult:
        """Take back expired leases, and those of a dead predecessor if told so."""
        arguments = {
            "p_worker_id": worker.worker_id,
            "p_instance_id": str(worker.instance_id),
            "p_predecessor": predecessor,
        }
        [row] = await self._call("sweep_jobs", arguments)
        return rows.sweep_result(row)

    async def beat_canary(self, min_age_s: float) -> Canary:
        """Send a canary unless one was sent so few seconds ago; return the last one."""
        [row] = await self._call("beat_canary", {"p_min_age_s": min_age_s})
        return rows.canary_of(row)

    async def queue_summary(self) -> list[Backlog]:
        """Count what is queued and processing, by job type."""
        return [rows.backlog_of(row) for row in await self._call("queue_summary", {})]

    async def charge(self, seconds: Mapping[UUID, float]) -> None:
        """Put users' next jobs so many seconds further behind in the fair order."""
        await self._call("charge_users", {"p_charges": rows.charge_entries(seconds)})

    async def foretell(
        self, worker_id: str, forecasts: Sequence[QueueForecast], limit: int, every_s: float
    ) -> int:
        """Tell queued rows when they should end; return how many were told."""
        arguments = {
            "p_worker_id": worker_id,
            "p_forecasts": rows.forecast_entries(forecasts),
            "p_limit": limit,
            "p_every_s": every_s,
        }
        [row] = await self._call("foretell_queue", arguments)
        return int(row["told"])

    async def submit(self, job: NewJob) -> Submitted:
        """Add a job, unless there is one of that id."""
        arguments = {
            "p_job_id": str(job.id),
            "p_job_type": rows.clean(job.job_type),
            "p_metadata": json.loads(desk.metadata_text(job)),
            "p_user_id": None if job.user_id is None else str(job.user_id),
            "p_fingerprint": job.fingerprint,
        }
        [row] = await self._call("submit_job", arguments)
        return desk.submitted_of(row)

    async def look(self, job_ids: Sequence[UUID]) -> dict[UUID, JobRow]:
        """Return the rows of those that exist."""
        arguments = {"p_job_ids": [str(job_id) for job_id in job_ids]}
        return desk.job_rows(await self._call("read_jobs", arguments))

    async def cancel(self, job_id: UUID) -> str | None:
        """Cancel an unfinished job; return the status that it has now, None: there is none."""
        return desk.status_of(await self._call("withdraw_job", {"p_job_id": str(job_id)}))

    async def aclose(self) -> None:
        """Close the connections."""
        self._closed = True
        if self._connections is not None:
            await self._connections.aclose()

    async def _call(self, function: str, arguments: Mapping[str, Any]) -> Any:
        client = await self._open()
        from postgrest import APIError

        try:
            # Beside httpx's limits, which start anew with every piece that arrives.
            async with asyncio.timeout(self._timeout_s + 1):
                answer = await client.rpc(function, dict(arguments)).execute()
        except APIError as error:
            _translate(error)
        except (httpx.HTTPError, OSError, TimeoutError) as error:
            # Some name the address, but none the headers with the key; time-outs have no text.
            reason = str(error) or "no answer in time"
            raise StoreUnavailableError(f"the REST interface can't be reached: {reason}") from error
        if isinstance(answer.data, str):
            # The library passes on as text what isn't JSON: some proxy's page, and no answer.
            raise StoreUnavailableError("the REST interface answered something else than JSON")
        return answer.data

    async def _open(self) -> "AsyncClient":
        async with self._opening:
            if self._closed:
                raise StoreUnavailableError("the store is closed")
            if self._client is None:
                # In a thread: half a second of imports must not hold up leases.
                await asyncio.to_thread(_load_library)
                from supabase import AsyncClientOptions, AsyncSupabaseException, acreate_client

                # HTTP/2 connections of long-lived workers are reset under load.
                self._connections = httpx.AsyncClient(
                    http2=False,
                    timeout=self._timeout_s,
                    event_hooks={"response": [_refuse_non_answers]},
                )
                options = AsyncClientOptions(
                    headers={"Authorization": f"Bearer {self._credentials.bearer}"},
                    httpx_client=self._connections,
                    auto_refresh_token=False,
                    persist_session=False,
                )
                try:
                    self._client = await acreate_client(self._url, self._credentials.key, options)
                except AsyncSupabaseException as error:
                    # The library's own class for a malformed address or key; it quotes neither.
                    raise StoreRejectedError(f"the Supabase client: {error}") from None
            return self._client


def _load_library() -> None:
    import supabase

    del supabase


async def _refuse_non_answers(response: httpx.Response) -> None:
    """Raise for what gateways and limits say: the library would lose the status.

    PostgREST's own 500 carries the database's code, which decides.
    """
    status = response.status_code
    refused = status in _LIMITED or status > httpx.codes.INTERNAL_SERVER_ERROR
    if status == httpx.codes.INTERNAL_SERVER_ERROR:
        refused = b'"code"' not in await response.aread()
    if refused:
        text = f"status {status} {response.reason_phrase}"
        raise httpx.HTTPStatusError(text, request=response.request, response=response)


def _translate(error: "APIError") -> NoReturn:
    """Raise the store's error for PostgREST's: without its details, which may show row data.

    The code is an SQLSTATE or PostgREST's own.
    """
    code = str(error.code or "")
    message = error.message or "refused without a word"
    if rows.is_unmigrated(code, message):
        raise mismatch(None) or SchemaMismatchError(message) from error
    if says_expired(message):
        message = EXPIRED
    # A gateway in front of PostgREST refuses without a code.
    said = f"{message} ({code})" if code else message
    if code in _UNREACHED_DATABASE or rows.is_unavailable(code):
        raise StoreUnavailableError(said) from error
    raise StoreRejectedError(said) from error

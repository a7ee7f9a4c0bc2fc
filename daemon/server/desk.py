"""Rows for the routes. The database may not be there yet, be away or refuse: each is an `ApiError`.

NOT_READY         503  the worker starts: it hasn't reached the database yet
DATABASE_ERROR    503  the database doesn't answer; `Retry-After` says when to come back
DATABASE_ERROR    500  it refused: a trigger, a missing right
DATABASE_ERROR    422  it refused the row that was asked for
NOT_FOUND         404  there is no such job, or none of this worker's kind
"""

import logging
from collections.abc import Awaitable, Callable, Sequence
from http import HTTPStatus
from typing import TypeVar
from uuid import UUID

from aiohttp import hdrs, web

from daemon.job_rows import JobDesk, JobRow, NewJob, Submitted
from daemon.jobs import ErrorCode, Status
from daemon.server.errors import ApiError
from daemon.telemetry.redaction import redact
from daemon.values import SchemaMismatchError, StoreRejectedError, StoreUnavailableError

_log = logging.getLogger("daemon.server")

Answer = TypeVar("Answer")

RETRY_AFTER_S = 5
"""What a caller is told to wait while the database is away."""

_LONGEST_ID = 100
"""Characters of an unknown id that are repeated to its sender."""


class Desk:
    """The jobs table as routes see it; they exist before the database does."""

    def __init__(self) -> None:
        self._database: JobDesk | None = None
        self._cancelled: Callable[[UUID], object] = lambda _: None

    def open(self, database: JobDesk, cancelled: Callable[[UUID], object]) -> None:
        """Serve from now on.

        Args:
            database: where the rows are.
            cancelled: told of each job whose row was cancelled here, to stop its run.
        """
        self._database, self._cancelled = database, cancelled

    async def submit(self, job: NewJob) -> Submitted:
        """Add a job, unless there is one of that id."""

        async def twice(database: JobDesk) -> Submitted:
            try:
                return await database.submit(job)
            except StoreUnavailableError:
                # It may have been added all the same: who asks again under another id would have
                # two jobs.
                return await database.submit(job)

        return await self._ask(twice, refused=HTTPStatus.UNPROCESSABLE_ENTITY)

    async def look(self, job_ids: Sequence[UUID]) -> dict[UUID, JobRow]:
        """Return the rows of those that exist."""
        return await self._ask(lambda database: database.look(job_ids))

    async def cancel(self, job_id: UUID) -> str | None:
        """Cancel an unfinished job, and stop it at once if it runs here.

        Returns:
            The status that it has now; None: there is no such job.
        """
        status = await self._ask(lambda database: database.cancel(job_id))
        if status == Status.CANCELLED:
            self._cancelled(job_id)
        return status

    async def _ask(
        self,
        call: Callable[[JobDesk], Awaitable[Answer]],
        refused: HTTPStatus = HTTPStatus.INTERNAL_SERVER_ERROR,
    ) -> Answer:
        if self._database is None:
            raise _later("the worker hasn't reached the database yet", "NOT_READY")
        try:
            return await call(self._database)
        except StoreUnavailableError as error:
            # Not logged: with streams open it would be a line a second, and `/status` shows it.
            raise _later("the database doesn't answer", ErrorCode.DATABASE_ERROR) from error
        except StoreRejectedError as error:
            _log.warning("rows over HTTP: %s", error)
            message = f"the database refused: {redact(str(error))}"
            raise ApiError(refused, message, ErrorCode.DATABASE_ERROR) from error
        except SchemaMismatchError as error:
            raise _later(str(error), ErrorCode.DATABASE_ERROR) from error


def job_id_of(request: web.Request) -> UUID:
    """Return the id in a request's path; what isn't one names no job."""
    text = request.match_info["job_id"]
    try:
        return UUID(text)
    except ValueError:
        raise no_such_job(text) from None


def no_such_job(job_id: UUID | str) -> ApiError:
    """Return the refusal of a job that isn't there."""
    return ApiError(HTTPStatus.NOT_FOUND, f"there is no job {str(job_id)[:_LONGEST_ID]}")


def _later(message: str, code: str) -> ApiError:
    return ApiError(
        HTTPStatus.SERVICE_UNAVAILABLE,
        message,
        code,
        headers={hdrs.RETRY_AFTER: str(RETRY_AFTER_S)},
    )

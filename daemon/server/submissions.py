"""Requests that become rows: answered with 202 and where to look, not with a result.

With an idempotency key the job's id follows from the caller and his key: whichever worker of a
fleet a repeated request reaches, it is the same row. The key lasts for as long as the row does.
"""

import hashlib
import json
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any
from uuid import UUID, uuid4, uuid5

from aiohttp import hdrs, web

from daemon.job_rows import NewJob
from daemon.server.desk import Desk
from daemon.server.errors import ApiError
from daemon.server.idempotency import REPLAYED

_NAMESPACE = UUID("0c36a853-5bff-4e7e-bbc6-1b0084a96b48")
"""Of the ids that follow from keys; another one would make other jobs of the same keys."""


class Submissions:
    """Turns requests into rows."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def accept(
        self,
        job_type: str,
        metadata: Mapping[str, Any],
        *,
        caller: str,
        user_id: UUID | None = None,
        key: str | None = None,
    ) -> web.Response:
        """Add a job and answer 202; the same key again answers with the same job.

        Args:
            job_type: one of `daemon.job_types`.
            metadata: the request as rows have it. With a key it must be the same for the same
                request: a seed that is drawn here would make every repeat another request.
            caller: the name of the API key that was shown; callers have keys of their own.
            user_id: whose job it is, None: nobody's.
            key: as `idempotency_key` returns it.

        Raises:
            ApiError: the key was used for another request (422), the database refuses the row
                (422), doesn't answer or isn't reached yet (503).
        """
        job = NewJob(
            id=uuid4() if key is None else job_id_of_key(caller, key),
            job_type=job_type,
            metadata=metadata,
            user_id=user_id,
            fingerprint=None if key is None else _fingerprint(job_type, metadata, user_id),
        )
        submitted = await self._desk.submit(job)
        if not submitted.same:
            raise ApiError(
                HTTPStatus.UNPROCESSABLE_ENTITY, "the Idempotency-Key was used for another request"
            )
        # Without a key a row that was there is this request's own, whose answer was lost.
        replayed = key is not None and not submitted.created
        return _accepted(job.id, submitted.status, replayed=replayed)


def job_id_of_key(caller: str, key: str) -> UUID:
    """Return the id of the job that a caller asks for by a key."""
    # As JSON: no two pairs of caller and key are the same text.
    return uuid5(_NAMESPACE, json.dumps([caller, key]))


def _fingerprint(job_type: str, metadata: Mapping[str, Any], user_id: UUID | None) -> str:
    facts = [job_type, metadata, None if user_id is None else str(user_id)]
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def _accepted(job_id: UUID, status: str, *, replayed: bool) -> web.Response:
    path = f"/jobs/{job_id}"
    body = {
        "success": True,
        "job_id": str(job_id),
        "status": status,
        "status_url": path,
        "events_url": f"{path}/events",
    }
    headers = {
        hdrs.LOCATION: path,
        "Preference-Applied": "respond-async",
        hdrs.CACHE_CONTROL: "no-store",
    }
    if replayed:
        headers[REPLAYED] = "true"
    return web.json_response(body, status=HTTPStatus.ACCEPTED, headers=headers)

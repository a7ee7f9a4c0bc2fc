"""`GET /chat/health`: how chat is, whatever the other models do.

The database isn't asked for here: requests over HTTP are answered without it.
"""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from aiohttp import hdrs, web

from daemon.job_types import JOB_TYPES, Model
from daemon.server.answers import ARCHITECTURE, SYSTEM_PROMPT_FEATURES
from daemon.server.asking import MODEL_NOT_SERVED
from daemon.server.errors import ApiError
from daemon.server.reports import ModelState, Phase, Reports, Status
from daemon.telemetry.redaction import redact_value

_LOAD_FAILED = "the language model could not be loaded; it will be tried again"


def chat_health_answer(status: Status) -> dict[str, Any] | None:
    """Return the body of the answer; None if this worker doesn't serve chat. Pure."""
    health = status.health
    model = health.models.get(Model.CHAT)
    if model is None:
        return None
    failed = model.state is ModelState.FAILED
    word = "degraded" if failed else "healthy"
    chats = [job for job in status.jobs if _is_chat(job)]
    waiting = sum(job["phase"] == "waiting" for job in chats)
    return {
        "status": word if health.phase is Phase.SERVING else health.phase.value,
        "architecture": ARCHITECTURE,
        "model_loaded": model.state is ModelState.LOADED,
        "model_name": model.name,
        "model_state": model.state.value,
        "active_chats": len(chats) - waiting,
        "waiting_chats": waiting,
        "system_prompt_features": dict(SYSTEM_PROMPT_FEATURES),
        "system_prompt_respect_rate": status.performance.system_prompt_respect_rate,
        "reasons": [_LOAD_FAILED] if failed else [],
    }


def chat_health_routes(reports: Reports) -> list[web.RouteDef]:
    """Return the route; it answers from the reports alone, and awaits nothing."""

    async def chat_health(_request: web.Request) -> web.Response:
        body = chat_health_answer(reports.status())
        if body is None:
            message = "this worker doesn't serve chat"
            raise ApiError(HTTPStatus.NOT_FOUND, message, MODEL_NOT_SERVED)
        response = web.json_response(redact_value(body))
        response.headers[hdrs.CACHE_CONTROL] = "no-store"
        return response

    return [web.get("/chat/health", chat_health)]


def _is_chat(job: Mapping[str, Any]) -> bool:
    job_type = JOB_TYPES.get(job["job_type"])
    return job_type is not None and job_type.model is Model.CHAT

"""From a checked request to its result, or to the error that its sender is told."""

from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from http import HTTPStatus
from typing import Any, assert_never

from daemon.exchanges import Answers, Exchange, FullError, Order
from daemon.job_types import JOB_TYPES, Model
from daemon.jobs import Cancelled, Completed, ErrorCode, Failed, Outcome, Released, Retry
from daemon.server.errors import ApiError
from daemon.telemetry.redaction import redact

RETRY_AFTER_S = 5
"""What a caller is told to wait when the worker is full, starts, drains, or can't for now."""

MODEL_NOT_SERVED = "MODEL_NOT_SERVED"

_STATUS: Mapping[ErrorCode, HTTPStatus] = {
    ErrorCode.INVALID_PROMPT: HTTPStatus.BAD_REQUEST,
    ErrorCode.SYSTEM_PROMPT_MISSING: HTTPStatus.BAD_REQUEST,
    ErrorCode.GENERATION_FAILED: HTTPStatus.INTERNAL_SERVER_ERROR,
    # Another time, or another worker, may fare better.
    ErrorCode.VRAM_OVERFLOW: HTTPStatus.SERVICE_UNAVAILABLE,
    ErrorCode.MODEL_LOAD_FAILED: HTTPStatus.SERVICE_UNAVAILABLE,
    ErrorCode.NETWORK_ERROR: HTTPStatus.SERVICE_UNAVAILABLE,
    ErrorCode.DATABASE_ERROR: HTTPStatus.SERVICE_UNAVAILABLE,
}


class Inference:
    """Where requests are handed in.

    Args:
        answering: returns who answers them; None while the worker starts.
        models: returns those that this worker serves.
    """

    def __init__(
        self, answering: Callable[[], Answers | None], models: Callable[[], Collection[Model]]
    ) -> None:
        self._answering = answering
        self._models = models

    def check_served(self, job_type: str) -> None:
        """Raise 404 if this worker has no model for it."""
        model = JOB_TYPES[job_type].model
        if model not in self._models():
            raise ApiError(
                HTTPStatus.NOT_FOUND, f"this worker doesn't serve {model}", MODEL_NOT_SERVED
            )

    @contextmanager
    def begin(self, order: Order) -> Iterator[Exchange]:
        """Begin a request; leaving before its end stops it at its next step.

        Raises:
            ApiError: 503 while the worker starts, drains or is full; 404 without the model.
        """
        self.check_served(order.job_type)
        answering = self._answering()
        if answering is None:
            raise _unavailable("the worker is starting")
        try:
            asked = answering.ask(order)
            exchange = asked.__enter__()
        except FullError as error:
            raise _unavailable(str(error)) from None
        try:
            yield exchange
        finally:
            asked.__exit__(None, None, None)

    async def result(self, order: Order) -> Mapping[str, Any]:
        """Return a request's result when there is one.

        Raises:
            ApiError: there is none, and why.
        """
        with self.begin(order) as exchange:
            return result_of(await exchange.ended())


def result_of(outcome: Outcome) -> Mapping[str, Any]:
    """Return the result of a request that ended; raises `ApiError` if it has none."""
    match outcome:
        case Completed():
            return outcome.result
        case Failed() | Retry():
            status = _STATUS[outcome.error_code]
            headers = retry_after() if status is HTTPStatus.SERVICE_UNAVAILABLE else {}
            raise ApiError(status, redact(outcome.error), outcome.error_code.value, headers)
        case Released():
            raise _unavailable(f"the request was given back: {redact(outcome.reason)}")
        case Cancelled():
            raise ApiError(HTTPStatus.CONFLICT, "the request was cancelled", "CANCELLED")
        case _:
            assert_never(outcome)


def retry_after(seconds: int = RETRY_AFTER_S) -> dict[str, str]:
    """Return the header that says when to come back."""
    return {"Retry-After": str(seconds)}


def _unavailable(reason: str) -> ApiError:
    return ApiError(HTTPStatus.SERVICE_UNAVAILABLE, reason, headers=retry_after())

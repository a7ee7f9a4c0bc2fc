"""Which job a line of the log is about: bound once in the job's task, told by every line in it.

Lines of libraries carry it too. It costs one assignment a job: the fields are made when a line is.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Protocol
from uuid import UUID

JobIds = tuple[UUID, UUID, str, str, str]
"""What the lines of a job say of it, in the order of `JOB_FIELDS`; the trace is empty where it is
the job's own. Text is made of it when a line is: kept for all that are held it would cost more."""

JOB_FIELDS = ("job_id", "claim_id", "job_type", "model", "trace_id")
"""What every line of a job has."""


def job_fields(ids: JobIds) -> dict[str, str]:
    """Return by name what any line of a job says of it; what is empty isn't there."""
    job_id, claim_id, job_type, model, trace_id = ids
    values = str(job_id), str(claim_id), job_type, model, trace_id or job_id.hex
    return {name: value for name, value in zip(JOB_FIELDS, values, strict=True) if value}


class Described(Protocol):
    """Something that lines of the log can be about (`job_run.JobRun`)."""

    def log_fields(self) -> Mapping[str, str]:
        """Return what such a line says of it."""
        ...


_ABOUT: ContextVar[Described | None] = ContextVar("log_about", default=None)

INCOMING: ContextVar[str] = ContextVar("traceparent", default="")
"""The `traceparent` header of the HTTP request that is being answered."""

IDENTIFIERS = frozenset(JOB_FIELDS)


def bind(about: Described) -> None:
    """Have all lines of this task, and of those that it starts, say what they are about."""
    _ABOUT.set(about)


def current() -> Described | None:
    """Return what a line that is written here is about."""
    return _ABOUT.get()


@contextmanager
def lines_of(about: Described | None) -> Iterator[None]:
    """Have the lines of a block say what they are about; None: nothing."""
    token = _ABOUT.set(about)
    try:
        yield
    finally:
        _ABOUT.reset(token)


def fields() -> Mapping[str, str]:
    """Return the fields of a line that is written here."""
    about = _ABOUT.get()
    return {} if about is None else about.log_fields()

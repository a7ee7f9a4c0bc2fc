"""Where a job stands in somebody's trace: W3C's `traceparent`, read and made. Pure.

    00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01
       trace id                         parent's id       sampled

A job that comes without one has a trace of its own, whose id is the job's: every worker that tries
the job then names the same trace, and nobody has to keep it.
"""

import re
from typing import NamedTuple
from uuid import UUID

_FORM = re.compile(r"(?!ff)([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")
_SAMPLED = 1


class Trace(NamedTuple):
    """A place in a trace; `parent_id` None: the job is its beginning. Ids are lower-case hex."""

    trace_id: str
    parent_id: str | None = None
    sampled: bool | None = None
    """Whether it is recorded, as whoever began it has decided; None: nobody has."""


def continued(job_id: UUID, *given: object) -> Trace:
    """Return the first usable `traceparent` of those given, else the job's own trace."""
    for each in given:
        if each and isinstance(each, str) and (trace := parsed(each)) is not None:
            return trace
    return Trace(job_id.hex)


def parsed(traceparent: str) -> Trace | None:
    """Return what it says; None: it isn't one, and by the standard goes unheeded."""
    match = _FORM.fullmatch(traceparent.strip())
    if match is None:
        return None
    version, trace_id, parent_id, flags, more = match.groups()
    # Later versions may append to it, this one may not; zeros are no ids.
    if (more and version == "00") or not int(trace_id, 16) or not int(parent_id, 16):
        return None
    return Trace(trace_id, parent_id, bool(int(flags, 16) & _SAMPLED))

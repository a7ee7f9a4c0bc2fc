"""Where a job stands in a trace: its sender's, or its own."""

from uuid import UUID

import pytest
from scripted import a_job

from daemon.job_run import JobRun
from daemon.telemetry.traceparent import Trace, continued, parsed

JOB = UUID("7c9e6679-7425-40de-944b-e07fc1f90ae7")
ID = "4bf92f3577b34da6a3ce929d0e0e4736"
PARENT = "00f067aa0ba902b7"


@pytest.mark.parametrize(
    ("traceparent", "expected"),
    [
        (f"00-{ID}-{PARENT}-01", Trace(ID, PARENT, sampled=True)),
        (f" 00-{ID}-{PARENT}-02 ", Trace(ID, PARENT, sampled=False)),
        (f"cc-{ID}-{PARENT}-01-what-comes", Trace(ID, PARENT, sampled=True)),
        (f"00-{ID}-{PARENT}-01-more", None),
        (f"ff-{ID}-{PARENT}-01", None),
        (f"00-{'0' * 32}-{PARENT}-01", None),
        (f"00-{ID}-{'0' * 16}-01", None),
        (f"00-{ID.upper()}-{PARENT}-01", None),
        (f"00-{ID}-{PARENT}", None),
        ("", None),
    ],
)
def test_it_is_read_by_the_standard(traceparent: str, expected: Trace | None) -> None:
    """What isn't one goes unheeded."""
    assert parsed(traceparent) == expected


@pytest.mark.parametrize("given", [(), ("",), (None, 7, {}), ("nonsense",)])
def test_a_job_without_one_has_its_own(given: tuple[object, ...]) -> None:
    """Named by the job's id: each worker that tries it says the same."""
    assert continued(JOB, *given) == Trace("7c9e6679742540de944be07fc1f90ae7")


@pytest.mark.parametrize(
    ("request_", "header", "expected"),
    [
        ({"traceparent": f"00-{ID}-{PARENT}-01"}, "", ID),
        ({"traceparent": f"00-{ID}-{PARENT}-01"}, f"00-{'a' * 32}-{PARENT}-01", "a" * 32),
        ({"traceparent": ["no"]}, "", JOB.hex),
        ("no object", "", JOB.hex),
    ],
    ids=["row", "header first", "no text", "no object"],
)
def test_a_run_continues_what_it_came_with(request_: object, header: str, expected: str) -> None:
    """A row's in its metadata, a request's in its header; and says so in its lines."""
    job = a_job(id=JOB, request=request_)
    run = JobRun(job, 0.0, lambda: 0.0, traceparent=header)

    assert run.log_fields() == {
        "job_id": str(JOB), "claim_id": str(job.claim_id), "job_type": "chat", "model": "chat",
        "trace_id": expected,
    }  # fmt: skip

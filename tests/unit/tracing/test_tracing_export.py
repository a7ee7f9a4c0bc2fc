"""Spans as the collector gets them: in one tree, in their sender's trace, and only if sampled."""

import logging
from collections.abc import Sequence
from typing import Any
from uuid import UUID, uuid4

import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode
from scripted import a_job

from daemon.job_run import JobRun, Phase
from daemon.jobs import Completed, ErrorCode, Failed, Outcome, Recorded, Retry
from daemon.outside_sections import TracingSettings
from daemon.telemetry import logs
from daemon.telemetry.tracing.export import Patient, Tracing
from daemon.telemetry.tracing.plan import span_id_of
from daemon.values import WorkerIdentity

SENDER = "4bf92f3577b34da6a3ce929d0e0e4736"
SPAN = "00f067aa0ba902b7"


def told(*runs: tuple[JobRun, Outcome], sample: float = 1.0) -> dict[str, list[ReadableSpan]]:
    """Return the spans of runs by name."""
    exporter = InMemorySpanExporter()
    settings = TracingSettings(enabled=True, sample=sample)
    tracing = Tracing(settings, WorkerIdentity("gpu-1", uuid4()), "1.2", exporter)
    for run, outcome in runs:
        tracing.ended(run, outcome, Recorded.RECORDED)
    tracing.flush()
    found: dict[str, list[ReadableSpan]] = {}
    for span in exporter.get_finished_spans():
        found.setdefault(span.name, []).append(span)
    return found


def a_run(traceparent: str | None = None, *, direct: bool = False, **job: Any) -> JobRun:
    request = {"prompt": "hi", **({"traceparent": traceparent} if traceparent else {})}
    moments = iter(range(100, 200))
    run = JobRun(a_job(request=request, **job), 100.0, lambda: float(next(moments)), direct=direct)
    for phase in (Phase.WAITING, Phase.RUNNING, Phase.FINISHING, Phase.FINISHING):
        run.enter(phase)
    return run


def test_a_sender_s_trace_is_continued() -> None:
    """The job's span is the child of the span that sent it, and all others are below it."""
    run = a_run(f"00-{SENDER}-{SPAN}-01")
    spans = told((run, Completed({})))
    [job], [attempt], [ran] = spans["job chat"], spans["attempt"], spans["run"]

    assert {each.context.trace_id for found in spans.values() for each in found} == {
        int(SENDER, 16)
    }
    assert job.parent is not None
    assert (job.parent.span_id, job.kind) == (int(SPAN, 16), SpanKind.CONSUMER)
    assert attempt.parent is not None
    assert attempt.parent.span_id == job.context.span_id
    assert ran.parent is not None
    assert ran.parent.span_id == attempt.context.span_id
    assert ran.start_time is not None
    assert ran.end_time is not None
    assert ran.end_time - ran.start_time == pytest.approx(1e9, rel=1e-3)
    assert job.resource.attributes["ourvidz.worker.id"] == "gpu-1"


def test_a_job_of_its_own_begins_its_trace() -> None:
    """Every attempt at it stands in the same trace, below the same span."""
    job = UUID(int=2**100 + 1)
    first, second = (a_run(id=job, attempt=number) for number in (1, 2))
    spans = told((first, Retry("away", ErrorCode.NETWORK_ERROR, 1)), (second, Completed({})))
    [root] = spans["job chat"]

    assert root.parent is None
    assert (root.context.trace_id, root.context.span_id) == (job.int, span_id_of(first))
    assert [each.parent and each.parent.span_id for each in spans["attempt"]] == [
        root.context.span_id
    ] * 2
    assert [each.status.status_code for each in spans["attempt"]] == [
        StatusCode.ERROR, StatusCode.UNSET,
    ]  # fmt: skip


def test_a_defect_in_a_trace_costs_no_job() -> None:
    """It is called by the job's own coroutine."""
    run = a_run()
    run.__dict__["trace"] = None

    assert told((run, Completed({})), (a_run(), Completed({})))["job chat"]


def test_an_error_is_told_by_its_code() -> None:
    """Its text may repeat a prompt."""
    spans = told((a_run(), Failed("can't take a quokka", ErrorCode.INVALID_PROMPT)))
    [job] = spans["job chat"]

    assert job.status.status_code is StatusCode.ERROR
    assert job.attributes is not None
    assert job.attributes["error.type"] == "INVALID_PROMPT"
    assert "quokka" not in str([each.to_json() for found in spans.values() for each in found])


def test_a_request_is_a_server_s_span() -> None:
    """Somebody waits for it."""
    [job] = told((a_run(direct=True), Completed({})))["job chat"]

    assert job.kind is SpanKind.SERVER


@pytest.mark.parametrize(
    ("flags", "sample", "expected"),
    [("01", 0.0, True), ("00", 1.0, False), (None, 0.0, False), (None, 1.0, True)],
)
def test_the_sender_decides_what_is_recorded(
    flags: str | None, sample: float, expected: bool
) -> None:
    """The setting is for jobs of which nobody has decided."""
    traceparent = None if flags is None else f"00-{SENDER}-{SPAN}-{flags}"

    assert bool(told((a_run(traceparent), Completed({})), sample=sample)) is expected


def test_a_share_is_a_share() -> None:
    """The same for each attempt, since it follows from the trace's id."""
    ids = [UUID(int=(3 << 64) | (number << 56)) for number in range(256)]
    runs = [(a_run(id=each), Completed({})) for each in ids]

    assert len(told(*runs, sample=0.25)["job chat"]) == 64


class Unwilling(SpanExporter):
    """Takes nothing, or raises."""

    answer: SpanExportResult | Exception = SpanExportResult.FAILURE

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer

    def shutdown(self) -> None:
        pass


def test_a_collector_that_is_away_is_mentioned_once_a_minute(
    caplog: pytest.LogCaptureFixture, restored_logging: None
) -> None:
    """However many batches are lost, and however it fails."""
    now = [0.0]
    exporter = Unwilling()
    patient = Patient(exporter, lambda: now[0])
    said: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: said.append(record.getMessage())  # type: ignore[method-assign]
    logs.configure("info")
    logging.getLogger().addHandler(handler)

    for second in (0, 1, 59, 61):
        now[0] = float(second)
        patient.export(())
    exporter.answer = OSError("no route")
    patient.export(())
    now[0] = 200.0
    patient.export(())
    exporter.answer = SpanExportResult.SUCCESS
    patient.export(())

    assert said.count("traces don't arrive") == 3

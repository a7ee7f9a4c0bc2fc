"""Spans to an OpenTelemetry collector, in batches, from a thread of its own.

    a run ends -> plan -> the SDK's bounded queue -> its thread -> OTLP over HTTP

The queue drops the oldest when the collector is slow or away, and nobody waits for it: the worker
says so once a minute, and goes on.
"""

import asyncio
import contextlib
import logging
import threading
import time
from collections.abc import Callable, Sequence

import structlog
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.sdk.trace.sampling import ALWAYS_ON
from opentelemetry.trace import (
    NonRecordingSpan,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    TraceFlags,
    Tracer,
    set_span_in_context,
)

from daemon.job_run import JobRun
from daemon.jobs import Outcome, Recorded
from daemon.outside_sections import TracingSettings
from daemon.telemetry.redaction import redact
from daemon.telemetry.tracing.plan import Plan, Span, planned
from daemon.values import StepReport, WorkerIdentity

EXPORT_S = 10.0
"""How long the collector may take for a batch, further tries included."""

GOODBYE_S = 3.0
"""How long a worker that stops waits for its last spans to arrive."""

QUEUE = 2048
BATCH = 256
_SAY_AGAIN_S = 60.0
_HALVES = 1 << 64

_log = structlog.get_logger("daemon.telemetry.tracing")


class _Ids(RandomIdGenerator):
    """Random ids, but for those of a job and its trace, which follow from the job."""

    def __init__(self) -> None:
        self.trace_id = 0
        self.span_id: int | None = None

    def generate_trace_id(self) -> int:
        return self.trace_id

    def generate_span_id(self) -> int:
        given, self.span_id = self.span_id, None
        return super().generate_span_id() if given is None else given


class Patient(SpanExporter):
    """Passes batches on, and says once a minute that none arrive; runs in the SDK's thread."""

    def __init__(self, exporter: SpanExporter, clock: Callable[[], float] = time.monotonic) -> None:
        self._exporter = exporter
        self._clock = clock
        self._said_at: float | None = None
        self._lost = 0
        # Its own lines say so at each try.
        logging.getLogger("opentelemetry").setLevel(logging.CRITICAL)

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Send a batch; one that doesn't arrive is lost."""
        try:
            result = self._exporter.export(spans)
            reason = "the collector refuses or is away"
        except Exception as error:  # noqa: BLE001 -- whatever its libraries raise
            result, reason = SpanExportResult.FAILURE, f"{type(error).__name__}: {error}"
        if result is SpanExportResult.SUCCESS:
            if self._lost:
                _log.info("traces arrive again", lost=self._lost)
            self._lost, self._said_at = 0, None
            return result
        self._lost += len(spans)
        now = self._clock()
        if self._said_at is None or now - self._said_at >= _SAY_AGAIN_S:
            self._said_at = now
            _log.warning("traces don't arrive", lost=self._lost, error=redact(reason))
        return result

    def shutdown(self) -> None:
        """Have the exporter give up."""
        self._exporter.shutdown()


class Tracing:
    """Implements `outside.Watcher`; `run` keeps it until the worker stops.

    Args:
        settings: of the section `tracing`.
        worker: who does the work.
        version: of the daemon.
        exporter: where spans go; None: to the collector of the settings.
    """

    def __init__(
        self,
        settings: TracingSettings,
        worker: WorkerIdentity,
        version: str,
        exporter: SpanExporter | None = None,
    ) -> None:
        self._sample = settings.sample
        self._ids = _Ids()
        resource = Resource.create(
            {
                "service.name": settings.service_name,
                "service.version": version,
                "service.instance.id": str(worker.instance_id),
                "ourvidz.worker.id": worker.worker_id,
            }
        )
        self._provider = TracerProvider(
            sampler=ALWAYS_ON, resource=resource, id_generator=self._ids, shutdown_on_exit=False
        )
        self._provider.add_span_processor(
            BatchSpanProcessor(
                Patient(exporter or _exporter(settings)),
                max_queue_size=QUEUE,
                schedule_delay_millis=1000,
                max_export_batch_size=BATCH,
            )
        )
        self._tracer: Tracer = self._provider.get_tracer("ourvidz-worker", version)

    def stepped(self, run: JobRun, report: StepReport) -> None:
        """Do nothing: a run is told when it has ended."""

    def ended(self, run: JobRun, outcome: Outcome | None, recorded: Recorded | None) -> None:
        """Tell a run's spans, if its trace is one that is recorded."""
        try:
            if self._sampled(run):
                offset_s = time.time() - run.clock()
                self._tell(run, planned(run, outcome, recorded, offset_s))
        except Exception:  # noqa: BLE001 -- a defect in a trace must not cost a job
            _log.exception("a trace can't be told")

    async def run(self) -> None:
        """Wait to be cancelled, and then shortly for the last spans to arrive."""
        try:
            await asyncio.Event().wait()
        finally:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._shut_down(), GOODBYE_S)

    def flush(self) -> None:
        """Wait until what was told has been sent; for tests."""
        self._provider.force_flush()

    def _sampled(self, run: JobRun) -> bool:
        """Say whether it is recorded: as its sender decided, else so many of all traces."""
        if run.trace.sampled is not None:
            return run.trace.sampled
        return int(run.trace.trace_id[16:], 16) < self._sample * _HALVES

    def _tell(self, run: JobRun, plan: Plan) -> None:
        trace = run.trace
        self._ids.trace_id = int(trace.trace_id, 16)
        sender = None if trace.parent_id is None else int(trace.parent_id, 16)
        if plan.job is not None:
            self._ids.span_id = plan.job_span_id
            kind = SpanKind.SERVER if run.direct else SpanKind.CONSUMER
            self._span(plan.job, self._under(sender), kind)
        self._span(plan.attempt, self._under(plan.job_span_id), SpanKind.INTERNAL)

    def _under(self, span_id: int | None) -> Context:
        if span_id is None:
            return Context()
        flags = TraceFlags(TraceFlags.SAMPLED)
        parent = SpanContext(self._ids.trace_id, span_id, is_remote=True, trace_flags=flags)
        return set_span_in_context(NonRecordingSpan(parent), Context())

    def _span(self, span: Span, context: Context, kind: SpanKind) -> None:
        attributes = {**span.attributes, **({"error.type": span.error} if span.error else {})}
        made = self._tracer.start_span(
            span.name, context, kind, attributes, start_time=_nanoseconds(span.start)
        )
        if span.error:
            made.set_status(Status(StatusCode.ERROR, span.error))
        for child in span.children:
            self._span(child, set_span_in_context(made, context), SpanKind.INTERNAL)
        made.end(_nanoseconds(max(span.start, span.end)))

    async def _shut_down(self) -> None:
        """Send what is left. Not by the loop's threads, for whose end the process would wait."""
        loop, done = asyncio.get_running_loop(), asyncio.Event()

        def shut_down() -> None:
            self._provider.shutdown()
            with contextlib.suppress(RuntimeError):  # the loop didn't wait
                loop.call_soon_threadsafe(done.set)

        threading.Thread(target=shut_down, name="last traces", daemon=True).start()
        await done.wait()


def _exporter(settings: TracingSettings) -> SpanExporter:
    headers = {name: value.get_secret_value() for name, value in settings.headers.items()}
    return OTLPSpanExporter(settings.endpoint, headers=headers, timeout=EXPORT_S)


def _nanoseconds(seconds: float) -> int:
    return int(seconds * 1e9)

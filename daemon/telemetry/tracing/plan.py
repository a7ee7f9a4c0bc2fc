"""The spans of a run, made from the run's own account when it has ended. Pure.

    job chat                      from the row's insert to its end; its sender's trace, or its own
      attempt                     this run of it, from when the row was due
        queue | wake_up           until it was claimed and asked for the GPU
        queue | vram | switch | load      why it waited for the GPU, in this order
        enhance | run | upload | finish

The job's own span is told by the run that ends it. Its id follows from the job's, so that each
attempt can name it, on whichever worker it was.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any

from daemon.job_run import Interval, JobRun, Phase
from daemon.jobs import Completed, Failed, Outcome, Recorded, Released, Retry
from daemon.run_events import word_of

_NAMES = {Phase.RUNNING: "run", Phase.UPLOADING: "upload", Phase.FINISHING: "finish"}
_WAITS = ("queue", "vram", "switch", "load")
_LEAST_S = 1e-6

_OPERATIONS = {"chat": "chat", "enhance": "text_completion", "generate": "text_completion"}
"""Of language models, by the names of OpenTelemetry; what draws has another."""

Attributes = dict[str, str | int | float | bool]


@dataclass
class Span:
    """One span: seconds since 1970, and those within it."""

    name: str
    start: float
    end: float
    attributes: Attributes = field(default_factory=dict)
    children: list["Span"] = field(default_factory=list)
    error: str | None = None
    """An error's code; its text may hold what users wrote."""


@dataclass(frozen=True)
class Plan:
    """The spans of one run: the attempt, and the job if this run has ended it."""

    job_span_id: int
    attempt: Span
    job: Span | None


def planned(
    run: JobRun, outcome: Outcome | None, recorded: Recorded | None, unix_offset_s: float
) -> Plan:
    """Return the spans of a run that has ended.

    Args:
        run: the run, all its phases closed.
        outcome: how it ended.
        recorded: what became of the outcome.
        unix_offset_s: what to add to the run's monotonic seconds to have those since 1970.
    """
    word = word_of(outcome) if recorded is Recorded.RECORDED else "lost"
    last = isinstance(outcome, Retry) and run.job.attempt >= run.job.max_attempts
    if word == "retry" and last:
        word = "failed"
    error = _error(outcome, word)
    due = run.claimed_at - run.job.queued_s
    end = max([interval.end for interval in run.intervals], default=run.claimed_at)
    attempt = Span("attempt", due, end, {**_attempt(run), "ourvidz.outcome": word}, error=error)
    attempt.children = [*_before(run, due), *_phases(run, outcome)]
    _shift(attempt, unix_offset_s)
    job = None
    if word in {"completed", "failed", "cancelled"}:
        inserted = min(run.job.created_at.timestamp(), attempt.start)
        name = f"job {run.job.job_type}"
        job = Span(name, inserted, attempt.end, {**_job(run), "ourvidz.outcome": word}, error=error)
    return Plan(span_id_of(run), attempt, job)


def span_id_of(run: JobRun) -> int:
    """Return the id of the job's own span, the same for each attempt."""
    digest = blake2b(run.job.id.bytes, digest_size=8, person=b"ourvidz span").digest()
    return int.from_bytes(digest, "big") or 1


def _before(run: JobRun, due: float) -> Iterator[Span]:
    """Yield the time until it asked for the GPU: unwanted, then heard of and claimed."""
    heard_at = run.claimed_at - min(run.job.queued_s, run.open_s)
    if heard_at - due > _LEAST_S:
        yield Span("queue", due, heard_at)
    first_end = run.intervals[0].end if run.intervals else run.claimed_at
    asked_at = first_end if run.asked_at is None else run.asked_at
    yield Span("wake_up", heard_at, max(heard_at, asked_at))


def _phases(run: JobRun, outcome: Outcome | None) -> Iterator[Span]:
    for interval in run.intervals:
        if interval.phase is Phase.WAITING:
            if run.asked_at is not None and interval.end > run.asked_at:
                yield from _waited(run, interval)
        elif interval.phase is Phase.RUNNING and interval.preparing:
            yield Span("enhance", interval.start, interval.end, _model("enhance", "chat"))
        else:
            span = Span(_NAMES[interval.phase], interval.start, interval.end)
            if interval.phase is Phase.RUNNING:
                span.attributes = _run(run, outcome)
            yield span


def _waited(run: JobRun, interval: Interval) -> Iterator[Span]:
    """Yield why it waited: the scheduler's seconds, laid one after another up to the grant."""
    start = max(interval.start, run.asked_at or interval.start)
    given = [waits for at, waits in run.grants if interval.start <= at <= interval.end]
    seconds = [sum(each[index] for each in given) for index in range(len(_WAITS))]
    # What the scheduler wasn't told of was waiting for its turn as well.
    seconds[0] += max(0.0, interval.end - start - sum(seconds))
    at = interval.end - sum(seconds)
    for name, lasted in zip(_WAITS, seconds, strict=True):
        if lasted > _LEAST_S:
            yield Span(name, max(start, at), at + lasted)
        at += lasted


def _shift(span: Span, seconds: float) -> None:
    span.start, span.end = span.start + seconds, span.end + seconds
    for child in span.children:
        _shift(child, seconds)


def _error(outcome: Outcome | None, word: str) -> str | None:
    if word == "lost":
        return "lost"
    if isinstance(outcome, Released) and outcome.engine_lost:
        return "engine_lost"
    return outcome.error_code.value if isinstance(outcome, Failed | Retry) else None


def _job(run: JobRun) -> Attributes:
    job = run.job
    return {
        "messaging.system": "ourvidz",
        "messaging.destination.name": "requests" if run.direct else "jobs",
        "messaging.operation.name": "process",
        "messaging.operation.type": "process",
        "messaging.message.id": str(job.id),
        "ourvidz.job.type": job.job_type,
        "ourvidz.job.attempts": job.attempt,
    }


def _attempt(run: JobRun) -> Attributes:
    fields = run.log_fields()
    return {
        "messaging.system": "ourvidz",
        "messaging.message.id": fields["job_id"],
        "ourvidz.job.type": run.job.job_type,
        "ourvidz.job.attempt": run.job.attempt,
        "ourvidz.claim.id": fields["claim_id"],
    }


def _run(run: JobRun, outcome: Outcome | None) -> Attributes:
    """Return what the result says of the run itself, by OpenTelemetry's names."""
    result = outcome.result if isinstance(outcome, Completed) else {}
    attributes = _model(run.job.job_type, run.log_fields().get("model", ""))
    _copy(result, ("model_info", "model_name"), attributes, "gen_ai.request.model")
    _copy(result, ("metadata", "model_name"), attributes, "gen_ai.request.model")
    _copy(result, ("usage", "prompt_tokens"), attributes, "gen_ai.usage.input_tokens")
    _copy(result, ("usage", "completion_tokens"), attributes, "gen_ai.usage.output_tokens")
    for name in ("max_tokens", "temperature", "top_p", "seed"):
        _copy(result, ("parameters", name), attributes, f"gen_ai.request.{name}")
    for name, value in run.timings.items():
        if name.startswith("engine_"):
            attributes[f"ourvidz.{name}_s"] = round(value, 6)
    return attributes


def _model(job_type: str, model: str) -> Attributes:
    return {
        "gen_ai.operation.name": _OPERATIONS.get(job_type, "generate_content"),
        "gen_ai.provider.name": "ourvidz",
        "gen_ai.request.model": model,
    }


def _copy(result: Mapping[str, Any], path: tuple[str, str], to: Attributes, name: str) -> None:
    inner = result.get(path[0])
    value = inner.get(path[1]) if isinstance(inner, Mapping) else None
    if isinstance(value, str | int | float):
        to[name] = value

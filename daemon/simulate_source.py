"""The jobs that are simulated: from a file, from the database, or generated."""

import asyncio
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace

from daemon.job_types import JOB_TYPES
from daemon.scheduling.models import ModelSpec
from daemon.scheduling.trace import TraceJob, generate
from daemon.settings import Settings
from daemon.simulate_options import SimulateOptions, duration_of
from daemon.startup import StartupError
from daemon.store.postgres import PostgresStore
from daemon.traces import Arrival, TraceError, read_trace
from daemon.values import SchemaMismatchError, StoreRejectedError, StoreUnavailableError

MOST_JOBS = 100_000
"""As many jobs of the database's are simulated at most."""

_WEEK_S = 7 * 86400.0
_JOBS = 300
_PER_HOUR = 200.0
_QUERY_S = 120.0
"""How long the export may take."""


def check_source(options: SimulateOptions) -> None:
    """Raise `StartupError` unless the options name one source of jobs."""
    generated = {options.jobs, options.per_hour, options.seed} != {None}
    if sum([options.trace is not None, options.from_database, generated]) > 1:
        raise StartupError(
            "give one source of jobs: --trace, or --from-database, "
            "or --jobs with --per-hour and --seed"
        )
    if options.since is not None and not options.from_database:
        raise StartupError("--since goes with --from-database")


def arrivals_of(
    options: SimulateOptions, settings: Settings, models: Sequence[ModelSpec]
) -> tuple[list[Arrival], str]:
    """Return the jobs, and where they come from in words.

    Raises:
        StartupError: the database or the file can't be read.
    """
    if options.trace is not None:
        try:
            return read_trace(options.trace), f"from {options.trace}"
        except TraceError as error:
            raise StartupError(str(error)) from error
    if options.from_database:
        within_s = options.since or _WEEK_S
        found = _fetched(settings, within_s)
        first = f", the first {MOST_JOBS} of them" if len(found) == MOST_JOBS else ""
        return found, f"of the last {duration_of(within_s)}{first}"
    count = _JOBS if options.jobs is None else options.jobs
    per_hour = _PER_HOUR if options.per_hour is None else options.per_hour
    seed = options.seed or 0
    jobs = generate(seed, count, models, per_hour=per_hour)
    return _as_arrivals(jobs, models), f"generated, {per_hour:g} an hour, seed {seed}"


def trace_of(
    arrivals: Iterable[Arrival], models: Iterable[ModelSpec]
) -> tuple[list[TraceJob], Counter[str]]:
    """Return what the scheduler is to serve, and the job types that no model here serves.

    The trace begins with its first job. A run that nobody measured takes what is expected.
    """
    classes = {(model.name, name): q for model in models for name, q in model.qualities.items()}
    jobs, left_out = [], Counter[str]()
    for number, arrival in enumerate(sorted(arrivals, key=lambda each: each.arrived_s)):
        job_type = JOB_TYPES.get(arrival.job_type)
        quality = classes.get((job_type.model, job_type.quality)) if job_type else None
        if job_type is None or quality is None:
            left_out[arrival.job_type] += 1
            continue
        jobs.append(
            TraceJob(
                id=f"job-{number}",
                model=job_type.model,
                quality=job_type.quality,
                arrives_s=arrival.arrived_s,
                run_s=quality.run_s if arrival.run_s is None else arrival.run_s,
                user=None if arrival.user is None else str(arrival.user),
                weight=quality.weight,
                priority=arrival.priority,
            )
        )
    return _from_zero(jobs), left_out


def _from_zero(jobs: Sequence[TraceJob]) -> list[TraceJob]:
    first_s = jobs[0].arrives_s if jobs else 0.0
    return [replace(job, arrives_s=job.arrives_s - first_s) for job in jobs]


def _as_arrivals(jobs: Iterable[TraceJob], models: Iterable[ModelSpec]) -> list[Arrival]:
    """Return generated jobs as if the table had had them."""
    names = {
        (model.name, name): quality.job_types[0]
        for model in models
        for name, quality in model.qualities.items()
    }
    numbers: dict[str | None, int] = {}
    return [
        Arrival(
            arrived_s=job.arrives_s,
            job_type=names[job.model, job.quality],
            user=numbers.setdefault(job.user, len(numbers) + 1),
            run_s=job.run_s,
        )
        for job in jobs
    ]


def _fetched(settings: Settings, within_s: float) -> list[Arrival]:
    if settings.database.dsn is None:
        raise StartupError("--from-database needs a direct connection: set DATABASE_URL")
    store = PostgresStore(
        settings.database.dsn.get_secret_value(), pool_size=1, statement_timeout_s=_QUERY_S
    )

    async def fetch() -> list[Arrival]:
        try:
            await store.check_schema()
            return await store.arrivals(within_s, MOST_JOBS)
        finally:
            await store.aclose()

    try:
        return asyncio.run(fetch())
    except (SchemaMismatchError, StoreUnavailableError) as error:
        raise StartupError(str(error)) from error
    except StoreRejectedError as error:
        raise StartupError(f"the database refused: {error}") from error

"""One claimed job from claim to recorded outcome.

    resolve parameters -> admission -> run in the engine -> (reservation returned)
      -> upload artifacts -> finish, fenced

Every end of a job is an `Outcome`, and `outcomes` is the only place where errors become outcomes.
The lease is held from the claim until the outcome is recorded.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

import structlog

from daemon.engine_ports import Admissions
from daemon.enhancement import Enhancement
from daemon.job_run import LOADING, WAITING, JobRun, Phase
from daemon.job_types import JOB_TYPES, JobType
from daemon.jobs import (
    BACKOFF_FACTOR,
    Completed,
    ErrorCode,
    Finish,
    Job,
    JobError,
    Outcome,
    Recorded,
    Retry,
)
from daemon.memory_ladder import AS_ASKED, Rung
from daemon.outcomes import outcome_of_error, outcome_of_interruption
from daemon.ports import ArtifactStore, Holder, ProgressTaker
from daemon.results import noted, result_of
from daemon.telemetry import context
from daemon.telemetry.prompts import PROMPTS
from daemon.values import (
    AdmissionRequest,
    Artifact,
    ArtifactFile,
    EngineLostError,
    RefusedError,
    RunCancelledError,
    RunOutput,
    StepReport,
    StoreRejectedError,
)
from daemon.wishes import request_of

FINISH_TRIES = 4
"""How often a result is offered to a database that refuses it: once, and 3 retries."""

LAST_UPLOAD_S = 5.0
"""How long a job that is stopped waits for the upload that is under way."""

_log = structlog.get_logger("daemon.execution")

Resolver = Callable[[JobType, Job], Mapping[str, Any]]
"""Validates a job's request and returns the parameters really used; raises `JobError`."""


class Recorder(Protocol):
    """Writes an outcome, and keeps at it while the database is away (the outbox)."""

    async def finish(self, finish: Finish) -> Recorded:
        """Return when the database answered; raises `StoreRejectedError` when it refused."""
        ...


class ExecutionEvents(Protocol):
    """Hears how runs go and end, for metrics, the log and those who look on."""

    def run_began(self, run: JobRun) -> None:
        """Take the beginning of a run."""
        ...

    def resolved(self, run: JobRun, params: Mapping[str, Any]) -> None:
        """Take the parameters that are really used."""
        ...

    def stepped(self, run: JobRun, report: StepReport) -> None:
        """Take a step of a run, with what is new of its answer or picture."""
        ...

    def generated(self, run: JobRun, output: RunOutput) -> None:
        """Take what an engine's run made, and what it measured."""
        ...

    def ran_out_of_memory(self, run: JobRun) -> None:
        """Take that an engine's run found too little memory; another try may follow."""
        ...

    def run_ended(self, run: JobRun, outcome: Outcome | None, recorded: Recorded | None) -> None:
        """Take the end of a run; no outcome: the lease was lost, nothing was written."""
        ...


@dataclass(frozen=True)
class Execution:
    """Everything that carrying a job to its end needs."""

    resolve: Resolver
    leases: Holder
    admissions: Admissions
    artifacts: ArtifactStore
    progress: ProgressTaker
    recorder: Recorder
    events: ExecutionEvents
    enhancement: Enhancement
    look_again_in: Callable[[float], object]
    """Takes the seconds until a job that is to be tried again may be claimed."""
    interactive: bool = False
    """Somebody waits for these jobs: they go ahead of others."""
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep

    async def carry(self, run: JobRun) -> None:
        """Carry one job to its end. Never raises but when the event loop itself is torn down."""
        context.bind(run)
        self.events.run_began(run)
        saved: list[Artifact] = []
        recorded: Recorded | None = None
        with self.leases.hold(run.job.claim_id, run.claimed_at, run.lease_ended):
            outcome = await self._outcome(run, saved)
            run.enter(Phase.FINISHING)
            run.timings |= run.account()
            self.progress.forget(run.job.claim_id)
            if outcome is not None:
                recorded = await self._record(run, outcome)
        run.enter(Phase.FINISHING)
        self.events.run_ended(run, outcome, recorded)
        published = recorded is Recorded.RECORDED and isinstance(outcome, Completed)
        if saved and not published:
            await self._discard(saved)

    async def _outcome(self, run: JobRun, saved: list[Artifact]) -> Outcome | None:
        if not run.begin() and run.interruption is not None:
            return outcome_of_interruption(run.interruption)
        try:
            return Completed(await self._work(run, saved))
        except asyncio.CancelledError:
            if run.interruption is None:
                raise
            _uncancel()
            return outcome_of_interruption(run.interruption)
        except Exception as error:  # noqa: BLE001  # any defect must end as an outcome
            if isinstance(error, RefusedError):
                run.waited_for_gpu(error.waited)
            outcome = outcome_of_error(error, run.job.attempt, losses=run.job.engine_losses)
            if not isinstance(error, JobError | RunCancelledError | EngineLostError):
                _log.exception("run failed")
            return outcome

    async def _work(self, run: JobRun, saved: list[Artifact]) -> Mapping[str, Any]:
        job = run.job
        job_type = JOB_TYPES.get(job.job_type)
        if job_type is None:
            raise JobError(ErrorCode.INVALID_PROMPT, f'unknown job type "{job.job_type[:100]}"')
        params, notes = await self._prepared(run, job_type)
        output = await self._generate(run, job_type, params)
        self.events.generated(run, output)
        run.enter(Phase.UPLOADING)
        if output.files:
            self._step(run, StepReport("uploading", 0.99))
        for number, file in enumerate(output.files):
            await self._save(job, number, file, saved)
        run.timings |= {f"engine_{name}": value for name, value in output.timings.items()}
        run.enter(Phase.FINISHING)
        return result_of(noted(output.fields, notes), saved, run.account())

    async def _prepared(
        self, run: JobRun, job_type: JobType
    ) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
        """Return the parameters really used, and what the result says of how they came about."""
        params = self.resolve(job_type, run.job)
        self.events.resolved(run, params)
        if not job_type.enhanced:
            return params, {}
        wish = self._request_of(run, job_type, params)
        enhanced = await self.enhancement.enhance(
            run, params, wish, lambda step: self._step(run, step)
        )
        PROMPTS.also(str(run.job.claim_id), enhanced.prompt)
        return {**params, "prompt": enhanced.prompt}, enhanced.notes(str(params["prompt"]))

    async def _generate(
        self, run: JobRun, job_type: JobType, params: Mapping[str, Any]
    ) -> RunOutput:
        """Run in an engine; out of memory, try again as `memory_ladder` says."""
        asked = self._request_of(run, job_type, params)
        rung: Rung | None = AS_ASKED
        while rung is not None:
            run.enter(Phase.WAITING)
            run.asks_for_gpu(partial(self.admissions.waited, asked.id))
            self._step(run, StepReport(WAITING, 0.0))
            loads = partial(self._step, run, StepReport(LOADING, 0.0))
            async with self.admissions.admit(rung.request(asked), loads) as engine:
                run.waited_for_gpu(engine.waited)
                run.enter(Phase.RUNNING)
                try:
                    return await engine.run(
                        asked.id,
                        job_type.handler,
                        rung.params(params),
                        lambda step: self._step(run, step),
                    )
                except JobError as error:
                    if error.error_code is not ErrorCode.VRAM_OVERFLOW:
                        raise
                    self.events.ran_out_of_memory(run)
                    overflow, below = error, rung.below(engine.savings)
                    if below is None:
                        message = f"{error.message} ({rung.words})"
                        raise JobError(error.error_code, message) from error
            _log.warning(
                "out of memory: trying again",
                exclusive=below.exclusive,
                saving=below.saving.name.lower(),
                error=overflow.message,
            )
            rung = below
        raise AssertionError("the last rung returns or raises")

    def _request_of(
        self, run: JobRun, job_type: JobType, params: Mapping[str, Any]
    ) -> AdmissionRequest:
        return request_of(run, job_type, params, interactive=self.interactive)

    async def _save(self, job: Job, number: int, file: ArtifactFile, saved: list[Artifact]) -> None:
        """Store a file; one that is under way when the job is stopped is waited for shortly.

        Nobody could remove it otherwise: it may arrive in spite of our going away.
        """
        saving = asyncio.ensure_future(self.artifacts.save(job, number, file))
        try:
            saved.append(await asyncio.shield(saving))
        except asyncio.CancelledError:
            await asyncio.wait({saving}, timeout=LAST_UPLOAD_S)
            if saving.done() and saving.exception() is None:
                saved.append(saving.result())
            saving.cancel()
            raise

    def _step(self, run: JobRun, step: StepReport) -> None:
        self.progress.report(run.progress_of(step))
        self.events.stepped(run, step)

    async def _record(self, run: JobRun, outcome: Outcome) -> Recorded | None:
        """Write the outcome; a database that refuses it gets it again, then a plain retry.

        The last resort is silence: the lease runs out, and the attempt counts.
        """
        refusal = ""
        for number in range(1, FINISH_TRIES + 1):
            try:
                return await self._finish(run, outcome)
            except StoreRejectedError as error:
                refusal = str(error)
                _log.warning("finish refused", error=refusal, tries=number)
            if number < FINISH_TRIES:
                await self.sleep(BACKOFF_FACTOR ** (number - 1))
        plain = Retry(
            f"the database refused the result: {refusal}"[:500], ErrorCode.DATABASE_ERROR, 1.0
        )
        try:
            await self._finish(run, plain)
        except StoreRejectedError:
            _log.exception("retry refused: the lease will run out")
        return None

    async def _finish(self, run: JobRun, outcome: Outcome) -> Recorded:
        timings = {name: round(seconds, 3) for name, seconds in run.timings.items()}
        recorded = await self.recorder.finish(Finish(run.job.claim_id, outcome, timings))
        if isinstance(outcome, Retry):
            # Nothing announces a row that becomes due.
            self.look_again_in(outcome.delay_s)
        return recorded

    async def _discard(self, saved: list[Artifact]) -> None:
        try:
            await self.artifacts.remove(saved)
        except JobError as error:
            paths = [artifact.path for artifact in saved]
            _log.warning("files left behind", paths=paths, error=str(error))


def _uncancel() -> None:
    """Take back the cancellation that `JobRun.interrupt` asked for: it has done its work."""
    current = asyncio.current_task()
    if current is not None:
        current.uncancel()

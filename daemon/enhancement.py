"""Jobs whose prompt the chat model rewrites before it is drawn.

    claimed -> chat model: rewrite -> picture or film of the new prompt

The picture is what was asked for. So whatever keeps the prompt from being rewritten (no chat model
here, one that can't be loaded, an empty answer, a refusal) costs the job nothing but the rewriting,
and its result says so. Only an engine that is lost sends the job back, the first time.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import structlog

from daemon.engine_ports import Admissions, AdmittedEngine
from daemon.job_run import LOADING, WAITING, JobRun, Phase
from daemon.job_types import Model, Quality
from daemon.jobs import JobError
from daemon.sections import EnhanceSettings
from daemon.values import (
    AdmissionRequest,
    Demand,
    EngineLostError,
    RefusedError,
    RunOutput,
    StepReport,
    Waits,
)
from handlers.enhancing import INSTRUCTION, Enhanced, judged, question

STEP = "enhancing_prompt"
SHARE = 0.05
"""The share of a job's progress that is the rewriting."""

_log = structlog.get_logger("daemon.enhancement")

StepTaker = Callable[[StepReport], None]


class Preparing:
    """Implements `Admissions` by others, whose demand doesn't yet show what is being rewritten.

    Such a job was claimed for a slot that looks free until the job asks for it.
    """

    def __init__(self, admissions: Admissions) -> None:
        self._admissions = admissions
        self._jobs: Counter[str] = Counter()

    @contextmanager
    def hold(self, job_type: str) -> Iterator[None]:
        """Count a job among those that are claimed and haven't asked for their model yet."""
        self._jobs[job_type] += 1
        try:
            yield
        finally:
            self._jobs[job_type] -= 1

    def demand(self) -> Sequence[Demand]:
        """Return the demand without what such jobs will fill."""
        open_demand = []
        left = +self._jobs
        for demand in self._admissions.demand():
            count = demand.count
            for job_type in demand.job_types:
                taken = min(count, left[job_type])
                left[job_type] -= taken
                count -= taken
            if count > 0:
                open_demand.append(replace(demand, count=count))
        return open_demand

    def admit(
        self, request: AdmissionRequest, loads: Callable[[], None] = lambda: None
    ) -> AbstractAsyncContextManager[AdmittedEngine]:
        """Wait for a reservation; see `Admissions`."""
        return self._admissions.admit(request, loads)

    def waited(self, request_id: str) -> Waits:
        """Return why a request has waited so far; see `Admissions`."""
        return self._admissions.waited(request_id)


@dataclass(frozen=True)
class Enhancement:
    """Has the chat model rewrite the prompts of held jobs.

    Args:
        preparing: where the chat model is asked for.
        settings: what it is told.
        available: whether this worker has a chat model.
    """

    preparing: Preparing
    settings: EnhanceSettings
    available: bool

    async def enhance(
        self, run: JobRun, params: Mapping[str, Any], wish: AdmissionRequest, step: StepTaker
    ) -> Enhanced:
        """Return the prompt to draw; `wish` is the job's own for its picture.

        Raises:
            EngineLostError: the chat model's engine was lost, for the first time under this job.
        """
        original = str(params["prompt"])
        if (reason := self._reason_not_to(run)) is not None:
            return Enhanced(original, reason)
        asked = replace(wish, model=Model.CHAT, quality=Quality.FAST, size=0)
        run.preparing = True
        try:
            with self.preparing.hold(run.job.job_type):
                output = await self._ask(run, params, asked, step)
        except (JobError, EngineLostError) as error:
            if isinstance(error, EngineLostError) and not run.job.engine_losses:
                raise
            if isinstance(error, RefusedError):
                run.waited_for_gpu(error.waited)
            _log.warning("prompt not enhanced", error=str(error))
            return Enhanced(original, f"the chat model failed: {error}")
        finally:
            run.preparing = False
        run.timings |= {f"enhance_{name}": value for name, value in output.timings.items()}
        return judged(str(output.fields.get("enhanced_prompt", "")), original)

    def _reason_not_to(self, run: JobRun) -> str | None:
        request = run.job.request
        given = request.get("enhanced_prompt") if isinstance(request, Mapping) else None
        if isinstance(given, str) and given.strip():
            return "the request came with an enhanced prompt"
        return None if self.available else "this worker has no chat model"

    async def _ask(
        self, run: JobRun, params: Mapping[str, Any], asked: AdmissionRequest, step: StepTaker
    ) -> RunOutput:
        asking = question(
            str(params["prompt"]),
            int(params["seed"]),
            instruction=self.settings.instruction or INSTRUCTION,
            max_tokens=self.settings.max_tokens,
            temperature=self.settings.temperature,
        )
        run.enter(Phase.WAITING)
        run.asks_for_gpu(partial(self.preparing.waited, asked.id))
        step(StepReport(WAITING, 0.0))
        loads = partial(step, StepReport(LOADING, 0.0))
        async with self.preparing.admit(asked, loads) as engine:
            run.waited_for_gpu(engine.waited)
            run.enter(Phase.RUNNING)
            return await engine.run(
                asked.id,
                "enhance",
                asking,
                # Its text is not the job's answer.
                lambda report: step(StepReport(STEP, SHARE * report.fraction)),
            )

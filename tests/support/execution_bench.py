"""The executor with scripted parts around it, for tests of how jobs are carried to their end."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from scripted import (
    MemoryArtifacts,
    OpenAdmissions,
    ScriptedEngine,
    ScriptedRecorder,
    ScriptedStore,
    a_job,
)

from daemon.enhancement import Enhancement, Preparing
from daemon.execution import Execution
from daemon.executor import Executor
from daemon.leases import Leases
from daemon.progress import ProgressWriter
from daemon.sections import EnhanceSettings, LeaseSettings, StopSettings
from daemon.values import ArtifactFile, RunOutput

PICTURE = RunOutput(
    {"metadata": {"seed": 1}},
    [ArtifactFile("image", "image/png", "png", b"png")],
    peak_bytes=None,
    timings={},
)


class Bench:
    """The executor with scripted parts around it."""

    def __init__(self, runs: Callable[..., Awaitable[Any]], *, chat: bool = True) -> None:
        self.store = ScriptedStore()
        self.engine = ScriptedEngine(runs)
        self.admissions = OpenAdmissions(self.engine)
        self.artifacts = MemoryArtifacts()
        self.recorder = ScriptedRecorder()
        self.leases = Leases(lambda: self.store, LeaseSettings())
        self.progress = ProgressWriter(self.store, self.leases.apply)
        self.slept: list[float] = []
        self.looks: list[float] = []
        self.ended: list[Any] = []
        self.outputs: list[RunOutput] = []
        self.overflows = 0
        self.preparing = Preparing(self.admissions)
        self.execution = Execution(
            resolve=lambda job_type, job: {"prompt": "hello", "seed": 5},
            leases=self.leases,
            admissions=self.preparing,
            artifacts=self.artifacts,
            progress=self.progress,
            recorder=self.recorder,
            events=self,
            enhancement=Enhancement(self.preparing, EnhanceSettings(), available=chat),
            look_again_in=self.looks.append,
            sleep=self.sleep,
        )
        self.executor = Executor(
            self.execution, 8, StopSettings(grace_s=5, release_s=5), freed=lambda: None
        )

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)

    def stepped(self, run: Any, report: Any) -> None:
        pass

    def generated(self, run: Any, output: Any) -> None:
        self.outputs.append(output)

    def ran_out_of_memory(self, run: Any) -> None:
        self.overflows += 1

    def run_began(self, run: Any) -> None:
        pass

    def resolved(self, run: Any, params: Any) -> None:
        pass

    def run_ended(self, run: Any, outcome: Any, recorded: Any) -> None:
        self.ended.append((run, outcome, recorded))

    async def carry(self, **changes: Any) -> Any:
        """Carry one job to its end; return the outcome that was offered last."""
        self.executor.start(a_job(**changes), self.leases.clock())
        await asyncio.wait(self.executor._carriers)
        return self.recorder.finishes[-1].outcome if self.recorder.finishes else None

"""What a running worker lets itself be told from afar; implements `Controls`."""

from dataclasses import dataclass
from typing import TYPE_CHECKING
from uuid import UUID

import structlog

from daemon.job_run import Interruption
from daemon.job_run import Phase as RunPhase
from daemon.reporting import DaemonReports
from daemon.server.reports import Phase
from daemon.stopping import Stopping
from daemon.telemetry import logs
from daemon.telemetry.mqtt.control import Answer

if TYPE_CHECKING:
    from daemon.parts import Parts

_STOPPING = Answer("not_possible", "the worker is stopping")

_log = structlog.get_logger("daemon.remote")


@dataclass
class RemoteControl:
    """Drains, resumes, cancels, and sets levels; all at once, without waiting for anything."""

    parts: "Parts"
    reports: DaemonReports
    stopping: Stopping

    def drain(self) -> Answer:
        """Take nothing new, neither rows nor requests; what is held is finished."""
        if self.stopping.soft.is_set():
            return _STOPPING
        self.parts.intake.paused = self.parts.answering.paused = True
        self.parts.admissions.drain()
        self.reports.phase = Phase.DRAINING
        held = len(self.parts.executor.runs)
        _log.info("draining: told from afar", held=held)
        return Answer("done", f"{held} jobs are held")

    def resume(self) -> Answer:
        """Take jobs again after a drain."""
        if self.stopping.soft.is_set():
            return _STOPPING
        self.parts.intake.paused = self.parts.answering.paused = False
        self.parts.admissions.resume()
        self.reports.phase = Phase.SERVING
        self.parts.intake.wake.set()
        _log.info("taking jobs again: told from afar")
        return Answer("done")

    def cancel(self, job_id: UUID) -> Answer:
        """Stop a held job at its next step; it ends as one that its owner cancelled."""
        runs = [run for run in self.parts.executor.runs.values() if run.job.id == job_id]
        if not runs:
            return Answer("not_held", "this worker doesn't hold that job")
        if all(run.phase is RunPhase.FINISHING for run in runs):
            return Answer("not_possible", "its end is being recorded")
        for run in runs:
            run.interrupt(Interruption.CANCELLED)
        _log.info("job cancelled: told from afar", job_id=str(job_id))
        return Answer("done")

    def log_level(self, level: logs.Level, logger: str | None) -> Answer:
        """Hear more or less of one logger, or of all."""
        logs.set_level(level, logger)
        _log.info("log level set: told from afar", level=level, of=logger or "all")
        return Answer("done")

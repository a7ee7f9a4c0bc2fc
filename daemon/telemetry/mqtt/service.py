"""All of it together: what happens in the daemon becomes messages, and commands come in."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import asdict
from datetime import UTC, datetime
from functools import partial
from typing import Any

from daemon.job_run import JobRun
from daemon.jobs import Outcome, Recorded
from daemon.outside_sections import MqttSettings
from daemon.server.reports import Phase, Reports
from daemon.telemetry.mqtt import messages
from daemon.telemetry.mqtt.control import Control, Controls
from daemon.telemetry.mqtt.link import Link
from daemon.telemetry.mqtt.messages import State
from daemon.telemetry.mqtt.outgoing import Counts, Message, Outgoing
from daemon.telemetry.mqtt.topics import Topics
from daemon.values import StepReport, WorkerIdentity

LOOK_S = 0.1
"""Between two looks at whether the worker still takes jobs."""

_WORDS: dict[State, str] = {
    "online": "taking jobs",
    "draining": "finishing what it holds, taking nothing new",
}


class MqttService:
    """Implements `run_events.Onlooker` and `Ender` by its methods; `run` does the rest.

    Args:
        settings: of the section `mqtt`.
        worker: whose topics these are.
        version: of the daemon.
        reports: the daemon as it is.
    """

    def __init__(
        self, settings: MqttSettings, worker: WorkerIdentity, version: str, reports: Reports
    ) -> None:
        self._settings = settings
        self._reports = reports
        self._about = {
            "worker_id": worker.worker_id,
            "instance_id": str(worker.instance_id),
            "version": version,
            "since": datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z"),
        }
        self._topics = Topics(settings.prefix, worker.worker_id)
        self._outgoing = Outgoing(settings.queue)

    @property
    def counts(self) -> Counts:
        """What was sent, dropped and told."""
        return self._outgoing.counts

    def stepped(self, run: JobRun, report: StepReport) -> None:
        """Take a run's step."""
        if self._settings.jobs and not run.direct:
            self._put_job(run, partial(messages.step, run, report, with_user=self._settings.users))

    def ended(self, run: JobRun, outcome: Outcome | None, recorded: Recorded | None) -> None:
        """Take the end of a run."""
        if self._settings.jobs and not run.direct:
            users = self._settings.users
            self._put_job(run, partial(messages.end, run, outcome, recorded, with_user=users))

    async def run(self, controls: Controls) -> None:
        """Tell and listen until cancelled; then say that the worker is offline."""
        while self._reports.health().phase is Phase.STARTING:  # noqa: ASYNC110 -- it isn't told
            await asyncio.sleep(LOOK_S)
        settings = self._settings
        link = Link(
            settings,
            self._topics,
            self._outgoing,
            Control(controls, settings.commands, self.counts) if settings.commands else None,
            status=lambda: self._presence(self._state()),
            will=messages.presence("offline", "lost", self._about),
            farewell=messages.presence("offline", "stopped", self._about),
        )
        async with asyncio.TaskGroup() as group:
            group.create_task(link.run(), name="mqtt link")
            group.create_task(self._tell(), name="mqtt telemetry")

    async def _tell(self) -> None:
        told, telemetry_due = self._state(), time.monotonic()
        while True:
            if (state := self._state()) != told:
                told = state
                make = partial(self._presence, state)
                message = Message(self._topics.status, make, qos=1, retain=True)
                self._outgoing.put_urgent("status", message)
            if time.monotonic() >= telemetry_due:
                telemetry_due = time.monotonic() + self._settings.telemetry_s
                self._outgoing.put("telemetry", Message(self._topics.telemetry, self._telemetry))
            await asyncio.sleep(LOOK_S)

    def _put_job(self, run: JobRun, make: Callable[[], bytes]) -> None:
        job_id = run.job.id
        self._outgoing.put(job_id, Message(self._topics.job(job_id), make))

    def _state(self) -> State:
        return "online" if self._reports.health().phase is Phase.SERVING else "draining"

    def _presence(self, state: State) -> bytes:
        return messages.presence(state, _WORDS[state], self._about)

    def _telemetry(self) -> bytes:
        counts: dict[str, Any] = asdict(self.counts)
        status = self._reports.status()
        return messages.telemetry(status, self._state(), counts)

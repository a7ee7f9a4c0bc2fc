"""A feed whose jobs are broadcast, to an endpoint that answers what a test says."""

import asyncio
import json
from collections import Counter
from typing import Any

import httpx
from scripted import a_job

from daemon.broadcaster import Broadcaster
from daemon.feed import Feed
from daemon.job_run import JobRun
from daemon.jobs import Completed, Recorded
from daemon.outside_sections import LiveSettings
from daemon.values import StepReport


class Realtime:
    """An endpoint that answers what the test says."""

    def __init__(self) -> None:
        self.requests: list[list[dict[str, Any]]] = []
        self.status = 202
        self.away = False
        self.defect: Exception | None = None
        self.tried = 0
        self.closed = False
        self.asked = asyncio.Event()
        self.waits: asyncio.Event | None = None

    async def post(self, body: bytes) -> None:
        self.tried += 1
        self.asked.set()
        if self.waits is not None:
            await self.waits.wait()
        if self.defect is not None:
            raise self.defect
        if self.away:
            raise httpx.ConnectError("refused")
        response = httpx.Response(self.status, request=httpx.Request("POST", "http://x"))
        response.raise_for_status()
        self.requests.append(json.loads(body)["messages"])

    async def aclose(self) -> None:
        self.closed = True


class Counts(Counter[str]):
    """Implements `BroadcastEvents`."""

    def sent(self, count: int) -> None:
        self["sent"] += count

    def failed(self) -> None:
        self["failed"] += 1

    def dropped(self, count: int) -> None:
        self["dropped"] += count


class BroadcastBench:
    """A feed whose jobs are broadcast."""

    def __init__(self, **settings: Any) -> None:
        self.time = 0.0
        self.feed = Feed(clock=lambda: self.time)
        self.realtime, self.counts = Realtime(), Counts()
        self.pauses: list[float] = []
        self.broadcaster = Broadcaster(
            self.feed,
            self.realtime,
            LiveSettings(broadcast=True, **settings),
            self.counts,
            clock=lambda: self.time,
            sleep=self.sleep,
        )

    async def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        await asyncio.sleep(0)

    def begin(self) -> JobRun:
        run = JobRun(a_job(), self.time, lambda: self.time)
        self.step(run)
        return run

    def step(self, run: JobRun, text: str = "", preview: bytes | None = None) -> None:
        self.feed.stepped(run, StepReport("s", 0.5, 1, 2, text, preview))

    def end(self, run: JobRun, result: Any = None) -> None:
        self.feed.ended(run, Completed(result or {}), Recorded.RECORDED)

    def heard(self, run: JobRun) -> list[tuple[str, Any]]:
        """Return what arrived on a job's topic."""
        topic = f"job:{run.job.id}"
        return [
            (each["event"], each["payload"])
            for request in self.realtime.requests
            for each in request
            if each["topic"] == topic and each["private"] is True
        ]

    def answer(self, run: JobRun) -> str:
        """Return a reader's answer, put together as the docs say."""
        answer = ""
        for event, payload in self.heard(run):
            if event == "text":
                answer = answer[: payload["offset"]] + payload["text"]
        return answer

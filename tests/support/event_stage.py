"""A worker's feed, one run in it, a table of rows, and the side server before all of them."""

import asyncio
import json
from typing import Any

import aiohttp
from aiohttp.test_utils import TestClient, TestServer
from scripted import a_job
from scripted_desk import ScriptedDesk

from daemon.feed import Feed
from daemon.job_run import JobRun
from daemon.jobs import Completed, Recorded
from daemon.server.app import build_app
from daemon.server.desk import Desk
from daemon.server.events import EventStreams
from daemon.server.looks import Looks
from daemon.values import StepReport

Client = TestClient[Any, Any]
NEVER_S = 3600.0
WITHIN_S = 60.0


class EventStage:
    """A worker's feed, one run in it, and the side server before both."""

    def __init__(self) -> None:
        self.time = 0.0
        self.feed = Feed(clock=lambda: self.time)
        self.job = JobRun(a_job(), 0.0, lambda: 0.0)
        self.table = ScriptedDesk()
        self.counts: list[int] = []
        self.client: Client
        self.server: TestServer

    async def serve(
        self, reports: Any, heartbeat_s: float = NEVER_S, api_key: str | None = None
    ) -> None:
        desk = Desk()
        desk.open(self.table, lambda _: None)
        looks = Looks(desk, interval_s=0.001)
        streams = EventStreams(
            self.feed, looks, heartbeat_s=heartbeat_s, counted=self.counts.append
        )
        app = build_app(reports, api_key=api_key, routes=streams.routes())
        app.on_shutdown.append(streams.stop)
        self.server = TestServer(app)
        self.client = TestClient(self.server)
        await self.client.start_server()

    def step(self, text: str = "", preview: bytes | None = None) -> None:
        self.feed.stepped(self.job, StepReport("generating", 0.5, 1, 2, text, preview))

    def end(self) -> None:
        outcome = Completed({"response": "Hi"})
        self.feed.ended(self.job, outcome, Recorded.RECORDED)

    async def get(self, query: str = "", **headers: str) -> aiohttp.ClientResponse:
        path = f"/jobs/{self.job.job.id}/events{query}"
        return await self.client.get(path, headers=headers)


async def block(response: aiohttp.ClientResponse) -> list[str]:
    """Return the lines up to the next blank one."""
    lines: list[str] = []
    async with asyncio.timeout(WITHIN_S):
        while line := (await response.content.readline()).decode().rstrip("\n"):
            lines.append(line)
    return lines


def parsed(text: str) -> list[tuple[int, str, Any]]:
    """Return the events of a whole stream."""
    found = []
    for each in text.split("\n\n"):
        fields = dict(line.split(": ", 1) for line in each.splitlines() if ": " in line)
        if "event" in fields:
            found.append((int(fields["id"]), fields["event"], json.loads(fields["data"])))
    return found

"""A job's events over HTTP."""

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any
from uuid import uuid4

import aiohttp
import pytest
from aiohttp.test_utils import TestClient, TestServer
from scripted import a_job
from scripted_desk import ScriptedDesk, a_row

from daemon.feed import Feed
from daemon.job_run import JobRun
from daemon.jobs import Completed, Recorded, Released
from daemon.server import events as module
from daemon.server.app import build_app
from daemon.server.desk import Desk
from daemon.server.events import EventStreams
from daemon.server.looks import Looks
from daemon.values import StepReport, StoreUnavailableError

Client = TestClient[Any, Any]
NEVER_S = 3600.0
WITHIN_S = 20.0


class Stage:
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


@pytest.fixture
async def stage() -> AsyncIterator[Stage]:
    stage = Stage()
    stage.step()
    yield stage
    if hasattr(stage, "client"):
        await stage.client.close()


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


async def test_a_stream_tells_what_comes_and_ends(stage: Stage, daemon: Any) -> None:
    """Earlier events at once, later ones as they come, and nothing after the end."""
    await stage.serve(daemon)
    response = await stage.get()

    assert response.headers["Content-Type"] == "text/event-stream; charset=utf-8"
    assert response.headers["Cache-Control"] == "no-store"
    assert await block(response) == ["retry: 2000"]
    assert (await block(response))[:2] == ["id: 1", "event: step"]
    stage.step("Hé\n", b"jpeg")
    assert await block(response) == ["id: 2", "event: text", 'data: {"text":"Hé\\n","offset":0}']
    assert await block(response) == [
        "id: 3",
        "event: preview",
        'data: {"image":"data:image/jpeg;base64,anBlZw=="}',
    ]
    stage.end()
    rest = parsed(await asyncio.wait_for(response.text(), WITHIN_S))
    assert rest[-1] == (
        5,
        "end",
        {"status": "completed", "error": None, "error_code": None, "result": {"response": "Hi"}},
    )


@pytest.mark.parametrize(
    ("query", "headers"),
    [
        ("?last_event_id=2", {}),
        ("", {"Last-Event-ID": "2"}),
        ("?last_event_id=1", {"Last-Event-ID": "2"}),
    ],
)
async def test_who_comes_back_gets_the_rest(
    stage: Stage, daemon: Any, query: str, headers: dict[str, str]
) -> None:
    """By the browser's header, or in the address; the header is the newer one."""
    await stage.serve(daemon)
    stage.step("a")
    assert stage.feed.follow(stage.job.job.id).take()  # type: ignore[union-attr]  # somebody has had "a"
    stage.step("b")
    stage.end()

    told = parsed(await (await stage.get(query, **headers)).text())

    assert [(number, kind) for number, kind, _ in told] == [(4, "text"), (5, "step"), (6, "end")]
    assert told[0][2] == {"text": "b", "offset": 1}


@pytest.mark.parametrize(
    ("path", "headers", "status", "code"),
    [
        (f"/jobs/{uuid4()}/events", {"X-API-Key": "k3y"}, 404, "NOT_FOUND"),
        ("/jobs/no-id/events", {"X-API-Key": "k3y"}, 404, "NOT_FOUND"),
        ("/jobs/{}/events", {}, 401, "UNAUTHORIZED"),
        ("/jobs/{}/events", {"X-API-Key": "wrong"}, 401, "UNAUTHORIZED"),
        ("/jobs/{}/events?last_event_id=-1", {"X-API-Key": "k3y"}, 400, "BAD_REQUEST"),
        (
            "/jobs/{}/events",
            {"X-API-Key": "k3y", "Last-Event-ID": "9" * 400},
            400,
            "BAD_REQUEST",
        ),
    ],
)
async def test_refusals_have_the_one_shape(
    stage: Stage, daemon: Any, path: str, headers: dict[str, str], status: int, code: str
) -> None:
    """Unknown job, missing key, an id that no event has."""
    await stage.serve(daemon, api_key="k3y")

    response = await stage.client.get(path.format(stage.job.job.id), headers=headers)

    assert response.status == status
    body = await response.json()
    assert (body["success"], body["error_code"]) == (False, code)


async def test_a_silent_stream_has_a_heartbeat(stage: Stage, daemon: Any) -> None:
    """Comments, which clients ignore, for as long as nothing comes."""
    await stage.serve(daemon, heartbeat_s=0.001)
    response = await stage.get()
    await block(response)
    await block(response)

    assert [await block(response) for _ in range(3)] == [[":"]] * 3


async def test_a_client_that_is_gone_is_noticed(stage: Stage, daemon: Any) -> None:
    """At the next heartbeat at the latest; nobody is called for it any more."""
    await stage.serve(daemon, heartbeat_s=0.001)
    response = await stage.get()
    await block(response)
    response.close()

    async with asyncio.timeout(WITHIN_S):
        while stage.counts != [1, 0]:
            await asyncio.sleep(0)
    assert stage.feed._journals[stage.job.job.id].wakes == ()


async def test_a_job_that_leaves_is_followed_by_its_row(stage: Stage, daemon: Any) -> None:
    """It went back to the queue, and another worker ends it: the same stream tells both."""
    row = a_row(id=stage.job.job.id)
    stage.table.has(row)
    await stage.serve(daemon)
    response = await stage.get()
    stage.feed.ended(stage.job, Released("stops"), Recorded.RECORDED)
    await block(response)
    told = [await block(response) for _ in range(3)]
    stage.table.has(replace(row, status="completed", result={"response": "Hi"}))

    rest = parsed(await asyncio.wait_for(response.text(), WITHIN_S))

    assert [lines[:2] for lines in told] == [
        ["id: 1", "event: step"],
        ["id: 2", "event: restarted"],
        ["id: 0", "event: step"],
    ]
    assert [(number, kind) for number, kind, _ in rest] == [(0, "end")]
    assert rest[0][2]["result"] == {"response": "Hi"}


async def test_a_job_that_nobody_has_is_followed_until_it_runs_here(
    stage: Stage, daemon: Any
) -> None:
    """First by its row; from the first step on live, with the feed's numbers and its text."""
    stage.job = JobRun(a_job(), 0.0, lambda: 0.0)
    stage.table.has(a_row(id=stage.job.job.id))
    await stage.serve(daemon)
    response = await stage.get("", **{"Last-Event-ID": "7"})
    await block(response)
    queued = await block(response)
    stage.step("Hi")
    stage.end()

    told = parsed(await asyncio.wait_for(response.text(), WITHIN_S))

    assert queued[:2] == ["id: 0", "event: step"]
    assert json.loads(queued[2].removeprefix("data: "))["status"] == "queued"
    assert [(number, kind) for number, kind, _ in told] == [(1, "text"), (2, "step"), (3, "end")]


async def test_a_finished_job_answers_its_end_at_once(stage: Stage, daemon: Any) -> None:
    """Whoever had it, and however long ago."""
    row = a_row(status="failed", error="no room", error_code="VRAM_OVERFLOW")
    stage.table.has(row)
    await stage.serve(daemon)

    response = await stage.client.get(f"/jobs/{row.id}/events")

    assert parsed(await response.text()) == [
        (0, "end", {"status": "failed", "error": "no room", "error_code": "VRAM_OVERFLOW"})
    ]


async def test_a_database_that_is_away_is_503(stage: Stage, daemon: Any) -> None:
    """For jobs that don't run here; those that do are told of all the same."""
    stage.table.failure = StoreUnavailableError("gone")
    await stage.serve(daemon)
    stage.end()

    refused = await stage.client.get(f"/jobs/{uuid4()}/events")
    here = await stage.get()

    assert (refused.status, refused.headers["Retry-After"]) == (503, "5")
    assert (await refused.json())["error_code"] == "DATABASE_ERROR"
    assert parsed(await here.text())[-1][1] == "end"


async def test_stopping_ends_streams_of_rows_too(stage: Stage, daemon: Any) -> None:
    """Also where the row is still being looked for."""
    row = a_row()
    stage.table.has(row)
    await stage.serve(daemon)
    stream = await stage.client.get(f"/jobs/{row.id}/events")
    await block(stream)
    await block(stream)
    stage.table.holds_back = asyncio.Event()
    searching = asyncio.create_task(stage.client.get(f"/jobs/{uuid4()}/events"))
    await stage.table.asked.wait()

    async with asyncio.timeout(WITHIN_S):
        await stage.server.close()

    assert await stream.text() == ""
    assert (await searching).status == 503


async def test_stopping_ends_the_streams_at_once(stage: Stage, daemon: Any) -> None:
    """In good order, so that the server needn't wait for its time-out and cut them."""
    await stage.serve(daemon)
    streams = [await stage.get() for _ in range(3)]
    reading = [asyncio.create_task(stream.text()) for stream in streams]

    async with asyncio.timeout(WITHIN_S):
        await stage.server.close()

    for text in await asyncio.gather(*reading):
        assert [kind for _, kind, _ in parsed(text)] == ["step"]


async def test_a_full_house_is_503(
    stage: Stage, daemon: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next one is told when to come back."""
    monkeypatch.setattr(module, "MAX_STREAMS", 1)
    await stage.serve(daemon)
    await block(await stage.get())

    refused = await stage.get()

    assert (refused.status, refused.headers["Retry-After"]) == (503, "5")


async def test_a_client_that_takes_nothing_is_cut_off(
    stage: Stage, daemon: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It holds neither the job nor the others up, and not its place for ever."""
    monkeypatch.setattr(module, "WRITE_S", 0.05)
    await stage.serve(daemon)
    response = await stage.get()
    await block(response)

    async with asyncio.timeout(WITHIN_S):
        while stage.counts != [1, 0]:
            # More than the buffers of both ends take.
            stage.step("x" * 2**20)
            await asyncio.sleep(0.001)
    response.close()


async def test_half_a_character_breaks_nothing(stage: Stage, daemon: Any) -> None:
    """A model may say a lone surrogate; the stream stays UTF-8."""
    await stage.serve(daemon)
    stage.step("\ud83d!")
    stage.end()

    told = parsed(await (await stage.get()).text())

    assert [data["text"] for _, kind, data in told if kind == "text"] == ["?!"]

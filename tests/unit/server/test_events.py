"""A job's events over HTTP."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

import pytest
from event_stage import WITHIN_S, EventStage, block, parsed

from daemon.server import events, streaming


@pytest.fixture
async def stage() -> AsyncIterator[EventStage]:
    stage = EventStage()
    stage.step()
    yield stage
    if hasattr(stage, "client"):
        await stage.client.close()


async def test_a_stream_tells_what_comes_and_ends(stage: EventStage, daemon: Any) -> None:
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
    stage: EventStage, daemon: Any, query: str, headers: dict[str, str]
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
        (f"/jobs/{UUID(int=1)}/events", {"X-API-Key": "k3y"}, 404, "NOT_FOUND"),
        ("/jobs/no-id/events", {"X-API-Key": "k3y"}, 404, "NOT_FOUND"),
        ("/jobs/{}/events", {}, 401, "UNAUTHORIZED"),
        ("/jobs/{}/events", {"X-API-Key": "wrong"}, 401, "UNAUTHORIZED"),
        ("/jobs/{}/events?last_event_id=-1", {"X-API-Key": "k3y"}, 400, "BAD_REQUEST"),
        (
            "/jobs/{}/events?last_event_id=x",
            {"X-API-Key": "k3y", "Last-Event-ID": "1"},
            400,
            "BAD_REQUEST",
        ),
        (
            "/jobs/{}/events",
            {"X-API-Key": "k3y", "Last-Event-ID": "9" * 400},
            400,
            "BAD_REQUEST",
        ),
    ],
)
async def test_refusals_have_the_one_shape(
    stage: EventStage, daemon: Any, path: str, headers: dict[str, str], status: int, code: str
) -> None:
    """Unknown job, missing key, an id that no event has."""
    await stage.serve(daemon, api_key="k3y")

    response = await stage.client.get(path.format(stage.job.job.id), headers=headers)

    assert response.status == status
    body = await response.json()
    assert (body["success"], body["error_code"]) == (False, code)


async def test_a_silent_stream_has_a_heartbeat(stage: EventStage, daemon: Any) -> None:
    """Comments, which clients ignore, for as long as nothing comes."""
    await stage.serve(daemon, heartbeat_s=0.001)
    response = await stage.get()
    await block(response)
    await block(response)

    assert [await block(response) for _ in range(3)] == [[":"]] * 3


async def test_a_client_that_is_gone_is_noticed(stage: EventStage, daemon: Any) -> None:
    """At the next heartbeat at the latest; nobody is called for it any more."""
    await stage.serve(daemon, heartbeat_s=0.001)
    response = await stage.get()
    await block(response)
    response.close()

    async with asyncio.timeout(WITHIN_S):
        while stage.counts != [1, 0]:
            await asyncio.sleep(0)
    assert stage.feed._journals[stage.job.job.id].wakes == ()


async def test_stopping_ends_the_streams_at_once(stage: EventStage, daemon: Any) -> None:
    """In good order, so that the server needn't wait for its time-out and cut them."""
    await stage.serve(daemon)
    streams = [await stage.get() for _ in range(3)]
    reading = [asyncio.create_task(stream.text()) for stream in streams]

    async with asyncio.timeout(WITHIN_S):
        await stage.server.close()

    for text in await asyncio.gather(*reading):
        assert [kind for _, kind, _ in parsed(text)] == ["step"]


async def test_a_full_house_is_503(
    stage: EventStage, daemon: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next one is told when to come back."""
    monkeypatch.setattr(events, "MAX_STREAMS", 1)
    await stage.serve(daemon)
    await block(await stage.get())

    refused = await stage.get()

    assert (refused.status, refused.headers["Retry-After"]) == (503, "5")


async def test_a_client_that_takes_nothing_is_cut_off(
    stage: EventStage, daemon: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It holds neither the job nor the others up, and not its place for ever."""
    monkeypatch.setattr(streaming, "WRITE_S", 0.05)
    await stage.serve(daemon)
    response = await stage.get()
    await block(response)

    async with asyncio.timeout(WITHIN_S):
        while stage.counts != [1, 0]:
            # More than the buffers of both ends take.
            stage.step("x" * 2**20)
            await asyncio.sleep(0.001)
    response.close()


async def test_half_a_character_breaks_nothing(stage: EventStage, daemon: Any) -> None:
    """A model may say a lone surrogate; the stream stays UTF-8."""
    await stage.serve(daemon)
    stage.step("\ud83d!")
    stage.end()

    told = parsed(await (await stage.get()).text())

    assert [data["text"] for _, kind, data in told if kind == "text"] == ["?!"]

"""What jobs show, on its way to their owners."""

import asyncio
from typing import Any

import pytest
from broadcast_bench import BroadcastBench

from daemon import broadcaster as module


@pytest.fixture
def bench() -> BroadcastBench:
    return BroadcastBench()


async def test_all_jobs_share_a_request(bench: BroadcastBench) -> None:
    """What came since the last one is one message of each kind and job, on private topics."""
    runs = [bench.begin() for _ in range(3)]
    for run in runs:
        for word in ("a", "b", "c"):
            bench.step(run, word, b"jpeg")

    await bench.broadcaster.flush()

    assert len(bench.realtime.requests) == 1
    for run in runs:
        assert [event for event, _ in bench.heard(run)] == ["text", "preview", "step"]
        assert bench.answer(run) == "abc"
    assert bench.counts["sent"] == 9


async def test_who_joins_late_gets_the_whole_answer_soon(bench: BroadcastBench) -> None:
    """Realtime replays nothing: all of it comes after half a second, and then ever more seldom."""
    run = bench.begin()
    came = []
    for _ in range(40):
        bench.step(run, "word ")
        await bench.broadcaster.flush()
        if bench.heard(run)[-1][0] == "answer":
            came.append(bench.time)
            assert bench.heard(run)[-1][1]["text"] == bench.answer(run)
        bench.time += 0.25
    bench.time += 10
    bench.step(run, "last")
    bench.end(run)
    await bench.broadcaster.flush()

    assert came == [0.5, 1.5, 3.5, 7.5]
    assert bench.answer(run) == "word " * 40 + "last"
    assert bench.heard(run)[-1][0] == "end"
    assert bench.broadcaster._answers == {}


async def test_nothing_new_is_no_request(bench: BroadcastBench) -> None:
    """An idle worker sends nothing."""
    bench.begin()
    await bench.broadcaster.flush()
    await bench.broadcaster.flush()

    assert bench.realtime.tried == 1


async def test_an_outage_costs_steps_and_no_text(bench: BroadcastBench) -> None:
    """Nothing queues: what didn't arrive is read again from where the reader is."""
    run = bench.begin()
    bench.step(run, "a")
    await bench.broadcaster.flush()
    bench.realtime.away = True
    for word in ("b", "c"):
        bench.step(run, word)
        await bench.broadcaster.flush()
    bench.realtime.away = False
    bench.end(run, {"response": "abc"})
    await bench.broadcaster.flush()

    assert bench.answer(run) == "abc"
    assert [event for event, _ in bench.heard(run)] == ["text", "step", "text", "step", "end"]
    assert bench.counts == {"sent": 5, "failed": 2, "dropped": 0}
    assert bench.broadcaster._followers == {}


async def test_pauses_keep_the_rate_and_grow_while_nothing_arrives(bench: BroadcastBench) -> None:
    """At least the interval, longer after large requests, and up to half a minute in an outage."""
    pauses = bench.broadcaster.pause_s
    assert (pauses(1), pauses(40)) == (0.25, 1.0)
    bench.realtime.away = True
    run = bench.begin()
    grown = []
    for _ in range(12):
        bench.step(run)
        await bench.broadcaster.flush()
        grown.append(pauses(1))
    assert grown[:3] == [0.5, 1.0, 2.0]
    assert grown[-1] == module.MAX_PAUSE_S

    bench.realtime.away = False
    await bench.broadcaster.flush()
    assert pauses(1) == 0.25


async def test_a_spell_of_failures_is_logged_once(
    bench: BroadcastBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its beginning and its end, without what was said."""
    said: list[tuple[str, str]] = []

    class Log:
        def warning(self, event: str, **words: Any) -> None:
            said.append((event, str(words)))

        info = warning

    monkeypatch.setattr(module, "_log", Log())
    run = bench.begin()
    bench.realtime.status = 500
    for _ in range(5):
        bench.step(run, "a secret word")
        await bench.broadcaster.flush()
    bench.realtime.status = 202
    await bench.broadcaster.flush()

    assert [event for event, _ in said] == [
        "live broadcasts don't arrive",
        "live broadcasts arrive again",
    ]
    assert "secret word" not in str(said)
    assert bench.answer(run) == "a secret word" * 5


@pytest.mark.parametrize("status", [413, 422])
async def test_what_the_server_refuses_for_ever_is_dropped(
    bench: BroadcastBench, status: int
) -> None:
    """It must not stand in the way of what comes after it."""
    run = bench.begin()
    bench.step(run, "refused")
    bench.realtime.status = status
    await bench.broadcaster.flush()
    bench.realtime.status = 202
    bench.step(run, "x")
    await bench.broadcaster.flush()

    assert bench.counts["dropped"] == 2
    assert bench.heard(run)[0] == ("text", {"number": 4, "text": "x", "offset": 7})
    assert [event for event, _ in bench.heard(run)] == ["text", "step"]


async def test_half_a_character_and_a_strange_error_cost_nothing(bench: BroadcastBench) -> None:
    """A service that raised would end the worker and all of its jobs."""
    run = bench.begin()
    bench.step(run, "\ud83d!")
    bench.realtime.defect = RuntimeError("a library's own")
    await bench.broadcaster.flush()
    bench.realtime.defect = None
    await bench.broadcaster.flush()

    assert bench.answer(run) == "?!"
    assert bench.counts["failed"] == 1


async def test_jobs_are_bounded_while_nothing_arrives(
    bench: BroadcastBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The oldest that have ended are given up; what is under way is kept."""
    monkeypatch.setattr(module, "MAX_JOBS", 10)
    bench.realtime.away = True
    alive = bench.begin()
    for _ in range(100):
        run = bench.begin()
        bench.end(run)
        await bench.broadcaster.flush()

    assert len(bench.broadcaster._followers) == 10
    assert alive.job.id in bench.broadcaster._followers
    assert bench.counts["dropped"] == 91
    bench.realtime.away = False
    while bench.broadcaster._news:
        await bench.broadcaster.flush()
    assert list(bench.broadcaster._followers) == [alive.job.id]


async def test_many_jobs_take_turns(bench: BroadcastBench) -> None:
    """A request is bounded, and nobody is passed over."""
    runs = [bench.begin() for _ in range(module.MAX_MESSAGES + 10)]
    await bench.broadcaster.flush()
    bench.step(runs[0])
    await bench.broadcaster.flush()

    assert [len(request) for request in bench.realtime.requests] == [module.MAX_MESSAGES, 11]
    assert all(bench.heard(run) for run in runs)


async def test_last_words_are_sent_when_the_worker_stops(bench: BroadcastBench) -> None:
    """Also what was in the request that stopping interrupted."""
    bench.realtime.waits = asyncio.Event()
    run = bench.begin()
    serving = asyncio.create_task(bench.broadcaster.run())
    await bench.realtime.asked.wait()
    bench.end(run)
    serving.cancel()
    bench.realtime.waits.set()
    with pytest.raises(asyncio.CancelledError):
        await serving

    assert [event for event, _ in bench.heard(run)] == ["step", "end"]
    assert bench.realtime.closed


async def test_the_service_sends_what_comes(bench: BroadcastBench) -> None:
    """Without anybody asking it to."""
    serving = asyncio.create_task(bench.broadcaster.run())
    run = bench.begin()
    bench.end(run)
    async with asyncio.timeout(20):
        while bench.counts["sent"] < 2:
            await asyncio.sleep(0)
    serving.cancel()
    await asyncio.wait({serving})

    assert [event for event, _ in bench.heard(run)] == ["step", "end"]

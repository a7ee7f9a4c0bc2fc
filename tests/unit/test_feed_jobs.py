"""How jobs end, go back and come again, and for how long they can be looked at."""

from functools import partial
from typing import Any
from uuid import UUID

import pytest
from feed_bench import FeedBench, shown
from scripted import a_job

from daemon import feed as feed_module
from daemon.feed import LINGER_S
from daemon.jobs import (
    Cancelled,
    Completed,
    ErrorCode,
    Failed,
    Outcome,
    Released,
    Retry,
)


@pytest.fixture
def bench() -> FeedBench:
    return FeedBench()


@pytest.mark.parametrize(
    ("outcome", "reason"),
    [(Retry("net", ErrorCode.NETWORK_ERROR, 1.0), "retried"), (Released("stops"), "released")],
)
def test_a_job_that_goes_back_keeps_its_readers(
    bench: FeedBench, outcome: Outcome, reason: str
) -> None:
    """They are told, and hear the next run if it comes to this worker again."""
    job = a_job()
    run = bench.begin(id=job.id)
    follower = bench.follow(run)
    bench.step(run, "half")
    bench.end(run, outcome)
    assert shown(follower.take())[-1][1:] == ("restarted", reason)
    assert not follower.over

    again = bench.begin(id=job.id, attempt=2)
    bench.step(again, "whole")
    bench.end(again, Completed({}))

    assert [entry[1:] for entry in shown(follower.take())] == [
        ("text", "whole"),
        ("step", "s"),
        ("end", "completed"),
    ]
    assert follower.over


@pytest.mark.parametrize(
    ("outcome", "data"),
    [
        (
            Completed({"response": "Hi"}),
            {
                "status": "completed",
                "error": None,
                "error_code": None,
                "result": {"response": "Hi"},
            },
        ),
        (
            Failed("no", ErrorCode.GENERATION_FAILED),
            {"status": "failed", "error": "no", "error_code": "GENERATION_FAILED"},
        ),
        (Cancelled(), {"status": "cancelled", "error": None, "error_code": None}),
    ],
)
def test_the_end_says_what_the_row_says(bench: FeedBench, outcome: Outcome, data: Any) -> None:
    """Status, error and result as they were recorded; also of a job that never took a step."""
    run = bench.run()

    bench.end(run, outcome)

    assert [event.data for event in bench.follow(run).take()] == [data]


def test_a_retry_without_an_attempt_left_is_the_end(bench: FeedBench) -> None:
    """The database makes a failure of it."""
    run = bench.begin(attempt=3, max_attempts=3)

    bench.end(run, Retry("net", ErrorCode.NETWORK_ERROR, 1.0))

    assert shown(bench.follow(run).take())[-1] == (2, "end", "failed")


@pytest.mark.parametrize("outcome", [None, Completed({})])
def test_readers_of_a_lost_job_are_let_go(bench: FeedBench, outcome: Outcome | None) -> None:
    """Nothing is said of a result that wasn't recorded: the row is somebody else's."""
    run = bench.begin()
    follower = bench.follow(run)
    bench.end(run, outcome, stale=True)

    assert shown(follower.take())[-1] == (2, "restarted", "lost")
    assert follower.over
    assert bench.feed.follow(run.job.id) is None


def test_a_run_that_lost_its_lease_speaks_no_more(bench: FeedBench) -> None:
    """The worker has claimed the job again: only the new run is told of."""
    old = bench.begin()
    bench.step(old, "old")
    new = bench.begin(id=old.job.id)
    bench.step(new, "new")
    follower = bench.follow(new)

    bench.step(old, "older")
    bench.end(old, None)
    bench.end(new, Completed({}))

    assert [entry[1:] for entry in shown(follower.take())] == [
        ("restarted", "lost"),
        ("text", "new"),
        ("step", "s"),
        ("end", "completed"),
    ]


def test_a_finished_row_that_is_queued_again_begins_anew(bench: FeedBench) -> None:
    """Its numbers are new too; who has later ones is told everything."""
    run = bench.begin()
    bench.step(run, "first")
    bench.end(run, Completed({}))
    again = bench.begin(id=run.job.id)

    assert shown(bench.follow(again, 4).take()) == [
        (0, "restarted", "again"),
        (1, "step", "waiting_for_gpu"),
    ]


def test_ended_jobs_are_forgotten_after_a_while(bench: FeedBench) -> None:
    """Until then whoever comes late gets all; a job under way is kept however long it takes."""
    ended, waiting, running = bench.begin(), bench.begin(), bench.begin()
    bench.end(ended, Completed({}))
    bench.end(waiting, Released("stops"))
    patient = bench.follow(waiting)
    patient.take()

    bench.time += LINGER_S - 1
    assert bench.feed.follow(ended.job.id) is not None
    bench.time += 1
    known = [bench.feed.follow(run.job.id) is not None for run in (ended, waiting, running)]

    assert known == [False, False, True]
    assert patient.over


def test_many_ended_jobs_are_bounded(bench: FeedBench, monkeypatch: pytest.MonkeyPatch) -> None:
    """The oldest go; one that came back in between is under way and stays."""
    monkeypatch.setattr(feed_module, "MAX_IDLE", 10)
    back = bench.begin()
    bench.end(back, Released("stops"))
    bench.begin(id=back.job.id)
    runs = [bench.begin() for _ in range(50)]
    for run in runs:
        bench.end(run, Completed({}))

    kept = [run for run in runs if bench.feed.follow(run.job.id)]
    assert kept == runs[-10:]
    assert bench.feed.follow(back.job.id) is not None
    assert len(bench.feed._journals) == 11


def test_closing_lets_everybody_go(bench: FeedBench) -> None:
    """And what comes later is nobody's business."""
    run = bench.begin()
    follower = bench.follow(run)
    follower.take()

    bench.feed.close()
    bench.step(run, "late")
    bench.end(run, Completed({}))

    assert follower.over
    assert follower.changed.is_set()
    assert bench.feed.follow(run.job.id) is None


def test_every_job_is_announced_once(bench: FeedBench) -> None:
    """To whoever follows all of them."""
    opened: list[UUID] = []
    bench.feed.opened = opened.append
    runs = [bench.begin() for _ in range(3)]
    for run in runs:
        bench.step(run, "x")

    assert opened == [run.job.id for run in runs]


def test_errors_show_no_secret(bench: FeedBench) -> None:
    """As everywhere on the side server."""
    run = bench.run()
    bench.end(run, Failed("bearer abcdefgh12345678", ErrorCode.NETWORK_ERROR))

    assert "abcdefgh" not in str(bench.follow(run).take())


def test_who_waits_for_a_job_hears_when_it_begins(bench: FeedBench) -> None:
    """Each of them once, until he leaves; of no other job."""
    run, heard = bench.run(), []
    leave = [bench.feed.await_run(run.job.id, partial(heard.append, who)) for who in "abc"]
    leave[1]()
    bench.begin()
    assert heard == []

    bench.step(run)
    bench.step(run)
    assert heard == ["a", "c"]

    for each in (leave[0], leave[2]):
        each()
    assert bench.feed._awaited == {}

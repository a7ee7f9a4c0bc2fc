"""Following jobs: read until they have ended, also through outages."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest

from daemon.commands.following import follow
from daemon.commands.outcomes import state_of
from daemon.commands.running import UserError
from daemon.commands.watching import _Look, watch_all
from daemon.job_rows import JobRow
from daemon.store.operators import ListedJob, Wanted
from daemon.values import StoreUnavailableError

JOB = ListedJob(
    JobRow(UUID(int=1), "chat", "queued", 0, None, None, None, None, None, 0, 3, None, None, None),
    user_id=None,
    priority=0,
)
AWAY = StoreUnavailableError("away")


def job(number: int = 1, **changes: Any) -> ListedJob:
    return replace(JOB, row=replace(JOB.row, id=UUID(int=number), **changes))


class Desk:
    """Answers what it was told, in order."""

    def __init__(self, *answers: Sequence[ListedJob] | Exception) -> None:
        self._answers = list(answers)
        self.asked: list[Wanted] = []

    async def find(self, wanted: Wanted) -> list[ListedJob]:
        self.asked.append(wanted)
        answer = self._answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return list(answer)

    async def add(self, *_: Any) -> UUID:
        raise NotImplementedError

    async def cancel(self, job_id: UUID) -> str | None:
        raise NotImplementedError

    async def retry(self, job_id: UUID) -> None:
        raise NotImplementedError

    async def aclose(self) -> None:
        raise NotImplementedError


async def test_a_job_is_followed_to_its_end() -> None:
    """Each look is shown; the last one is returned."""
    running, done = job(status="processing", progress=50), job(status="completed")
    shown: list[ListedJob] = []

    last = await follow(Desk([JOB], [running], [done]), UUID(int=1), shown.append, poll_s=0)

    assert shown == [JOB, running, done]
    assert last == done


async def test_an_outage_while_waiting_is_waited_out() -> None:
    """But at the first look it is told: nothing may be right at all."""
    done = job(status="failed")
    desk = Desk([JOB], AWAY, AWAY, [done])
    assert await follow(desk, UUID(int=1), lambda _: None, poll_s=0) == done

    with pytest.raises(StoreUnavailableError):
        await follow(Desk(AWAY), UUID(int=1), lambda _: None, poll_s=0)


async def test_a_job_that_is_not_there_is_a_message() -> None:
    """Or has been deleted meanwhile."""
    with pytest.raises(UserError, match="there is no job"):
        await follow(Desk([JOB], []), UUID(int=1), lambda _: None, poll_s=0)


async def test_what_is_no_longer_unfinished_is_looked_up() -> None:
    """Once: its end is shown, and it is forgotten."""
    desk = Desk([job(1), job(2)], [job(2)], [job(1, status="completed")], [job(2)])
    look = _Look(desk)
    await look()
    second = await look()
    third = await look()

    assert [(each.row.id.int, each.row.status) for each in second] == [
        (2, "queued"),
        (1, "completed"),
    ]
    assert desk.asked[2].job_ids == (UUID(int=1),)
    assert [each.row.id.int for each in third] == [2]


async def test_all_are_watched_through_an_outage(capsys: pytest.CaptureFixture[str]) -> None:
    """A change is a line; what stays the same is none."""
    desk = Desk([JOB], AWAY, [JOB], [job(status="processing", progress=7)], RuntimeError("end"))
    with pytest.raises(RuntimeError, match="end"):
        await watch_all(desk, as_json=False, timeout_s=None, poll_s=0)

    assert capsys.readouterr().out.splitlines() == [
        f"{UUID(int=1)}  chat  queued",
        f"{UUID(int=1)}  chat  processing 7 %",
    ]
    with pytest.raises(StoreUnavailableError):
        await watch_all(Desk(AWAY), as_json=False, timeout_s=None, poll_s=0)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, "queued, done by "),
        ({"error": "the network is away"}, "queued again after: the network is away, done by "),
        ({"status": "processing", "progress": 7}, "processing 7 %, done by "),
    ],
)
def test_what_is_foretold_is_said(changes: dict[str, Any], words: str) -> None:
    """As a time of the day where the command runs: it stays the same from look to look."""
    end = datetime(2026, 3, 1, 12, 5, 30, tzinfo=UTC)
    row = replace(JOB.row, **changes)

    assert state_of(replace(row, estimated_completion=end)) == f"{words}{end.astimezone():%H:%M:%S}"
    assert "done by" not in state_of(row)

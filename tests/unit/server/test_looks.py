"""Looks at rows that are followed: few, and shared."""

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from uuid import uuid4

import pytest
from scripted_desk import ScriptedDesk, a_row

from daemon.server.desk import Desk
from daemon.server.looks import Look, Looks
from daemon.values import StoreUnavailableError

WITHIN_S = 60.0
NEVER_S = 3600.0


class Bench:
    def __init__(self) -> None:
        self.table = ScriptedDesk()
        self.desk = Desk()
        self.desk.open(self.table, lambda _: None)
        self.looks = self.at_pace(0.001)

    def at_pace(self, interval_s: float) -> Looks:
        self.looks = Looks(self.desk, interval_s=interval_s)
        return self.looks

    async def until(self, there: Callable[[], object]) -> None:
        async with asyncio.timeout(WITHIN_S):
            while not there():
                await asyncio.sleep(0)

    async def looked(self, look: Look) -> None:
        async with asyncio.timeout(WITHIN_S):
            await look.looked.wait()


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    bench = Bench()
    yield bench
    await bench.looks.stop()


def ignore() -> None:
    """Be woken for nothing."""


async def test_the_first_look_doesnt_wait_for_its_turn(bench: Bench) -> None:
    """Nor does that of a job that is followed later; the others keep their pace."""
    looks, rows = bench.at_pace(NEVER_S), [a_row(), a_row()]
    bench.table.has(*rows)
    for row in rows:
        look = looks.hold(row.id, ignore)
        await bench.looked(look)
        assert look.row == row

    assert bench.table.calls == [[row.id] for row in rows]


async def test_many_readers_of_many_jobs_are_one_call(bench: Bench) -> None:
    """One call for all jobs, each of them in it once."""
    rows = [a_row() for _ in range(3)]
    bench.table.has(*rows)
    held = [bench.looks.hold(row.id, ignore) for row in rows for _ in range(5)]
    await bench.until(lambda: len(bench.table.calls) >= 4)

    assert all(sorted(call) == sorted(row.id for row in rows) for call in bench.table.calls)
    assert len({id(look) for look in held}) == 3


async def test_readers_are_woken_by_changes_alone(bench: Bench) -> None:
    """A row that stays as it is costs its readers nothing."""
    row, woken = a_row(), []
    bench.table.has(row)
    look = bench.looks.hold(row.id, lambda: woken.append(1))
    await bench.until(lambda: len(bench.table.calls) >= 5)
    assert len(woken) == 1

    bench.table.has(replace(row, progress=5))
    await bench.until(lambda: len(woken) == 2)
    assert look.row is not None
    assert look.row.progress == 5


async def test_nothing_is_asked_when_nobody_follows(bench: Bench) -> None:
    """The last reader's leaving ends it; the next one's coming begins it anew."""
    row = a_row()
    bench.table.has(row)
    look = bench.looks.hold(row.id, ignore)
    await bench.looked(look)
    bench.looks.leave(look, ignore)
    await bench.until(lambda: bench.looks._looking is None)
    calls = len(bench.table.calls)

    again = bench.looks.hold(row.id, ignore)
    await bench.looked(again)
    assert again is not look
    assert len(bench.table.calls) > calls


async def test_who_leaves_doesnt_take_the_others_along(bench: Bench) -> None:
    """The job is looked at for as long as somebody follows it."""
    row, woken = a_row(), []
    bench.table.has(row)
    first, stays = (lambda: None), (lambda: woken.append(1))
    look = bench.looks.hold(row.id, first)
    assert bench.looks.hold(row.id, stays) is look
    bench.looks.leave(look, first)

    bench.table.has(replace(row, progress=5))
    await bench.until(lambda: look.row is not None and look.row.progress == 5)
    assert woken


async def test_an_outage_refuses_new_readers_and_keeps_the_old(bench: Bench) -> None:
    """Who knows the row waits; both go on when the database is back."""
    known, late = a_row(), a_row()
    bench.table.has(known, late)
    old = bench.looks.hold(known.id, ignore)
    await bench.looked(old)
    bench.table.failure = StoreUnavailableError("away")
    new = bench.looks.hold(late.id, ignore)
    await bench.looked(new)
    calls = len(bench.table.calls)
    await bench.until(lambda: [known.id, late.id] in bench.table.calls[calls:])

    assert new.refusal is not None
    assert new.refusal.error_code == "DATABASE_ERROR"
    assert (old.row, old.refusal, old.over) == (known, None, False)

    bench.table.failure = None
    await bench.until(lambda: new.row == late)
    assert new.refusal is None


async def test_a_defect_is_an_answer_too(bench: Bench) -> None:
    """Readers must not wait for ever, and the next look may succeed."""
    row = a_row()
    bench.table.has(row)
    bench.table.failure = ValueError("a defect")
    look = bench.looks.hold(row.id, ignore)
    await bench.looked(look)
    assert look.refusal is not None
    assert look.refusal.status == 500

    bench.table.failure = None
    await bench.until(lambda: look.row == row)


async def test_a_row_that_goes_is_over(bench: Bench) -> None:
    """It was there, and was removed; another was never there."""
    row, woken = a_row(), []
    bench.table.has(row)
    look = bench.looks.hold(row.id, lambda: woken.append(1))
    strange = bench.looks.hold(uuid4(), ignore)
    await bench.looked(look)
    await bench.looked(strange)
    bench.table.rows.clear()
    await bench.until(lambda: look.over)

    assert len(woken) == 2
    assert (strange.row, strange.over) == (None, True)


async def test_stopping_lets_all_go(bench: Bench) -> None:
    """Also while a look hangs, and those who come afterwards."""
    bench.table.holds_back = asyncio.Event()
    woken: list[int] = []
    look = bench.looks.hold(uuid4(), lambda: woken.append(1))
    await bench.table.asked.wait()
    await bench.looks.stop()
    late = bench.looks.hold(uuid4(), ignore)

    assert (look.over, look.looked.is_set(), woken) == (True, True, [1])
    assert (late.over, late.looked.is_set()) == (True, True)
    assert len(bench.table.calls) == 1

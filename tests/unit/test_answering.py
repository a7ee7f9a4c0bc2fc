"""Requests that somebody waits for: their way to an answer, with every other part scripted."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any
from uuid import UUID, uuid4

import pytest
from execution_bench import PICTURE, Bench

from daemon.answering import MOST_LOSSES, Answering, Connected
from daemon.artifacts.inline import InlineArtifacts
from daemon.exchanges import FullError, Order
from daemon.jobs import Cancelled, Completed, ErrorCode, Failed, Released
from daemon.values import EngineLostError, Loss, RunOutput, StepReport

CHAT = Order("chat", {"prompt": "hello"}, caller="edge")
TEXT = RunOutput({"response": "Hi there"}, [], peak_bytes=None, timings={})
Runs = Callable[..., Awaitable[Any]]


class Counter:
    """A bench whose jobs are requests."""

    def __init__(self, runs: Runs, most: int = 4) -> None:
        self.bench = Bench(runs)
        self.defect: Exception | None = None
        self.answering = Answering(self.bench.executor, most)
        connected = Connected()
        self.answering.carried_by(
            replace(
                self.bench.execution,
                leases=connected,
                progress=connected,
                recorder=self.answering,
                artifacts=InlineArtifacts(self.bench.artifacts, self.answering.is_inline),
                events=self,
                interactive=True,
            )
        )

    def stepped(self, run: Any, report: StepReport) -> None:
        self.answering.stepped(run, report)

    def run_began(self, run: Any) -> None:
        if self.defect is not None:
            raise self.defect

    def resolved(self, run: Any, params: Any) -> None:
        pass

    def generated(self, run: Any, output: Any) -> None:
        pass

    def ran_out_of_memory(self, run: Any) -> None:
        pass

    def run_ended(self, run: Any, outcome: Any, recorded: Any) -> None:
        pass

    async def outcome(self, order: Order = CHAT) -> Any:
        with self.answering.ask(order) as exchange:
            return await exchange.ended()

    async def all_ended(self) -> None:
        while self.bench.executor.runs:
            await asyncio.sleep(0)


async def speaks(_: str, __: Any, progress: Callable[[StepReport], None]) -> RunOutput:
    for piece in ("Hi", " there"):
        progress(StepReport("generating_text", 0.5, text=piece))
        await asyncio.sleep(0)
    return TEXT


async def never_ends(*_: Any) -> RunOutput:
    await asyncio.Event().wait()
    raise AssertionError("unreachable")


async def draws(*_: Any) -> RunOutput:
    return PICTURE


def loses(error: EngineLostError, times: int, seen: list[str] | None = None) -> Runs:
    """Return runs that lose their engine so many times, then answer."""
    left = [times]

    async def run(run_id: str, __: Any, progress: Callable[[StepReport], None]) -> RunOutput:
        if seen is not None:
            seen.append(run_id)
        if left[0]:
            left[0] -= 1
            progress(StepReport("generating_text", 0.1, text="lost"))
            for _ in range(3):
                await asyncio.sleep(0)  # long enough to be read
            raise error
        progress(StepReport("generating_text", 0.1, text="Hi there"))
        return TEXT

    return run


async def test_an_answer_goes_to_who_asked_and_nowhere_else() -> None:
    """Its wish goes ahead of batch work, in the caller's name; no row is written."""
    counter = Counter(speaks)
    outcome = await counter.outcome()
    assert isinstance(outcome, Completed)
    assert outcome.result["response"] == "Hi there"
    (wish,) = counter.bench.admissions.requests
    assert (wish.interactive, wish.user) == (True, "edge")
    assert counter.bench.recorder.finishes == []
    assert counter.bench.store.reported == []
    await counter.all_ended()
    assert counter.answering.held == 0


async def test_a_user_goes_before_his_caller() -> None:
    counter, user = Counter(speaks), uuid4()
    await counter.outcome(replace(CHAT, user_id=user))
    assert counter.bench.admissions.requests[0].user == str(user)


async def test_pieces_come_as_they_are_told() -> None:
    counter = Counter(speaks)
    pieces = []
    with counter.answering.ask(CHAT) as exchange:
        while exchange.outcome is None:
            await exchange.changed()
            pieces.append(exchange.take())
    assert "".join(pieces) == "Hi there"
    assert [piece for piece in pieces if piece] == ["Hi", " there"]


async def test_who_goes_away_stops_the_run() -> None:
    counter = Counter(never_ends)
    with counter.answering.ask(CHAT) as exchange:
        await asyncio.sleep(0)
    await counter.all_ended()
    assert isinstance(exchange.outcome, Cancelled)
    assert counter.bench.admissions.inside == 0


async def test_no_more_than_may_be_held() -> None:
    counter = Counter(never_ends, most=2)
    ask = counter.answering.ask
    with ask(CHAT), ask(CHAT), pytest.raises(FullError, match="2 requests"), ask(CHAT):
        pass
    await counter.all_ended()
    with counter.answering.ask(CHAT):
        pass


async def test_a_lost_engine_costs_the_request_nothing_the_first_time() -> None:
    """It is begun anew, alone, and what the lost run has said is forgotten."""
    runs: list[str] = []
    counter = Counter(loses(EngineLostError("killed"), 1, runs))
    outcome = await counter.outcome()
    assert isinstance(outcome, Completed)
    assert [wish.alone for wish in counter.bench.admissions.requests] == [False, True]
    assert len(set(runs)) == len(runs) == 2


async def test_the_second_lost_engine_is_its_own_doing() -> None:
    counter = Counter(loses(EngineLostError("killed"), 2))
    outcome = await counter.outcome()
    assert isinstance(outcome, Failed)
    assert outcome.error_code is ErrorCode.GENERATION_FAILED


async def test_it_is_not_begun_anew_for_ever() -> None:
    counter = Counter(loses(EngineLostError("gone", Loss.GONE), 99))
    outcome = await counter.outcome()
    assert isinstance(outcome, Released)
    assert len(counter.bench.admissions.requests) == MOST_LOSSES + 1


async def test_who_has_read_a_part_is_not_told_another_answer() -> None:
    counter = Counter(loses(EngineLostError("killed"), 1))
    with counter.answering.ask(CHAT) as exchange:
        await exchange.changed()
        assert exchange.take() == "lost"
        assert isinstance(await exchange.ended(), Released)


async def test_a_draining_worker_takes_nothing_and_begins_nothing_anew() -> None:
    counter = Counter(loses(EngineLostError("killed"), 1))
    with counter.answering.ask(CHAT) as exchange:
        counter.answering.drain()
        with pytest.raises(FullError, match="draining"), counter.answering.ask(CHAT):
            pass
        assert isinstance(await exchange.ended(), Released)


async def test_a_defect_leaves_nobody_waiting() -> None:
    counter = Counter(speaks)
    counter.defect = RuntimeError("a defect")
    outcome = await asyncio.wait_for(counter.outcome(), 10)
    assert isinstance(outcome, Failed)
    assert counter.answering.held == 0


async def test_requests_take_no_room_of_rows() -> None:
    counter = Counter(never_ends)
    before = counter.bench.executor.room()
    with counter.answering.ask(CHAT):
        assert counter.bench.executor.room() == before
    await counter.all_ended()
    assert counter.bench.executor.room() == before


@pytest.mark.parametrize("inline", [False, True])
async def test_files_are_stored_or_come_along(inline: bool) -> None:
    counter = Counter(draws)
    outcome = await counter.outcome(Order("sdxl_image_fast", {}, inline=inline))
    assert isinstance(outcome, Completed)
    url = outcome.result["image_url"]
    assert url.startswith("data:image/png;base64,") is inline
    assert len(counter.bench.artifacts.files) == (0 if inline else 1)


async def test_each_request_is_a_job_of_its_own() -> None:
    counter = Counter(never_ends)
    with counter.answering.ask(CHAT) as one, counter.answering.ask(CHAT) as other:
        ids: set[UUID] = {one.job_id, other.job_id}
        assert {run.job.id for run in counter.bench.executor.runs.values()} == ids
        assert len(ids) == 2
    await counter.all_ended()

"""Intake: demand in, claims out, and what happens when the database doesn't answer."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from uuid import uuid4

from scripted import ScriptedStore, a_job

from daemon.intake import Intake, bounded
from daemon.jobs import Job
from daemon.restraint import Restraint
from daemon.values import Demand, StoreUnavailableError, SweepResult, WorkerIdentity

CHAT = Demand(("chat",), 2)


class Starter:
    def __init__(self, room: int = 100) -> None:
        self.jobs: list[Job] = []
        self.open_s: list[float] = []
        self._room = room

    def room(self) -> int:
        return self._room - len(self.jobs)

    def start(self, job: Job, claimed_at: float, open_s: float) -> None:
        self.jobs.append(job)
        self.open_s.append(open_s)


class Sweeps:
    def __init__(self, *, due: bool = False) -> None:
        self.sweep_due = asyncio.Event()
        if due:
            self.sweep_due.set()
        self.next_due: list[float | None] = []

    def note_next_due(self, seconds: float | None) -> None:
        self.next_due.append(seconds)


class Events:
    def claimed(self, jobs: Sequence[Job]) -> None:
        return

    def swept(self, result: SweepResult) -> None:
        return


def intake_of(
    store: ScriptedStore, demand: Sequence[Demand] = (CHAT,), starter: Starter | None = None
) -> Intake:
    return Intake(
        store=store,
        worker=WorkerIdentity("host-1", uuid4()),
        demand=lambda: demand,
        starter=starter or Starter(),
        sweeps=Sweeps(),
        lease_s=12.0,
        events=Events(),
    )


async def until_empty(intake: Intake, store: ScriptedStore) -> None:
    """Run the intake until a claim found nothing more."""
    stopping = asyncio.Event()
    running = asyncio.create_task(intake.run_until(stopping))
    await asyncio.wait_for(store.claimed_empty.wait(), 10)
    stopping.set()
    intake.wake.set()
    await running


async def test_it_claims_again_while_claims_are_full() -> None:
    """A full batch may not be the last one; a short one is."""
    first, second, third = a_job(), a_job(), a_job()
    store = ScriptedStore(claims=[[first, second], [third]])
    starter = Starter()
    intake = intake_of(store, starter=starter)

    stopping = asyncio.Event()
    running = asyncio.create_task(intake.run_until(stopping))
    while len(starter.jobs) < 3:
        await asyncio.sleep(0)
    stopping.set()
    intake.wake.set()
    await running

    assert starter.jobs == [first, second, third]
    assert len(store.claim_requests) == 2


async def test_no_demand_no_claim() -> None:
    """Backpressure: a full scheduler asks the database for nothing."""
    store = ScriptedStore()
    intake = intake_of(store, demand=())

    stopping = asyncio.Event()
    running = asyncio.create_task(intake.run_until(stopping))
    while not intake.stats.wakes:
        await asyncio.sleep(0)
    stopping.set()
    intake.wake.set()
    await running

    assert store.claim_requests == []


async def test_a_lost_reply_is_asked_for_again_with_the_same_request() -> None:
    """The database gives the same jobs for the same request id."""
    store = ScriptedStore(claims=[StoreUnavailableError("gone"), [a_job()]])
    starter = Starter()
    intake = intake_of(store, starter=starter)

    stopping = asyncio.Event()
    running = asyncio.create_task(intake.run_until(stopping))
    while not starter.jobs:
        await asyncio.sleep(0)
    stopping.set()
    intake.wake.set()
    await running

    (first, _), (second, _) = store.claim_requests[:2]
    assert first == second
    assert intake.stats.store_error is None


async def test_the_first_sweep_takes_back_what_the_predecessor_held() -> None:
    """Only the first one: later this worker would take its own jobs."""
    store = ScriptedStore(sweeps=[SweepResult(2, 0, 5.0)])
    intake = intake_of(store)
    sweeps = Sweeps(due=True)
    intake.sweeps = sweeps

    await until_empty(intake, store)

    assert store.sweeps_asked == [True]
    assert sweeps.next_due == [5.0]
    assert intake.stats.rescued == 2


async def test_stopping_ends_the_wait_for_a_database_that_is_away() -> None:
    """A stop doesn't wait for the database."""
    store = ScriptedStore(claims=[StoreUnavailableError("away") for _ in range(10_000)])
    intake = intake_of(store)
    stopping = asyncio.Event()
    running = asyncio.create_task(intake.run_until(stopping))
    while intake.stats.store_error is None:
        await asyncio.sleep(0)

    stopping.set()
    await asyncio.wait_for(running, 10)

    assert intake.stats.claimed == 0


def test_demands_are_cut_to_the_room_in_their_order() -> None:
    """What comes first in the scheduler's demand is served first."""
    demands = [Demand(("chat",), 3), Demand(("video_fast",), 2)]

    assert bounded(demands, 4) == [Demand(("chat",), 3), Demand(("video_fast",), 1)]
    assert bounded(demands, 0) == []


async def test_room_that_one_class_does_not_need_goes_to_the_next() -> None:
    """One place, three classes: whichever has a row gets it, and each is asked once a wake-up."""
    demand = [Demand(("chat",), 2), Demand(("wan_image_fast",), 2), Demand(("video_fast",), 2)]
    film = a_job(job_type="video_fast")
    store, starter = ScriptedStore(claims=[[], [], [film]]), Starter(room=1)
    intake = intake_of(store, demand, starter)
    stopping = asyncio.Event()
    running = asyncio.create_task(intake.run_until(stopping))
    while not starter.jobs:
        await asyncio.sleep(0)
    stopping.set()
    intake.wake.set()
    await asyncio.wait_for(running, 10)

    assert starter.jobs == [film]
    asked = [[each.job_types[0] for each in demands] for _, demands in store.claim_requests]
    assert asked == [["chat"], ["wan_image_fast"], ["video_fast"]]


async def test_what_was_claimed_late_is_told() -> None:
    """Jobs that a source should have announced, with how long ago; others say nothing."""
    told: list[tuple[Sequence[float], float]] = []
    store = ScriptedStore(claims=[[replace(a_job(), hinted_s=3.5), a_job()]])
    intake = intake_of(store)
    intake.found = lambda waited, at: told.append((waited, at))
    await until_empty(intake, store)

    assert [waited for waited, _ in told] == [[3.5], []]
    assert intake.stats.looked_at >= told[0][1]


async def test_a_worker_that_keeps_looking_in_vain_holds_back() -> None:
    """After some looks in vain the next one waits for a moment, and serves all hints till then."""
    store = ScriptedStore()
    intake = intake_of(store)
    intake.restraint = Restraint(random=lambda: 1.0)
    stopping = asyncio.Event()
    running = asyncio.create_task(intake.run_until(stopping))
    async with asyncio.timeout(10):
        while intake.restraint.pause_s(intake.clock()) == 0:
            intake.wake.set()
            await asyncio.sleep(0)
    looked = intake.stats.claims
    for _ in range(50):
        intake.wake.set()
        await asyncio.sleep(0)
    assert intake.stats.claims <= looked + 1
    stopping.set()
    intake.wake.set()
    await running


async def test_a_type_is_open_until_its_demand_is_filled() -> None:
    """From then on its rows are kept waiting, until it is seen to be in demand again."""
    one, other = a_job(), a_job(job_type="sdxl_image_fast")
    looks = [(0.0, []), (5.0, [one]), (20.0, [one, other]), (30.0, [other])]
    store = ScriptedStore(claims=[jobs for _, jobs in looks])
    starter = Starter()
    demands = (Demand(("chat",), 1), Demand(("sdxl_image_fast",), 2))
    intake = intake_of(store, demands, starter)
    stopping = asyncio.Event()

    for at, _ in looks:
        intake.clock = partial(float, at)
        intake._empty.clear()  # as each wake-up does
        await intake._claim_once(stopping)

    assert starter.open_s == [5.0, 0.0, 20.0, 30.0]

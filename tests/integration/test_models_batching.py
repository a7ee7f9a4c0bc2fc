"""Runs that come together compute together: each with its own seed, steps, end and result."""

import asyncio
import io
import itertools
import threading
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from daemon.engines.process import EngineProcess
from daemon.values import RunCancelledError, StepReport
from handlers.batching import Batching, Member
from handlers.params import resolve

pytestmark = pytest.mark.models
torch = pytest.importorskip("torch")
StartEngine = Callable[..., Awaitable[EngineProcess]]

LONG_S = 10.0
"""So long do calls take by the denoiser's clock, and twice as long are mates waited for."""

LEVELS = 2
"""A picture may differ by so many of 255 levels from the one that is drawn alone."""


class Denoiser:
    """Doubles its rows and adds their timestep; counts rows, and says how long it took."""

    def __init__(self, seconds_of: Callable[[int], float]) -> None:
        self.rows: list[int] = []
        self.now = 0.0
        self._seconds_of = seconds_of
        self.fails: Callable[[Any, Any], Any] = lambda sample, timestep: False

    def clock(self) -> float:
        return self.now

    def __call__(self, sample: Any, timestep: Any, *, text: Any, return_dict: bool) -> Any:
        self.rows.append(len(sample))
        self.now += self._seconds_of(len(sample))
        if self.fails(sample, timestep):
            raise RuntimeError(f"failed with {len(sample)} rows")
        assert not return_dict
        return (sample * 2 + timestep.view(-1, 1).expand(len(sample), 1) + text,)


@pytest.fixture
def threads() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(8) as pool:
        yield pool


def steps_of(
    batching: Batching, denoiser: Denoiser, number: int, enough: Callable[[], bool], more: int = 10
) -> Member:
    """Take steps as a pipeline does until there were enough, and some more; check each answer."""
    with batching.member() as member:
        module = batching.denoiser(denoiser, member)
        for step in itertools.count():
            more -= enough()
            if more < 0:
                return member
            sample, text = torch.full((1, 3), float(number)), torch.zeros(1, 3)
            (answer,) = module(sample, torch.tensor(step), text=text, return_dict=False)
            assert answer.tolist() == [[2.0 * number + step] * 3]
    raise AssertionError("the steps never end by themselves")


def test_runs_of_one_shape_share_calls_and_each_gets_its_own_answer(
    threads: ThreadPoolExecutor,
) -> None:
    """Also at different steps, and when one ends earlier than the others."""
    denoiser = Denoiser(lambda rows: LONG_S)
    batching = Batching(4, clock=denoiser.clock)

    runs = [
        threads.submit(steps_of, batching, denoiser, number, lambda: 4 in denoiser.rows, 9 * number)
        for number in range(4)
    ]

    assert all(run.result().shared for run in runs)
    assert max(denoiser.rows) == 4


def test_never_more_share_than_allowed(threads: ThreadPoolExecutor) -> None:
    """Their memory is what was reserved for so many."""
    denoiser = Denoiser(lambda rows: LONG_S)
    batching = Batching(2, clock=denoiser.clock)

    runs = [
        threads.submit(
            steps_of, batching, denoiser, number, lambda: denoiser.rows.count(2) > 20, number
        )
        for number in range(5)
    ]

    for run in runs:
        run.result()
    assert max(denoiser.rows) == 2


def test_what_gains_nothing_is_not_shared(threads: ThreadPoolExecutor) -> None:
    """After the timings that show it, everybody computes alone, and nobody waits."""
    denoiser = Denoiser(lambda rows: LONG_S * rows)
    batching = Batching(2, clock=denoiser.clock)

    runs = [
        threads.submit(
            steps_of, batching, denoiser, number, lambda: denoiser.rows.count(2) >= 3, 50
        )
        for number in range(2)
    ]

    for run in runs:
        run.result()
    assert denoiser.rows.count(2) == 3


def test_a_batch_that_fails_is_computed_one_by_one(threads: ThreadPoolExecutor) -> None:
    """As when it runs out of memory; so many are never tried again."""
    denoiser = Denoiser(lambda rows: LONG_S)
    denoiser.fails = lambda sample, timestep: len(sample) > 2
    batching = Batching(3, clock=denoiser.clock)

    runs = [
        threads.submit(steps_of, batching, denoiser, number, lambda: 3 in denoiser.rows, 20)
        for number in range(3)
    ]

    for run in runs:
        run.result()
    assert denoiser.rows.count(3) == 1


def test_who_is_to_blame_hears_of_it_and_nobody_else(threads: ThreadPoolExecutor) -> None:
    """A run whose own call fails takes no other down."""
    denoiser = Denoiser(lambda rows: LONG_S)
    batching = Batching(2, clock=denoiser.clock)
    denoiser.fails = lambda sample, timestep: (sample == 1).any() and 2 in denoiser.rows

    good = threads.submit(steps_of, batching, denoiser, 0, lambda: 2 in denoiser.rows, 20)
    bad = threads.submit(steps_of, batching, denoiser, 1, lambda: 2 in denoiser.rows, 20)

    with pytest.raises(RuntimeError, match="failed with 1 rows"):
        bad.result()
    good.result()


def test_other_shapes_are_not_mixed(threads: ThreadPoolExecutor) -> None:
    """A call with other columns goes its own way."""
    denoiser = Denoiser(lambda rows: LONG_S)
    batching = Batching(2, clock=denoiser.clock)
    both = threading.Barrier(2)

    def steps(columns: int) -> set[Any]:
        with batching.member() as member:
            module = batching.denoiser(denoiser, member)
            both.wait()
            samples = [torch.ones(1, columns) for _ in range(20)]
            answers = [
                module(sample, torch.tensor(0), text=sample, return_dict=False)[0].shape
                for sample in samples
            ]
        return set(answers)

    narrow, wide = threads.submit(steps, 3), threads.submit(steps, 5)

    assert (narrow.result(), wide.result()) == ({(1, 3)}, {(1, 5)})
    assert set(denoiser.rows) == {1}


def pixels(output: Any) -> Any:
    image = pytest.importorskip("PIL.Image")
    numpy = pytest.importorskip("numpy")
    return numpy.asarray(image.open(io.BytesIO(output.files[0].data))).astype(int)


@pytest.mark.parametrize("model", ["sdxl", "wan"])
async def test_pictures_that_share_calls_are_those_that_are_drawn_alone(
    model: str, start_engine: StartEngine, demo_models: dict[str, Path]
) -> None:
    """With other steps, seeds, prompts and guidance; one is cancelled on the way."""
    engine = await start_engine(
        model, str(demo_models[model]), "diffusers", max_concurrent=4, options={"batch": 4}
    )

    def wanted(number: int) -> dict[str, Any]:
        request = {"prompt": f"a cat {number}", "width": 64, "height": 64, "seed": number}
        return resolve("image", "", model, "fast", request | {"steps": 60 + number}).params

    def ignore(report: StepReport) -> None:
        pass

    def give_up(report: StepReport) -> None:
        if (report.step or 0) >= 5:
            engine.cancel("given up")

    alone = [await engine.run(f"alone {n}", "image", wanted(n), ignore) for n in range(3)]
    *together, stopped = await asyncio.gather(
        *(engine.run(f"run {n}", "image", wanted(n), ignore) for n in range(3)),
        engine.run("given up", "image", wanted(9), give_up),
        return_exceptions=True,
    )

    assert isinstance(stopped, RunCancelledError)
    for before, after in zip(alone, together, strict=True):
        assert abs(pixels(before) - pixels(after)).max() <= LEVELS
        assert "batched" not in before.fields["metadata"]
        assert after.fields["metadata"]["batched"] is True

"""Runs that come together compute together: each with its own seed, steps, end and result."""

import asyncio
import io
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

LEVELS = 2
"""A picture may differ by so many of 255 levels from the one that is drawn alone."""


class Denoiser:
    """Doubles its rows and adds their timestep; counts rows, and says how long it took."""

    def __init__(self, seconds_of: Callable[[int], float]) -> None:
        self.rows: list[int] = []
        self.now = 0.0
        self._seconds_of = seconds_of
        self.fails: Callable[[Any], bool] = lambda _: False

    def clock(self) -> float:
        return self.now

    def __call__(self, sample: Any, timestep: Any, *, text: Any, return_dict: bool) -> Any:
        self.rows.append(len(sample))
        self.now += self._seconds_of(len(sample))
        if self.fails(sample):
            raise RuntimeError(f"failed with {len(sample)} rows")
        assert not return_dict
        return (sample * 2 + timestep.view(-1, 1).expand(len(sample), 1) + text,)


@pytest.fixture
def threads() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(8) as pool:
        yield pool


def steps_of(
    batching: Batching, denoiser: Denoiser, number: int, steps: int, ready: threading.Barrier
) -> tuple[list[float], Member]:
    """Take steps as a pipeline does; return what was answered to each."""
    answers = []
    with batching.member() as member:
        module = batching.denoiser(denoiser, member)
        ready.wait()
        for step in range(steps):
            sample = torch.full((1, 3), float(number))
            (answer,) = module(
                sample, torch.tensor(step), text=torch.zeros(1, 3), return_dict=False
            )
            answers.append(answer[0, 0].item())
    return answers, member


def expected(number: int, steps: int) -> list[float]:
    return [2.0 * number + step for step in range(steps)]


def test_runs_of_one_shape_share_calls_and_each_gets_its_own_answer(
    threads: ThreadPoolExecutor,
) -> None:
    """Also at different steps, and when one ends earlier than the others."""
    denoiser = Denoiser(lambda rows: 1.0)
    batching, ready = Batching(4, clock=denoiser.clock), threading.Barrier(4)

    runs = [
        threads.submit(steps_of, batching, denoiser, number, 10 + 10 * number, ready)
        for number in range(4)
    ]

    for number, run in enumerate(runs):
        answers, _ = run.result()
        assert answers == expected(number, 10 + 10 * number)
    assert max(denoiser.rows) == 4
    assert sum(denoiser.rows) == 10 + 20 + 30 + 40
    assert all(run.result()[1].shared for run in runs)


def test_never_more_share_than_allowed(threads: ThreadPoolExecutor) -> None:
    """Their memory is what was reserved for so many."""
    denoiser = Denoiser(lambda rows: 1.0)
    batching, ready = Batching(2, clock=denoiser.clock), threading.Barrier(5)

    runs = [threads.submit(steps_of, batching, denoiser, number, 20, ready) for number in range(5)]

    assert [run.result()[0] for run in runs] == [expected(number, 20) for number in range(5)]
    assert max(denoiser.rows) == 2


def test_what_gains_nothing_is_not_shared(threads: ThreadPoolExecutor) -> None:
    """After the timings that show it, everybody computes alone, and nobody waits."""
    denoiser = Denoiser(float)
    batching, ready = Batching(2, clock=denoiser.clock), threading.Barrier(2)

    runs = [threads.submit(steps_of, batching, denoiser, number, 50, ready) for number in range(2)]

    assert [run.result()[0] for run in runs] == [expected(number, 50) for number in range(2)]
    assert denoiser.rows.count(2) <= 3


def test_a_batch_that_fails_is_computed_one_by_one(threads: ThreadPoolExecutor) -> None:
    """As when it runs out of memory; so many are never tried again."""
    denoiser = Denoiser(lambda rows: 1.0)
    denoiser.fails = lambda sample: len(sample) > 2
    batching, ready = Batching(3, clock=denoiser.clock), threading.Barrier(3)

    runs = [threads.submit(steps_of, batching, denoiser, number, 20, ready) for number in range(3)]

    assert [run.result()[0] for run in runs] == [expected(number, 20) for number in range(3)]
    assert denoiser.rows.count(3) == 1


def test_who_is_to_blame_hears_of_it_and_nobody_else(threads: ThreadPoolExecutor) -> None:
    """A run whose own call fails takes no other down."""
    denoiser = Denoiser(lambda rows: 1.0)
    denoiser.fails = lambda sample: bool((sample == 1.0).any())
    batching, ready = Batching(2, clock=denoiser.clock), threading.Barrier(2)

    good = threads.submit(steps_of, batching, denoiser, 0, 20, ready)
    bad = threads.submit(steps_of, batching, denoiser, 1, 20, ready)

    with pytest.raises(RuntimeError, match="failed with 1 rows"):
        bad.result()
    assert good.result()[0] == expected(0, 20)


def test_other_shapes_are_not_mixed(threads: ThreadPoolExecutor) -> None:
    """A call with other columns goes its own way."""
    denoiser = Denoiser(lambda rows: 1.0)
    batching = Batching(2, clock=denoiser.clock)
    seen = []

    def wide() -> None:
        with batching.member() as member:
            module = batching.denoiser(denoiser, member)
            for _ in range(20):
                args = torch.ones(1, 5), torch.tensor(0)
                (answer,) = module(*args, text=torch.zeros(1, 5), return_dict=False)
                seen.append(answer.shape)

    ready = threading.Barrier(1)
    runs = [threads.submit(wide), threads.submit(steps_of, batching, denoiser, 3, 20, ready)]

    assert runs[1].result()[0] == expected(3, 20)
    runs[0].result()
    assert set(denoiser.rows) == {1}
    assert set(seen) == {(1, 5)}


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
        return resolve("image", "", model, "fast", request | {"steps": 30 + number}).params

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

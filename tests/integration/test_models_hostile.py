"""Whatever reaches an engine past the daemon's checks is that run's failure, not the engine's."""

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from daemon.engines.process import EngineProcess
from daemon.jobs import JobError
from daemon.values import StepReport
from handlers.params import InvalidRequest, resolve

pytestmark = pytest.mark.models
StartEngine = Callable[..., Awaitable[EngineProcess]]
GOOD = resolve(
    "image", "", "sdxl", "fast",
    {"prompt": "a cat", "width": 64, "height": 64, "steps": 2, "seed": 1},
).params  # fmt: skip
HOSTILE: list[dict[str, Any]] = [
    {"width": 1}, {"width": -64}, {"width": "64"}, {"height": None}, {"height": 65},
    {"steps": 0}, {"steps": 2.5}, {"steps": "two"}, {"seed": -(2**70)},
    {"seed": "x"}, {"guidance_scale": "much"},
    {"guidance_scale": float("inf")}, {"num_images": "many"}, {"prompt": 7}, {"prompt": None},
    {"prompt": "\ud800"}, {"negative_prompt": ["x"]}, {"saving": "all"},
]  # fmt: skip
ASKED: list[dict[str, Any]] = [
    {"width": 1}, {"steps": 0}, {"steps": 10**6}, {"seed": -1}, {"guidance_scale": float("nan")},
    {"guidance_scale": 1e9}, {"num_images": 0}, {"num_images": 7}, {"width": "64"}, {"prompt": ""},
]  # fmt: skip


def ignore(report: StepReport) -> None:
    pass


async def test_an_engine_lives_on_after_every_bad_run(
    start_engine: StartEngine, demo_models: dict[str, Path]
) -> None:
    """One after the other to one engine; then it draws what it drew before."""
    engine = await start_engine("sdxl", str(demo_models["sdxl"]), "diffusers")
    before = await engine.run("before", "image", GOOD, ignore)
    long = {**GOOD, "prompt": "word " * 2_000, "negative_prompt": "\N{FIRE}" * 10_000}

    for number, wrong in enumerate(HOSTILE):
        with pytest.raises(JobError):
            await engine.run(f"run {number}", "image", {**GOOD, **wrong}, ignore)
    for wrong in ASKED:
        with pytest.raises(InvalidRequest):
            resolve("image", "", "sdxl", "fast", {"prompt": "p", **wrong})
    truncated = await engine.run("long", "image", long, ignore)
    after = await engine.run("after", "image", GOOD, ignore)

    assert truncated.fields["metadata"]["prompt_truncated"]
    assert list(after.files) == list(before.files)

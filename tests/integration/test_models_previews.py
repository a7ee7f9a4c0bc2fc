"""Small pictures of a run's latents show what it is drawing."""

import io
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from daemon.engines.process import EngineProcess
from daemon.values import StepReport
from handlers.params import resolve

pytestmark = pytest.mark.models
numpy = pytest.importorskip("numpy")
images = pytest.importorskip("PIL.Image")
StartEngine = Callable[..., Awaitable[EngineProcess]]
SIDE = 128


def pixels(data: bytes, side: int) -> Any:
    with images.open(io.BytesIO(data)) as image:
        small = image.convert("RGB").resize((side, side), images.Resampling.BOX)
        return numpy.asarray(small).astype(float)


async def drawn(engine: EngineProcess, model: str, **request: Any) -> tuple[list[bytes], bytes]:
    """Return a run's previews and its first file."""
    previews: list[bytes] = []

    def take(report: StepReport) -> None:
        if report.preview is not None:
            previews.append(report.preview)

    handler = "video" if model == "video" else "image"
    usual = {"prompt": "a red circle", "width": SIDE, "height": SIDE, "steps": 12, "seed": 1}
    params = resolve(handler, "", model, "fast", usual | request).params
    output = await engine.run(f"run {request}", handler, params, take)
    return previews, output.files[-1].data


@pytest.mark.parametrize(("model", "folder"), [("sdxl", "sdxl"), ("wan", "wan"), ("video", "wan")])
async def test_previews_are_nearer_to_their_own_picture_than_to_another(
    model: str, folder: str, start_engine: StartEngine, demo_models: dict[str, Path]
) -> None:
    """From the first run on; a film's show its middle frame, as its thumbnail does."""
    path = str(demo_models[folder])
    engine = await start_engine(model, path, "diffusers", options={"previews": 3})
    frames = {"duration": 1, "fps": 8} if model == "video" else {}

    previews, picture = await drawn(engine, model, **frames)
    others, other = await drawn(
        engine, model, prompt="a blue square, green background", seed=2, **frames
    )

    # Steps that come faster than they are sent become one; the last step brings the picture.
    assert 1 <= len(previews) <= 3
    for last, own, foreign in ((previews[-1], picture, other), (others[-1], other, picture)):
        with images.open(io.BytesIO(last)) as image:
            assert image.format == "JPEG"
            assert image.size[0] == image.size[1] <= 64
            side = image.size[0]
        seen = pixels(last, side)
        distances = [abs(seen - pixels(each, side)).mean() for each in (own, foreign)]
        assert distances[0] < distances[1]


async def test_there_are_none_unless_they_are_wanted(
    start_engine: StartEngine, demo_models: dict[str, Path]
) -> None:
    """They cost a little at each step, and traffic."""
    engine = await start_engine("sdxl", str(demo_models["sdxl"]), "diffusers")

    previews, _ = await drawn(engine, "sdxl")

    assert previews == []


@pytest.mark.parametrize("model", ["sdxl", "wan"])
async def test_pictures_are_the_same_with_previews(
    model: str, start_engine: StartEngine, demo_models: dict[str, Path]
) -> None:
    """Looking on changes nothing."""
    path = str(demo_models[model])
    watched = await start_engine(model, path, "diffusers", options={"previews": 1})
    plain = await start_engine(model, path, "diffusers")

    assert (await drawn(watched, model))[1] == (await drawn(plain, model))[1]

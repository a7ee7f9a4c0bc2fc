"""Real pipelines that give their weights up and save memory: the results stay what they are."""

import asyncio
import io
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from daemon.engines.process import EngineProcess
from daemon.values import RunOutput, StepReport
from handlers.params import resolve

pytestmark = pytest.mark.models
StartEngine = Callable[..., Awaitable[EngineProcess]]
NewEngine = Callable[..., EngineProcess]
SMALL = {"prompt": "a cat", "width": 64, "height": 64, "steps": 3, "seed": 1}


def params(handler: str, model: str, saving: int = 0, **request: Any) -> dict[str, Any]:
    resolved = resolve(handler, "", model, "fast", {**SMALL, **request}).params
    return {**resolved, "saving": saving}


def ignore(report: StepReport) -> None:
    pass


async def drawn(engine: EngineProcess, saving: int = 0, **request: Any) -> RunOutput:
    wanted = params("image", "sdxl", saving, **request)
    return await engine.run("run", "image", wanted, ignore)


def pixels(png: bytes) -> Any:
    numpy = pytest.importorskip("numpy")
    image = pytest.importorskip("PIL.Image")
    return numpy.asarray(image.open(io.BytesIO(png)).convert("RGB")).astype("int16")


@pytest.mark.parametrize("model", ["sdxl", "wan"])
@pytest.mark.parametrize("keep", [False, True])
async def test_a_picture_is_the_same_after_the_weights_were_away(
    model: str, keep: bool, new_engine: NewEngine, demo_models: dict[str, Path]
) -> None:
    """Bit for bit, twice, also where the host keeps its copy."""
    options = {"offload": True, "keep_host_copy": keep}
    engine = new_engine(model, str(demo_models[model]), "diffusers", options=options)
    loaded = await engine.load()
    assert (loaded.offloads, loaded.savings) == (True, 1)
    before = await drawn(engine)

    for _ in range(2):
        away = await engine.offload()
        assert away.host_bytes > 100_000
        assert (await engine.restore()).offloads
        assert list(before.files) == list((await drawn(engine)).files)


async def test_an_answer_is_the_same_after_the_weights_were_away(
    new_engine: NewEngine, demo_models: dict[str, Path]
) -> None:
    """Tied weights stay tied: the host holds each of them once."""
    options = {"offload": True}
    engine = new_engine("chat", str(demo_models["chat"]), "transformers", options=options)
    assert (await engine.load()).savings == 0
    wanted = resolve("chat", "", "chat", "fast", {"message": "Hi", "max_tokens": 6}).params
    before = await engine.run("before", "chat", {**wanted, "seed": 1}, ignore)

    away = await engine.offload()
    await engine.restore()
    after = await engine.run("after", "chat", {**wanted, "seed": 1}, ignore)

    assert before.fields["response"] == after.fields["response"]
    # 134.5 million parameters in float32, with the embedding that is the output too.
    assert 530_000_000 < away.host_bytes < 545_000_000


@pytest.mark.parametrize("model", ["sdxl", "chat"])
async def test_without_a_gpu_weights_stay_unless_wanted(
    model: str, new_engine: NewEngine, demo_models: dict[str, Path]
) -> None:
    """There the host's memory is the device's: moving would free nothing."""
    runner = "transformers" if model == "chat" else "diffusers"

    assert not (await new_engine(model, str(demo_models[model]), runner).load()).offloads


@pytest.mark.parametrize("model", ["sdxl", "wan"])
async def test_tiles_make_nearly_the_same_picture(
    model: str, start_engine: StartEngine, demo_models: dict[str, Path]
) -> None:
    """Of the same size, with faint differences; the next run without saving has none at all."""
    engine = await start_engine(model, str(demo_models[model]), "diffusers")
    size = {"width": 96, "height": 64}
    whole = await drawn(engine, **size)

    saved = await drawn(engine, 1, **size)
    again = await drawn(engine, **size)

    assert saved.fields["metadata"]["saving"] == "tiled"
    assert list(whole.files) == list(again.files)
    expected, found = pixels(whole.files[0].data), pixels(saved.files[0].data)
    assert expected.shape == found.shape == (64, 96, 3)
    assert 0 < abs(expected - found).mean() < 24


async def test_a_film_of_tiles_has_all_its_frames(
    start_engine: StartEngine, demo_models: dict[str, Path]
) -> None:
    """Each tile is decoded through all of them."""
    av = pytest.importorskip("av")
    engine = await start_engine("wan", str(demo_models["wan"]), "diffusers")
    wanted = params("video", "wan", 1, duration=1, fps=8)

    output = await engine.run("run", "video", wanted, ignore)

    with av.open(io.BytesIO(output.files[0].data)) as container:
        frames = [frame.to_ndarray(format="rgb24").shape for frame in container.decode(video=0)]
    assert frames == [(64, 64, 3)] * 9


@pytest.mark.parametrize("model", ["sdxl", "wan"])
async def test_one_component_at_a_time_draws_the_same_picture(
    model: str, start_engine: StartEngine, demo_models: dict[str, Path]
) -> None:
    """As with tiles alone, beside other runs; then the whole pipeline is back for the next."""
    options = {"offload": True}
    engine = await start_engine(
        model, str(demo_models[model]), "diffusers", options=options, max_concurrent=3
    )
    whole, tiled = await drawn(engine), await drawn(engine, 1)

    runs = await asyncio.gather(
        *(
            engine.run(f"run {number}", "image", params("image", "sdxl", saving), ignore)
            for number, saving in enumerate((0, 2, 0))
        )
    )

    assert [list(output.files) for output in runs] == [
        list(whole.files), list(tiled.files), list(whole.files),
    ]  # fmt: skip
    assert runs[1].fields["metadata"]["saving"] == "offloaded"


@pytest.mark.gpu
async def test_on_a_gpu_the_device_gets_its_memory_back(
    new_engine: NewEngine, demo_models: dict[str, Path]
) -> None:
    """What is left is the context; the pictures stay the same there and back."""
    torch = pytest.importorskip("torch")
    if not torch.cuda.is_available():
        pytest.skip("no GPU")
    engine = new_engine("sdxl", str(demo_models["sdxl"]), "diffusers", device="cuda")
    loaded = await engine.load()
    assert (loaded.offloads, loaded.savings) == (True, 2)
    before = await drawn(engine)

    away = await engine.offload()
    back = await engine.restore()

    assert away.left_bytes < loaded.weights_bytes
    assert back.weights_bytes == pytest.approx(loaded.weights_bytes, abs=64 * 2**20)
    assert list(before.files) == list((await drawn(engine)).files)
    assert (await drawn(engine, 2)).fields["metadata"]["saving"] == "offloaded"

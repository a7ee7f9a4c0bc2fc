"""Pictures and films from real pipelines in a real engine process."""

import asyncio
import io
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from daemon.engines.process import EngineProcess
from daemon.values import RunCancelledError, StepReport
from handlers.params import resolve

pytestmark = pytest.mark.models
StartEngine = Callable[..., Awaitable[EngineProcess]]
SMALL = {"prompt": "a cat", "width": 64, "height": 64, "steps": 3, "seed": 1}


def params(handler: str, model: str, **request: Any) -> dict[str, Any]:
    return resolve(handler, "", model, "fast", {**SMALL, **request}).params


def ignore(report: StepReport) -> None:
    pass


@pytest.fixture
async def sdxl(start_engine: StartEngine, demo_models: dict[str, Path]) -> EngineProcess:
    return await start_engine("sdxl", str(demo_models["sdxl"]), "diffusers", max_concurrent=3)


@pytest.fixture
async def wan(start_engine: StartEngine, demo_models: dict[str, Path]) -> EngineProcess:
    return await start_engine("wan", str(demo_models["wan"]), "diffusers", max_concurrent=3)


async def test_a_picture_is_a_png_with_the_values_used(sdxl: EngineProcess) -> None:
    """Every resolved value is echoed; steps name what is done."""
    steps: list[StepReport] = []

    output = await sdxl.run("run", "image", params("image", "sdxl"), steps.append)

    (file,) = output.files
    assert (file.kind, file.content_type, file.extension) == ("image", "image/png", "png")
    assert file.data[:8] == b"\x89PNG\r\n\x1a\n"
    assert (64).to_bytes(4, "big") * 2 == file.data[16:24]
    expected = {
        "model": "sdxl", "prompt": "a cat", "negative_prompt": "", "seed": 1, "steps": 3,
        "width": 64, "height": 64, "guidance_scale": 5.0, "num_images": 1, "seeds": [1],
    }  # fmt: skip
    metadata = output.fields["metadata"]
    assert expected == {name: metadata[name] for name in expected}
    assert metadata["generation_time"] > 0
    assert {"generating_image", "decoding"} <= {report.current_step for report in steps}
    assert sorted(report.fraction for report in steps) == [report.fraction for report in steps]


@pytest.mark.parametrize("model", ["sdxl", "wan"])
async def test_a_seed_gives_the_same_bytes_alone_and_among_others(
    model: str, request: pytest.FixtureRequest, start_engine: StartEngine,
    demo_models: dict[str, Path],
) -> None:  # fmt: skip
    """Also as one of several pictures, in runs at the same time, and in another engine."""
    engines = [
        await start_engine(model, str(demo_models[model]), "diffusers", max_concurrent=3)
        for _ in range(2)
    ]
    wanted = params("image", model)
    longer = params("image", model, steps=7, seed=5, guidance_scale=1)

    alone = await engines[0].run("alone", "image", wanted, ignore)
    together = await asyncio.gather(
        engines[0].run("same", "image", wanted, ignore),
        engines[0].run("longer", "image", longer, ignore),
        engines[0].run("two", "image", params("image", model, seed=0, num_images=2), ignore),
        engines[1].run("elsewhere", "image", wanted, ignore),
    )

    same, other, two, elsewhere = (output.files for output in together)
    assert [alone.files[0].data] * 3 == [same[0].data, two[1].data, elsewhere[0].data]
    assert len({alone.files[0].data, other[0].data, two[0].data}) == 3


@pytest.mark.parametrize(("handler", "model"), [("image", "sdxl"), ("video", "video")])
async def test_cancel_stops_at_the_next_step(
    handler: str, model: str, start_engine: StartEngine, demo_models: dict[str, Path]
) -> None:
    """The half-done picture of an interrupted pipeline is never taken for a result."""
    folder = demo_models["sdxl" if model == "sdxl" else "wan"]
    engine = await start_engine(model, str(folder), "diffusers")
    steps: list[StepReport] = []

    def progress(report: StepReport) -> None:
        steps.append(report)
        if report.step is not None:
            engine.cancel("run")

    # So that it takes a while until the last step: a picture's are quick.
    size = {"width": 128, "height": 128} if handler == "image" else {}
    wanted = params(handler, model, steps=150, **size)
    with pytest.raises(RunCancelledError):
        await engine.run("run", handler, wanted, progress)

    assert (steps[-1].step or 0) < 100
    # The flag of the interrupted run is not on the next one's pipeline.
    assert (await engine.run("next", handler, params(handler, model), ignore)).files


async def test_another_prompt_is_another_picture(sdxl: EngineProcess) -> None:
    """Prompt and negative prompt reach the model."""
    outputs = [
        await sdxl.run(f"run {number}", "image", params("image", "sdxl", **more), ignore)
        for number, more in enumerate([{}, {"prompt": "a dog"}, {"negative_prompt": "blurry"}])
    ]

    assert len({output.files[0].data for output in outputs}) == 3


async def test_a_film_is_an_mp4_that_can_be_played(wan: EngineProcess) -> None:
    """H.264 in yuv420p with its index in front, as many frames as were asked for, a thumbnail."""
    av = pytest.importorskip("av")
    request = params("video", "wan", duration=1, fps=8)

    output = await wan.run("run", "video", request, ignore)
    again = await wan.run("again", "video", request, ignore)

    film, thumbnail = output.files
    assert list(output.files) == list(again.files)
    assert (film.content_type, film.extension, thumbnail.kind) == ("video/mp4", "mp4", "thumbnail")
    assert film.data.index(b"moov") < film.data.index(b"mdat")
    assert thumbnail.data[:3] == b"\xff\xd8\xff"
    with av.open(io.BytesIO(film.data)) as container:
        stream = container.streams.video[0]
        frames = [frame.to_ndarray(format="rgb24").shape for frame in container.decode(stream)]
        assert (stream.codec_context.name, stream.codec_context.pix_fmt) == ("h264", "yuv420p")
    assert frames == [(64, 64, 3)] * 9
    assert {"duration": 1, "fps": 8, "frames": 9}.items() <= output.fields["metadata"].items()


async def test_films_at_the_same_time_do_not_mix(wan: EngineProcess) -> None:
    """The autoencoder keeps frames between its calls: one film at a time goes through it."""
    requests = [
        params("video", "wan", duration=2, fps=8, steps=1, seed=seed) for seed in (1, 2, 1, 2)
    ]
    alone = [await wan.run(f"alone {n}", "video", requests[n], ignore) for n in range(2)]

    together = await asyncio.gather(
        *(wan.run(f"run {n}", "video", wanted, ignore) for n, wanted in enumerate(requests))
    )

    expected = [alone[0].files[0].data, alone[1].files[0].data] * 2
    assert expected == [output.files[0].data for output in together]


async def test_wan_draws_pictures_too(wan: EngineProcess) -> None:
    """A picture is a film of one frame, as PNG."""
    output = await wan.run("run", "image", params("image", "wan"), ignore)

    assert [file.content_type for file in output.files] == ["image/png"]

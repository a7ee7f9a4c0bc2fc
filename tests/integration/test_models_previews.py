"""Small pictures of a run's latents show what it is drawing."""

import io
from pathlib import Path
from typing import Any

import pytest

from handlers import registry
from handlers.base import ModelSpec, Runner
from handlers.params import resolve
from handlers.previews import Previews, patches

# The model libraries' own warnings, which otherwise stay in engine processes.
pytestmark = [pytest.mark.models, pytest.mark.filterwarnings("ignore")]
numpy = pytest.importorskip("numpy")
images = pytest.importorskip("PIL.Image")
FILM = {"duration": 1, "fps": 8}


class Watching:
    """Implements `Control`: keeps what it is shown."""

    def __init__(self) -> None:
        self.previews: list[bytes] = []

    def step(self, *step: Any) -> None:
        pass

    def tell(self, text: str) -> None:
        pass

    def show(self, picture: bytes) -> None:
        self.previews.append(picture)

    def check(self) -> None:
        pass


def loaded(model: str, demo_models: dict[str, Path], **options: Any) -> Runner:
    folder = demo_models["sdxl" if model == "sdxl" else "wan"]
    return registry.load_runner(
        ModelSpec(model, model, str(folder), "diffusers", device="cpu", options=options)
    )


def drawn(runner: Runner, model: str, **request: Any) -> tuple[list[bytes], bytes]:
    """Return a run's previews and its picture, or its film's thumbnail."""
    handler = "video" if model == "video" else "image"
    usual = {"prompt": "a red circle, white background", "width": 64, "height": 64, "steps": 12}
    params = resolve(handler, "", model, "fast", {**usual, "seed": 1, **request}).params
    control = Watching()
    output = registry.run_handler(handler, runner, params, control)
    return control.previews, output.files[-1].data


def pixels(data: bytes, side: int) -> Any:
    with images.open(io.BytesIO(data)) as image:
        small = image.convert("RGB").resize((side, side), images.Resampling.BOX)
        return numpy.asarray(small).astype(float)


@pytest.mark.parametrize("model", ["sdxl", "wan", "video"])
def test_previews_are_nearer_to_their_own_picture_than_to_another(
    model: str, demo_models: dict[str, Path]
) -> None:
    """From the first run on; a film's show its middle frame, as its thumbnail does."""
    runner = loaded(model, demo_models, previews=3)
    frames = FILM if model == "video" else {}

    previews, picture = drawn(runner, model, **frames)
    others, other = drawn(runner, model, prompt="a blue square, black background", **frames)

    assert len(previews) == len(others) == 3, "after steps 3, 6 and 9; the last has the picture"
    for last, own, foreign in ((previews[-1], picture, other), (others[-1], other, picture)):
        with images.open(io.BytesIO(last)) as image:
            assert image.format == "JPEG"
            assert image.size[0] == image.size[1] <= 64
            side = image.size[0]
        seen = pixels(last, side)
        distances = [abs(seen - pixels(each, side)).mean() for each in (own, foreign)]
        assert distances[0] < distances[1]


@pytest.mark.parametrize("model", ["sdxl", "wan"])
def test_looking_on_changes_nothing(model: str, demo_models: dict[str, Path]) -> None:
    """Without the option there are no previews; the picture is the same to the byte."""
    previews, watched = drawn(loaded(model, demo_models, previews=1), model)
    none, plain = drawn(loaded(model, demo_models), model)

    assert (len(previews), len(none)) == (11, 0)
    assert watched == plain


def test_what_holds_no_numbers_teaches_nothing() -> None:
    """A broken picture must not spoil all later previews."""
    torch = pytest.importorskip("torch")
    previews = Previews(1)
    latents = patches(4)
    colours = latents[:, :3].repeat_interleave(8, -1).repeat_interleave(8, -2)
    previews.learn(latents, colours)
    before = previews.picture(None, latents)

    previews.learn(latents, torch.full_like(colours, float("nan")))
    previews.learn(torch.full_like(latents, float("nan")), colours)

    assert before is not None
    assert previews.picture(None, latents) == before


def test_a_linear_autoencoder_is_learned_at_once() -> None:
    """Its previews are its pictures."""
    latents = patches(4)
    colours = latents[:, 1:].clamp(-0.9, 0.9)
    previews = Previews(1)
    previews.learn(colours.repeat_interleave(2, 1), colours.repeat_interleave(8, -1))

    flat = colours[:, :, :1, :1].expand(1, 3, 16, 16)
    seen = previews.picture(None, flat.repeat_interleave(2, 1))

    assert seen is not None
    wanted = (flat[0] / 2 + 0.5).mul(255).movedim(0, -1).numpy()
    assert abs(pixels(seen, 16) - wanted).max() < 4, "a JPEG's own loss"

"""Options for speed and memory: each runs, and changes of the picture no more than it may."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from parts import needs_package, needs_program
from small_models import bytes_of, difference, drawn, loaded

from handlers.base import RunError
from handlers.placing import denoisers_of

pytestmark = [pytest.mark.models, pytest.mark.filterwarnings("ignore")]


@pytest.fixture(scope="module")
def folders(plain_sdxl: Path, plain_wan: Path) -> dict[str, Path]:
    return {"sdxl": plain_sdxl, "wan": plain_wan}


CASES: list[tuple[str, dict[str, Any], float, float]] = [
    # The picture differs by at least and at most so many levels of 255 in the mean.
    ("sdxl", {"quantize": "fp8", "offload": True}, 1e-6, 8),
    ("sdxl", {"quantize": "int8"}, 1e-6, 4),
    ("sdxl", {"quantize": "nf4"}, 1e-6, 20),
    ("sdxl", {"quantize_text": "int8"}, 0, 4),
    ("sdxl", {"group_offload": "block"}, 0, 0),
    ("sdxl", {"group_offload": {"level": "leaf"}}, 0, 0),
    ("sdxl", {"channels_last": True, "offload": True}, 0, 0.5),
    ("sdxl", {"slicing": True}, 0, 0),
    ("sdxl", {"tiling": True}, 1e-6, 40),
    ("wan", {"quantize": "fp8", "offload": True}, 1e-6, 8),
    ("wan", {"quantize": "int8"}, 0, 4),
    ("wan", {"quantize": "nf4"}, 1e-6, 20),
    ("wan", {"group_offload": "block"}, 0, 0),
    ("wan", {"group_offload": "leaf"}, 0, 0),
    ("wan", {"attention": "math", "offload": True}, 0, 0.5),
    ("wan", {"step_cache": {"kind": "first_block", "threshold": 0.4}, "offload": True}, 1e-6, 20),
    ("wan", {"step_cache": {"kind": "pyramid", "start": 990, "end": 10}}, 1e-6, 20),
    ("wan", {"slicing": True}, 0, 0),
]


@pytest.mark.parametrize(("family", "options", "least", "most"), CASES)
def test_an_option_changes_no_more_than_it_may(
    family: str, options: dict[str, Any], least: float, most: float, folders: dict[str, Path]
) -> None:
    """Alone, in any order, beside other runs and after the weights were away: the same bytes."""
    for kind, package in (("int8", "torchao"), ("nf4", "bitsandbytes")):
        if kind in options.values():
            needs_package(package)
    plain = loaded(family, folders[family])
    model = loaded(family, folders[family], options, max_concurrent=3)
    first = drawn(model)

    with ThreadPoolExecutor(3) as threads:
        together = list(threads.map(lambda seed: bytes_of(model, seed=seed), (2, 1, 2, 1)))

    assert least <= difference(first, drawn(plain)) <= most
    assert together == [together[0], first.files[0].data] * 2
    assert together[0] == bytes_of(model, seed=2) != together[1]
    assert model.offloads() == bool(options.get("offload"))
    if model.offloads():
        assert model.offload() > 0
        model.restore()
        assert bytes_of(model, saving=2) == bytes_of(model, saving=1)
        assert bytes_of(model) == first.files[0].data


@pytest.mark.parametrize("options", [{"group_offload": "block"}, {"quantize": "int8"}])
def test_weights_that_something_else_keeps_are_not_moved(
    options: dict[str, Any], folders: dict[str, Path]
) -> None:
    """The scheduler hears it; a run that saves memory decodes in tiles, and that is all."""
    if "quantize" in options:
        needs_package("torchao")
    model = loaded("sdxl", folders["sdxl"], options)

    assert not model.components.movable
    assert model.savings().name == "TILED"


@pytest.mark.parametrize("family", ["sdxl", "wan"])
def test_compiled_blocks_draw_the_same(family: str, folders: dict[str, Path]) -> None:
    """Also after the weights were away."""
    needs_program("g++")
    model = loaded(family, folders[family], {"compile": True, "offload": True})

    first = drawn(model)
    model.offload()
    model.restore()

    (denoiser,) = denoisers_of(model._pipeline)
    assert any(module._compiled_call_impl for module in denoiser.modules())
    assert difference(first, drawn(loaded(family, folders[family]))) < 0.5
    assert bytes_of(model) == first.files[0].data


def test_a_step_cache_begins_empty_after_a_run_that_broke(folders: dict[str, Path]) -> None:
    """What a run left in it would be in the next one's picture."""
    options = {"step_cache": {"kind": "first_block", "threshold": 0.9}}
    model = loaded("wan", folders["wan"], options)
    whole = bytes_of(model)

    class Breaking:
        def step(self, name: str, share: float, step: int | None = None, *_: Any) -> None:
            if step == 3:
                raise ValueError("broken")

        def tell(self, text: str) -> None: ...
        def show(self, picture: bytes) -> None: ...
        def check(self) -> None: ...

    from handlers.image import image
    from handlers.params import resolve

    wanted = resolve("image", "", "wan", "fast", {"prompt": "b", "width": 64, "height": 64})
    with pytest.raises(ValueError, match="broken"):
        image(model, wanted.params, Breaking())

    assert bytes_of(model) == whole


async def test_runs_take_turns_in_the_steps(folders: dict[str, Path]) -> None:
    """Where the denoiser keeps something from step to step; they can be stopped meanwhile."""
    model = loaded("wan", folders["wan"], {"step_cache": "first_block"})
    inside, most = 0, 0
    compute = type(model._pipeline.transformer).forward

    def counted(module: Any, *args: Any, **kwargs: Any) -> Any:
        nonlocal inside, most
        inside += 1
        most = max(most, inside)
        try:
            return compute(module, *args, **kwargs)
        finally:
            inside -= 1

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(model._pipeline.transformer), "forward", counted)
        await asyncio.gather(*(asyncio.to_thread(bytes_of, model, seed=n) for n in range(3)))

    assert most == 1


@pytest.mark.parametrize(
    ("family", "options", "sentence"),
    [
        ("sdxl", {"step_cache": "first_block"}, "step_cache is for transformers, and UNet2D"),
        ("sdxl", {"attention": "flex"}, "attention flex is for transformers; SDXL's UNet has"),
        ("wan", {"channels_last": True}, "channels_last is for SDXL"),
        ("wan", {"attention": "flash"}, "attention flash doesn't run here: .* install `flash-attn"),
        ("wan", {"attention": "sage"}, "attention sage doesn't run here: .* `sageattention"),
        ("wan", {"attention": "cudnn"}, "attention cudnn doesn't run here: "),
        ("wan", {"schedulr": "euler"}, "options.schedulr: there is no such option"),
    ],
)
def test_what_does_not_run_here_is_refused_and_breaks_nothing(
    family: str, options: dict[str, Any], sentence: str, folders: dict[str, Path]
) -> None:
    """At load, by a sentence; the next model in the process draws as ever."""
    before = bytes_of(loaded("wan", folders["wan"]))

    with pytest.raises(RunError, match=sentence):
        loaded(family, folders[family], options)

    assert bytes_of(loaded("wan", folders["wan"])) == before


def test_a_missing_package_is_named(
    folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With what to install."""
    for module in ("handlers.quantizing", "handlers.loras"):
        monkeypatch.setattr(f"{module}.find_spec", lambda name: None)

    for kind, package in (("int8", "torchao"), ("nf4", "bitsandbytes")):
        with pytest.raises(RunError, match=f"{kind} needs a package: pip install {package}"):
            loaded("sdxl", folders["sdxl"], {"quantize": kind})
    with pytest.raises(RunError, match="loras needs the package peft: pip install peft"):
        loaded("sdxl", folders["sdxl"], {"loras": [{"path": "/a.safetensors"}]})
    monkeypatch.setenv("PATH", "")
    with pytest.raises(RunError, match=r"options.compile needs a C\+\+ compiler: install g\+\+"):
        loaded("sdxl", folders["sdxl"], {"compile": True})

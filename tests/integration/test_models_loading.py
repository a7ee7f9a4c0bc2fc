"""Models that can't be loaded: a sentence that names the folder and what is wrong."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from daemon.engines.process import EngineProcess
from daemon.jobs import ErrorCode, JobError

pytestmark = pytest.mark.models
NewEngine = Callable[..., EngineProcess]
BREAKING = "{% for m in messages %}Once upon a time there was {{ m['content'] }}{% endfor %}"


async def refusal(engine: EngineProcess) -> str:
    with pytest.raises(JobError) as caught:
        await engine.load()
    assert caught.value.error_code is ErrorCode.MODEL_LOAD_FAILED
    return str(caught.value)


@pytest.fixture
def broken(demo_models: dict[str, Path], tmp_path: Path) -> Callable[[str], Path]:
    """Copies a model's folder to break it."""

    def copy(name: str) -> Path:
        return Path(shutil.copytree(demo_models[name], tmp_path / f"broken-{name}"))

    return copy


@pytest.mark.parametrize(("model", "runner"), [("chat", "transformers"), ("sdxl", "diffusers")])
async def test_a_missing_folder(model: str, runner: str, new_engine: NewEngine) -> None:
    """The most frequent mistake: the path."""
    sentence = await refusal(new_engine(model, "/models/none/", runner))

    assert sentence == (
        f"the {model} model in /models/none/ can't be loaded: there is no such folder"
    )


async def test_no_path_at_all(new_engine: NewEngine) -> None:
    """An empty path isn't the current folder."""
    assert (
        await refusal(new_engine("sdxl", "", "diffusers"))
        == "no path is configured for the sdxl model"
    )


async def test_a_folder_without_an_index(tmp_path: Path, new_engine: NewEngine) -> None:
    """A folder of something else."""
    sentence = await refusal(new_engine("sdxl", str(tmp_path), "diffusers"))

    assert sentence.endswith("can't be loaded: it has no model_index.json")


async def test_a_pipeline_of_another_kind(
    broken: Callable[[str], Path], new_engine: NewEngine
) -> None:
    """Only known pipelines are run."""
    folder = broken("sdxl")
    index = json.loads((folder / "model_index.json").read_text())
    (folder / "model_index.json").write_text(json.dumps({**index, "_class_name": "OtherPipeline"}))

    sentence = await refusal(new_engine("sdxl", str(folder), "diffusers"))

    assert "it is a OtherPipeline, and only" in sentence


async def test_weights_that_are_cut_off(
    broken: Callable[[str], Path], new_engine: NewEngine
) -> None:
    """A download that broke off: the file is named."""
    folder = broken("sdxl")
    weights = folder / "unet" / "diffusion_pytorch_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])

    sentence = await refusal(new_engine("sdxl", str(folder), "diffusers"))

    assert str(folder) in sentence
    assert "diffusion_pytorch_model.safetensors is no whole safetensors file" in sentence


async def test_a_missing_component(broken: Callable[[str], Path], new_engine: NewEngine) -> None:
    """The folder that is missing is named."""
    folder = broken("wan")
    shutil.rmtree(folder / "vae")

    assert "its folder vae is missing" in await refusal(new_engine("wan", str(folder), "diffusers"))


async def test_an_unknown_architecture(
    broken: Callable[[str], Path], new_engine: NewEngine
) -> None:
    """A language model that transformers doesn't know."""
    folder = broken("chat")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "model_type": "unheard-of"}))

    sentence = await refusal(new_engine("chat", str(folder), "transformers"))

    assert str(folder) in sentence
    assert "unheard-of" in sentence


async def test_a_template_that_speaks_for_the_caller(
    broken: Callable[[str], Path], new_engine: NewEngine
) -> None:
    """A model whose template can't be kept from adding words is refused, not used."""
    folder = broken("chat")
    (folder / "chat_template.jinja").write_text(BREAKING)

    sentence = await refusal(new_engine("chat", str(folder), "transformers"))

    assert "its chat template adds 'Once upon a time there was'" in sentence


async def test_a_runner_that_is_not_there(new_engine: NewEngine) -> None:
    """The configuration's word is quoted."""
    assert "there is no runner 'magic'" in await refusal(new_engine("chat", "/", "magic"))


async def test_a_gpu_that_is_not_there(demo_models: dict[str, Path], new_engine: NewEngine) -> None:
    """A worker that shall compute on a GPU doesn't do it on the CPU."""
    torch = pytest.importorskip("torch")
    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")

    sentence = await refusal(
        new_engine("sdxl", str(demo_models["sdxl"]), "diffusers", device="cuda")
    )

    assert "the device cuda is configured, and torch finds no GPU" in sentence

"""Checkpoints in one file, and checkpoints that aren't whole."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sdxl_file import write
from small_models import bytes_of, drawn, loaded

from handlers.base import RunError

pytestmark = [pytest.mark.models, pytest.mark.filterwarnings("ignore")]
Change = Callable[[dict[str, Any]], dict[str, Any]]


@pytest.fixture(scope="module")
def single(plain_sdxl: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The checkpoint's weights in one file; its configurations lie beside it, without weights."""
    folder = tmp_path_factory.mktemp("single")
    weights = shutil.ignore_patterns("*.safetensors")
    shutil.copytree(plain_sdxl, folder / "configurations", ignore=weights)
    return write(folder / "sdxl.safetensors", loaded("sdxl", plain_sdxl)._pipeline)


def one_file(file: Path, **options: Any) -> Any:
    return loaded("sdxl", file, {"config": file.parent / "configurations", **options})


def test_one_file_draws_what_the_folder_draws(single: Path, plain_sdxl: Path) -> None:
    """To the byte; options go with it as well."""
    expected = bytes_of(loaded("sdxl", plain_sdxl))

    assert bytes_of(one_file(single)) == expected
    assert bytes_of(one_file(single, scheduler="euler_a", quantize="fp8")) != expected


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (
            lambda file: {key: file[key] for key in file if key.startswith("model.")},
            "isn't a whole SDXL checkpoint: it has no autoencoder, no first text encoder, no se",
        ),
        (
            lambda file: {key: file[key] for key in file if "middle_block.1" not in key},
            "lacks weights that the configurations in",
        ),
        (
            lambda file: {
                key: file[key] for key in file if "text_model.encoder.layers.1" not in key
            },
            "its text_encoder lacks encoder.layers.1",
        ),
    ],
)
def test_a_file_that_lacks_something(change: Change, sentence: str, single: Path) -> None:
    """Part by part, and weight by weight."""
    from safetensors.torch import load_file, save_file

    broken = single.parent / "broken.safetensors"
    save_file(change(load_file(single)), broken)

    with pytest.raises(RunError, match=sentence):
        one_file(broken)


def test_a_file_needs_configurations(single: Path, tmp_path: Path) -> None:
    """No hub is asked for them."""
    with pytest.raises(RunError, match=r"a single file needs options.config: a folder"):
        loaded("sdxl", single)
    with pytest.raises(RunError, match=r"options.config .* has no model_index.json"):
        loaded("sdxl", single, {"config": tmp_path})


def test_a_pickle_is_refused_by_its_name(single: Path, tmp_path: Path, plain_sdxl: Path) -> None:
    """In one file, and in a folder that holds nothing else."""
    (tmp_path / "model.ckpt").write_bytes(b"")
    with pytest.raises(RunError, match=r"a single file must be .safetensors: others can run code"):
        loaded("sdxl", tmp_path / "model.ckpt", {"config": single.parent / "configurations"})

    folder = Path(shutil.copytree(plain_sdxl, tmp_path / "pickles"))
    for file in folder.glob("*/*.safetensors"):
        file.rename(file.with_suffix(".bin"))
    with pytest.raises(RunError, match=r"it holds no .safetensors files; other formats can run"):
        loaded("sdxl", folder)


@pytest.mark.parametrize(
    ("family", "component"),
    [
        ("sdxl", "unet"), ("sdxl", "vae"), ("sdxl", "text_encoder"), ("sdxl", "text_encoder_2"),
        ("wan", "transformer"), ("wan", "vae"), ("wan", "text_encoder"),
    ],
)  # fmt: skip
def test_a_component_with_a_weight_missing_or_of_another_size(
    family: str, component: str, plain_sdxl: Path, demo_models: dict[str, Path], tmp_path: Path
) -> None:
    """The libraries would fill text encoders in with random numbers."""
    from safetensors.torch import load_file, save_file

    source = plain_sdxl if family == "sdxl" else demo_models[family]
    folder = Path(shutil.copytree(source, tmp_path / "broken"))
    (file,) = (folder / component).glob("*.safetensors")
    tensors = load_file(file)
    name = next(key for key in sorted(tensors) if tensors[key].ndim > 1 and "shared" not in key)

    save_file({**tensors, name: tensors[name][:-1].clone()}, file, {"format": "pt"})
    with pytest.raises(Exception, match=r"wrong size of|expected shape"):
        loaded(family, folder)

    del tensors[name]
    save_file(tensors, file, {"format": "pt"})
    with pytest.raises(RunError, match=f"its {component} lacks {name}"):
        loaded(family, folder)


@pytest.mark.parametrize(
    ("family", "component", "sentence"),
    [
        ("sdxl", "unet", "computed values that are no numbers, .* the dtype torch.float32"),
        ("sdxl", "text_encoder", "computed values that are no numbers"),
        ("sdxl", "vae", "the autoencoder of small sdxl computed values that are no numbers"),
        ("wan", "transformer", "computed values that are no numbers, .* the dtype torch.float32"),
        ("wan", "vae", "the autoencoder of small wan computed values that are no numbers"),
    ],
)
def test_weights_that_are_no_numbers(
    family: str, component: str, sentence: str, plain_sdxl: Path, demo_models: dict[str, Path]
) -> None:
    """They would be a black picture; the sentence says which part made it."""
    import torch

    model = loaded(family, plain_sdxl if family == "sdxl" else demo_models[family])
    module = getattr(model._pipeline, component)
    used = module.decoder if component == "vae" else module
    # The last layer of a text encoder isn't used.
    weight = list(used.parameters())[0 if component == "text_encoder" else -1]
    kept = weight.detach().clone()
    whole = bytes_of(model)
    with torch.no_grad():
        weight.fill_(float("nan"))

    with pytest.raises(RunError, match=sentence) as caught:
        drawn(model)

    assert caught.value.error_code == "GENERATION_FAILED"
    with torch.no_grad():
        weight.copy_(kept)
    assert bytes_of(model) == whole

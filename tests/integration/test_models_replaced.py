"""Components from elsewhere: a transformer in one file, packed or not, and another autoencoder."""

import shutil
from pathlib import Path
from typing import Any

import pytest
from small_models import bytes_of, difference, drawn, loaded
from wan_file import widened, write_gguf, write_safetensors

from handlers.base import RunError

pytestmark = [pytest.mark.models, pytest.mark.filterwarnings("ignore")]


@pytest.fixture(scope="module")
def wan(demo_models: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return widened(demo_models["wan"], tmp_path_factory.mktemp("wide") / "wan")


@pytest.fixture(scope="module")
def transformer(wan: Path) -> Any:
    return loaded("wan", wan)._pipeline.transformer


def test_a_transformer_in_one_file(wan: Path, transformer: Any, tmp_path: Path) -> None:
    """Draws what the folder's draws, to the byte; the folder needs no weights for it."""
    expected = bytes_of(loaded("wan", wan))
    file = write_safetensors(tmp_path / "wan-one.safetensors", transformer)
    bare = Path(shutil.copytree(wan, tmp_path / "bare"))
    for weights in (bare / "transformer").glob("*.safetensors"):
        weights.unlink()

    result = drawn(loaded("wan", bare, {"transformer": file}))

    assert result.files[0].data == expected
    assert result.fields["metadata"]["transformer"] == "wan-one"


def test_a_packed_transformer(wan: Path, transformer: Any, tmp_path: Path) -> None:
    """Nearly the same picture, from half the bytes, which stay where they are."""
    pytest.importorskip("gguf")
    file = write_gguf(tmp_path / "wan-Q8_0.gguf", transformer)
    model = loaded("wan", wan, {"transformer": file})

    first = drawn(model)

    assert 0 < difference(first, drawn(loaded("wan", wan))) < 4
    assert bytes_of(model) == first.files[0].data
    assert (model.components.movable, model.savings().name) == (False, "TILED")
    kinds = {type(each).__name__ for each in model._pipeline.transformer.parameters()}
    assert "GGUFParameter" in kinds


def test_files_that_are_no_transformers(wan: Path, transformer: Any, tmp_path: Path) -> None:
    """Each by a sentence that names it."""
    pytest.importorskip("gguf")
    (tmp_path / "text.gguf").write_text("not found")
    write_gguf(tmp_path / "half.gguf", transformer, leave_out="blocks.1.ffn")
    cases = {
        "none.gguf": "options.transformer: there is no file",
        "text.gguf": "text.gguf is no GGUF file",
        "half.gguf": "half.gguf lacks",
    }

    for name, sentence in cases.items():
        with pytest.raises(RunError, match=sentence):
            loaded("wan", wan, {"transformer": tmp_path / name})


def test_the_unet_comes_with_its_checkpoint(plain_sdxl: Path) -> None:
    """SDXL has no transformer."""
    with pytest.raises(RunError, match=r"options.transformer is for Wan"):
        loaded("sdxl", plain_sdxl, {"transformer": "/x.gguf"})


def test_options_that_would_be_ignored(plain_sdxl: Path, tmp_path: Path) -> None:
    """A folder has its configurations; a single file is SDXL."""
    (tmp_path / "one.safetensors").touch()

    with pytest.raises(RunError, match=r"options.config is for a checkpoint in one file"):
        loaded("sdxl", plain_sdxl, {"config": plain_sdxl})
    with pytest.raises(RunError, match=r"options.transformer is for a checkpoint in a folder"):
        loaded("sdxl", tmp_path / "one.safetensors", {"transformer": "/x.gguf"})


def test_another_autoencoder(plain_sdxl: Path, wan: Path, tmp_path: Path) -> None:
    """Its folder in place of the checkpoint's: the same, a tiny one, one of another kind."""
    from diffusers import AutoencoderTiny

    expected = bytes_of(loaded("sdxl", plain_sdxl))
    AutoencoderTiny(
        encoder_block_out_channels=(8,) * 4, decoder_block_out_channels=(8,) * 4
    ).save_pretrained(tmp_path / "tiny")

    assert bytes_of(loaded("sdxl", plain_sdxl, {"vae": plain_sdxl / "vae"})) == expected
    assert bytes_of(loaded("sdxl", plain_sdxl, {"vae": tmp_path / "tiny"})) != expected
    with pytest.raises(RunError, match="holds no AutoencoderKL or AutoencoderTiny"):
        loaded("sdxl", plain_sdxl, {"vae": wan / "vae"})
    with pytest.raises(RunError, match=r"it has no config.json"):
        loaded("sdxl", plain_sdxl, {"vae": tmp_path})

"""LoRAs: fused at load, named in results, and refused where they don't fit."""

from pathlib import Path
from typing import Any

import pytest
from lora_files import write_lora
from small_models import bytes_of, difference, drawn, loaded

from handlers.base import RunError

pytestmark = [pytest.mark.models, pytest.mark.filterwarnings("ignore")]
pytest.importorskip("peft")


@pytest.fixture(scope="module")
def folders(demo_models: dict[str, Path], plain_sdxl: Path) -> dict[str, Path]:
    return {"sdxl": plain_sdxl, "wan": demo_models["wan"]}


@pytest.fixture(scope="module")
def style(folders: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A LoRA for the UNet."""
    unet = loaded("sdxl", folders["sdxl"])._pipeline.unet
    return write_lora(tmp_path_factory.mktemp("loras") / "my.style.safetensors", unet, "unet")


@pytest.fixture(scope="module")
def motion(folders: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A LoRA for Wan's transformer."""
    transformer = loaded("wan", folders["wan"])._pipeline.transformer
    folder = tmp_path_factory.mktemp("loras")
    return write_lora(folder / "motion.safetensors", transformer, "transformer")


def altered(file: Path, name: str, change: Any) -> Path:
    """Return a copy of a LoRA whose tensors were changed by `change(name, tensor)`."""
    from safetensors.torch import load_file, save_file

    tensors = dict(change(key, value) for key, value in load_file(file).items())
    save_file(tensors, file.parent / name)
    return file.parent / name


def test_a_lora_changes_the_picture_by_its_weight(folders: dict[str, Path], style: Path) -> None:
    """Nothing with weight 0; the whole model still moves, and results name it without its path."""
    plain = drawn(loaded("sdxl", folders["sdxl"]))
    by_weight = []
    for weight in (0, 0.5, 1):
        options = {"loras": [{"path": style, "weight": weight}], "offload": True}
        model = loaded("sdxl", folders["sdxl"], options)
        result = drawn(model)
        by_weight.append(difference(plain, result))
        assert model.offload() > 0
        model.restore()
        assert bytes_of(model) == result.files[0].data
        assert result.fields["metadata"]["loras"] == [{"name": "my.style", "weight": weight}]

    assert by_weight[0] == 0 < by_weight[1] < by_weight[2]


def test_a_fused_lora_leaves_plain_layers(folders: dict[str, Path], style: Path) -> None:
    """Runs cost what they cost without: the same layers, with the sum of both as weights."""
    plain = loaded("sdxl", folders["sdxl"])._pipeline.unet
    fused = loaded("sdxl", folders["sdxl"], {"loras": [{"path": style}]})._pipeline.unet

    assert [type(each) for each in plain.modules()] == [type(each) for each in fused.modules()]
    from safetensors.torch import load_file

    tensors = load_file(style)
    name = next(key for key in tensors if key.endswith("lora_A.weight")).removesuffix(
        ".lora_A.weight"
    )
    layer = name.removeprefix("unet.")
    added = tensors[f"{name}.lora_B.weight"] @ tensors[f"{name}.lora_A.weight"]
    expected = plain.get_submodule(layer).weight + added
    assert expected.allclose(fused.get_submodule(layer).weight, atol=1e-5)


def test_several_add_up_in_text_encoders_too(
    folders: dict[str, Path], style: Path, tmp_path: Path
) -> None:
    """Each with its own weight; also before the weights are quantized."""
    encoder = loaded("sdxl", folders["sdxl"])._pipeline.text_encoder
    words = write_lora(tmp_path / "words.safetensors", encoder, "text_encoder", suffix="q_proj")
    one = {"path": style}
    two = {"path": words, "weight": 2}

    pictures = {
        bytes_of(loaded("sdxl", folders["sdxl"], {"loras": loras, **more}))
        for loras, more in (
            ([one], {}),
            ([two], {}),
            ([one, two], {}),
            ([one], {"quantize": "fp8"}),
        )
    }

    assert len(pictures) == 4


def test_a_lora_for_wan(folders: dict[str, Path], motion: Path) -> None:
    """By the same option."""
    plain = drawn(loaded("wan", folders["wan"]))
    fused = drawn(loaded("wan", folders["wan"], {"loras": [{"path": motion}]}))

    assert difference(plain, fused) > 0


def test_the_naming_of_other_trainers(folders: dict[str, Path], style: Path) -> None:
    """What kohya's scripts write, with its own scale, is the same LoRA."""

    def renamed(key: str, value: Any) -> tuple[str, Any]:
        layer, kind = key.removeprefix("unet.").rsplit(".lora_", 1)
        way = "down" if kind.startswith("A") else "up"
        return f"lora_unet_{layer.replace('.', '_')}.lora_{way}.weight", value

    file = altered(style, "kohya.safetensors", renamed)

    one, other = (
        drawn(loaded("sdxl", folders["sdxl"], {"loras": [{"path": each}]}))
        for each in (style, file)
    )
    assert difference(one, other) < 0.1


def test_a_lora_that_is_not_there(folders: dict[str, Path], tmp_path: Path) -> None:
    """Or only half."""
    with pytest.raises(RunError, match=r"the LoRA none.safetensors is missing: there is no file"):
        loaded("sdxl", folders["sdxl"], {"loras": [{"path": "/none.safetensors"}]})
    cut = tmp_path / "cut.safetensors"
    cut.write_bytes(b"\x10\0\0\0\0\0\0\0{}")
    with pytest.raises(RunError, match=r"cut.safetensors is no whole safetensors file"):
        loaded("sdxl", folders["sdxl"], {"loras": [{"path": cut}]})


def test_a_pickle_is_never_opened(folders: dict[str, Path], tmp_path: Path) -> None:
    """Whatever its contents: its name is enough."""
    pickle = tmp_path / "evil.ckpt"
    pickle.write_bytes(b"cos\nsystem\n(S'touch x'\ntR.")

    with pytest.raises(RunError, match=r"evil.ckpt must be .safetensors: others can run code"):
        loaded("sdxl", folders["sdxl"], {"loras": [{"path": pickle}]})


def test_a_lora_for_another_model(folders: dict[str, Path], style: Path, motion: Path) -> None:
    """The libraries would only log it, and draw without."""
    with pytest.raises(RunError, match=r"is for another model: 0 of its \d+ tensors fit"):
        loaded("sdxl", folders["sdxl"], {"loras": [{"path": motion}]})
    with pytest.raises(RunError, match="is for another model: 0 of its"):
        loaded("wan", folders["wan"], {"loras": [{"path": style}]})
    with pytest.raises(RunError, match="is for low noise, and the model has one transformer only"):
        loaded("wan", folders["wan"], {"loras": [{"path": motion, "low_noise": True}]})


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda key, value: (key.replace("mid_block", "end_block"), value), "for another model"),
        (
            lambda key, value: (key, value[..., :5].contiguous() if "_A." in key else value),
            r"broken.safetensors doesn't fit: .* size mismatch for",
        ),
        (lambda key, value: (key, value * float("nan")), "can't be fused: NaNs detected"),
        (lambda key, value: (f"x{len(key)}", value), "is no LoRA: none of its tensors is one's"),
    ],
)
def test_a_lora_that_fits_in_part_or_not_at_all(
    change: Any, sentence: str, folders: dict[str, Path], style: Path
) -> None:
    """A sentence that says which one and why."""
    broken = altered(style, "broken.safetensors", change)

    with pytest.raises(RunError, match=sentence) as caught:
        loaded("sdxl", folders["sdxl"], {"loras": [{"path": broken}]})

    assert caught.value.error_code == "MODEL_LOAD_FAILED"

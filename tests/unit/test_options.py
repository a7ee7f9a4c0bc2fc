"""Options of diffusion models: what is refused, and what follows from them."""

from typing import Any

import pytest

from handlers.diffusion_options import DiffusionOptions, FirstBlock, GroupOffload
from handlers.options import check_options


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"scheduler": "eulr"}, "scheduler: Input should be 'euler'"),
        ({"attention": "_native_cudnn"}, "attention: Input should be 'native'"),
        ({"compile": "maybe"}, "compile: Input should be a valid boolean"),
        ({"quantize": "int3"}, "quantize: Input should be 'fp8', 'int8' or 'nf4'"),
        ({"prompt_pieces": 0}, "prompt_pieces: Input should be greater than or equal to 1"),
        ({"step_cache": {"kind": "pyramid", "start": 50}}, "start 50 must be above end 100"),
        ({"step_cache": {"kind": "first_block", "threshold": 0}}, "step_cache.first_block.thresh"),
        ({"loras": [{"path": "/x/a.ckpt"}]}, "loras.0: a.ckpt must be .safetensors"),
        ({"loras": [{"path": "/x/a.safetensors"}] * 2}, "two loras have the same name"),
        ({"loras": [{"path": "/x/a.safetensors", "scale": 1}]}, "loras.0.scale: Extra inputs"),
        ({"compile": True, "step_cache": "first_block"}, "compile goes with none of step_cache"),
        ({"compile": True, "group_offload": "leaf"}, "compile goes with none of"),
        ({"compile": True, "quantize": "fp8"}, "compile goes with none of"),
        ({"group_offload": "block", "quantize": "fp8"}, "group_offload and quantize can't be"),
        ({"group_offload": "block", "offload": True}, "group_offload keeps weights where they are"),
        ({"quantize": "int8", "keep_host_copy": True}, "int8 keeps weights where they are"),
        ({"quantize": "nf4", "offload": True}, "nf4 keeps weights where they are"),
        ({"transformer": "x.gguf", "keep_host_copy": True}, "gguf keeps weights where they are"),
        ({"transformer": "x.gguf", "compile": True}, "a .gguf transformer goes with none of loras"),
        ({"transformer": "x.pt"}, "transformer must be a .gguf or .safetensors file"),
        ({"quantize_text": "int8", "offload": True}, "int8 keeps weights where they are"),
        ({"step_cache": "pyramid", "batch": 2}, "batch must be 1 with step_cache"),
    ],
)
def test_refusals_of_options(options: dict[str, Any], sentence: str) -> None:
    """Each by its name, or as a clash of two."""
    (problem,) = check_options("diffusers", options)

    assert sentence in problem


def test_a_kind_may_stand_alone() -> None:
    """The short form of a table with one entry."""
    options = DiffusionOptions.model_validate(
        {"step_cache": "first_block", "group_offload": {"level": "leaf"}}
    )

    assert options.step_cache == FirstBlock(kind="first_block")
    assert options.group_offload == GroupOffload(level="leaf")


@pytest.mark.parametrize(
    ("options", "one_at_a_time", "stays"),
    [
        ({}, False, False),
        ({"compile": True, "channels_last": True}, False, False),
        ({"step_cache": "pyramid"}, True, False),
        ({"group_offload": "block"}, True, True),
        ({"quantize": "fp8"}, True, False),
        ({"quantize_text": "int8"}, False, True),
    ],
)
def test_what_follows_from_options(
    options: dict[str, Any], one_at_a_time: bool, stays: bool
) -> None:
    """Runs take turns where the denoiser changes; weights stay where they can't be moved."""
    found = DiffusionOptions.model_validate(options)

    assert (found.one_at_a_time, found.stays) == (one_at_a_time, stays)


def test_a_home_folder_is_meant(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a model's own path."""
    monkeypatch.setenv("HOME", "/home/ann")
    options = DiffusionOptions.model_validate({"loras": [{"path": "~/ink.safetensors"}]})

    assert [str(lora.path) for lora in options.loras] == ["/home/ann/ink.safetensors"]


def test_other_runners() -> None:
    """The language model has options of its own; the fake takes any."""
    assert check_options("fake", {"anything": 1}) == []
    assert check_options("transformers", {"offload": True, "chat_template": "x"}) == []
    assert (
        "scheduler: there is no such option"
        in check_options("transformers", {"scheduler": "euler"})[0]
    )

"""Wan 2.2: one transformer for the steps of much noise, another for those of little."""

from pathlib import Path
from typing import Any

import pytest
from lora_files import write_lora
from small_models import bytes_of, difference, drawn, loaded
from wan_file import doubled

pytestmark = [pytest.mark.models, pytest.mark.filterwarnings("ignore")]


@pytest.fixture(scope="module")
def experts(demo_models: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return doubled(demo_models["wan"], tmp_path_factory.mktemp("experts") / "wan")


def test_both_draw(experts: Path, demo_models: dict[str, Path]) -> None:
    """A part of the steps each: another picture than by the first one alone."""
    model = loaded("wan", experts, {"offload": True})

    first = drawn(model)

    assert first.files[0].data != bytes_of(loaded("wan", demo_models["wan"]))
    assert model.offload() > 0
    model.restore()
    assert bytes_of(model) == first.files[0].data


@pytest.mark.parametrize(
    "options",
    [
        {"quantize": "fp8"},
        {"step_cache": {"kind": "first_block", "threshold": 0.9}},
        {"group_offload": "block"},
        {"attention": "math"},
    ],
)
def test_options_are_for_both(options: dict[str, Any], experts: Path) -> None:
    """The same bytes again, near those of the plain model."""
    model = loaded("wan", experts, options)

    first = drawn(model)

    assert difference(first, drawn(loaded("wan", experts))) < 20
    assert bytes_of(model) == first.files[0].data


def test_a_lora_for_either(experts: Path, tmp_path: Path) -> None:
    """By `low_noise`; the same file makes three pictures."""
    pytest.importorskip("peft")
    transformer = loaded("wan", experts)._pipeline.transformer
    file = write_lora(tmp_path / "motion.safetensors", transformer, "transformer", size=2)

    pictures = {bytes_of(loaded("wan", experts))}
    for low_noise in (False, True):
        options = {"loras": [{"path": file, "low_noise": low_noise}]}
        pictures.add(bytes_of(loaded("wan", experts, options)))

    assert len(pictures) == 3

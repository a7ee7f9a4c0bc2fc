"""Schedulers by name: each draws, and those that don't fit are refused."""

import json
import shutil
from pathlib import Path
from typing import Any, get_args

import pytest
from small_models import difference, drawn, loaded, pixels

from handlers.base import RunError
from handlers.diffusion_options import Scheduler
from handlers.schedulers import _OF_FLOW, _OF_NOISE

pytestmark = [pytest.mark.models, pytest.mark.filterwarnings("ignore")]


def sdxl(folder: Path, **options: Any) -> Any:
    return loaded("sdxl", folder, options)


def test_every_name_is_known() -> None:
    """What the settings allow is what there is."""
    assert {*_OF_NOISE, *_OF_FLOW} == set(get_args(Scheduler))


def test_every_scheduler_draws_its_own_picture(plain_sdxl: Path) -> None:
    """The same bytes again; the result names it; none is taken for another."""
    pictures = {}
    for name in _OF_NOISE:
        model = sdxl(plain_sdxl, scheduler=name)
        result = drawn(model)
        assert result.files == drawn(model).files
        assert result.fields["metadata"]["scheduler"] == name
        assert pixels(result).std() > 1
        pictures[name] = result.files[0].data

    assert len(set(pictures.values())) >= len(pictures) - 2
    assert pictures["euler"] not in {pictures["euler_a"], pictures["dpmpp_2m"], pictures["lcm"]}
    assert pictures["dpmpp_2m"] != pictures["dpmpp_2m_karras"]


def test_two_that_are_the_same_in_theory(plain_sdxl: Path) -> None:
    """DDIM and Euler come to nearly the same picture by different code; with new noise none does.

    Nearly: they begin at slightly different noise.
    """
    ddim, euler, other = (
        drawn(sdxl(plain_sdxl, scheduler=name)) for name in ("ddim", "euler", "euler_a")
    )

    assert 4 * difference(ddim, euler) < difference(other, euler)


def test_without_a_name_the_checkpoint_chooses(plain_sdxl: Path) -> None:
    """And is named by its class."""
    result = drawn(sdxl(plain_sdxl))

    assert result.fields["metadata"]["scheduler"] == "EulerDiscreteScheduler"


def test_flow_models_have_their_own(demo_models: dict[str, Path]) -> None:
    """Each draws, and how far they lean towards noise can be set."""
    pictures = {
        name: drawn(loaded("wan", demo_models["wan"], {"scheduler": name})).files[0].data
        for name in _OF_FLOW
    }
    shifted = loaded("wan", demo_models["wan"], {"scheduler": "euler", "flow_shift": 9})

    assert pictures["euler"] == pictures["flow_match_euler"]
    assert len({*pictures.values(), drawn(shifted).files[0].data}) == 4


@pytest.mark.parametrize(
    ("family", "options", "sentence"),
    [
        ("sdxl", {"scheduler": "flow_match_euler"}, "isn't for models that predict noise or velo"),
        ("sdxl", {"flow_shift": 3}, "flow_shift is for models that predict a flow"),
        ("wan", {"scheduler": "euler_a"}, "isn't for models that predict a flow: choose one of eu"),
        ("wan", {"scheduler": "lcm"}, "isn't for models that predict a flow"),
    ],
)
def test_what_does_not_fit_is_refused(
    family: str, options: dict[str, Any], sentence: str, plain_sdxl: Path,
    demo_models: dict[str, Path],
) -> None:  # fmt: skip
    """It would draw noise, without an error."""
    folder = plain_sdxl if family == "sdxl" else demo_models[family]

    with pytest.raises(RunError, match=sentence) as caught:
        loaded(family, folder, options)

    assert caught.value.error_code == "MODEL_LOAD_FAILED"


@pytest.fixture
def from_pure_noise(plain_sdxl: Path, tmp_path: Path) -> Path:
    """A checkpoint that predicts velocity and was trained from pure noise on."""
    folder = Path(shutil.copytree(plain_sdxl, tmp_path / "velocity"))
    file = folder / "scheduler" / "scheduler_config.json"
    trained = {"prediction_type": "v_prediction", "rescale_betas_zero_snr": True}
    file.write_text(json.dumps({**json.loads(file.read_text()), **trained}))
    return folder


def test_the_training_is_kept_from_one_to_the_other(from_pure_noise: Path) -> None:
    """What the checkpoint predicts goes over; a scheduler that can't know it is refused."""
    model = sdxl(from_pure_noise, scheduler="dpmpp_2m_karras")

    config = model.shell().scheduler.config
    assert (config.prediction_type, config.rescale_betas_zero_snr) == ("v_prediction", True)
    with pytest.raises(RunError, match="was trained from pure noise on, which HeunDiscrete"):
        sdxl(from_pure_noise, scheduler="heun")

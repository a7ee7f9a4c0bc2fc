"""What models need: activations, the check at start, and what loads teach."""

import pytest
from virtual_gpu import ALL, CHAT, SDXL, VIDEO, WAN, device, model

from daemon.job_types import Model
from daemon.model_specs import devices_from, specs_from
from daemon.scheduling.models import GIB, ModelSpec, check_fits
from daemon.sections import DeviceSettings, ModelSettings
from daemon.settings import SettingsError, load_settings


@pytest.mark.parametrize(
    ("spec", "quality", "expected_gb"),
    [
        (SDXL, "fast", 0.7),
        (SDXL, "high", 5.4),
        (WAN, "fast", 0.3),
        (WAN, "high", 1.6),
        (VIDEO, "fast", 4),
        (VIDEO, "high", 8),
        (CHAT, "fast", 0.1),
    ],
)
def test_a_run_takes_its_part_of_the_footprint(
    spec: ModelSpec, quality: str, expected_gb: float
) -> None:
    """Weights plus n activations is the footprint of the table, never a byte more."""
    activation = spec.activation_bytes(quality)
    at = spec.qualities[quality].concurrency

    assert activation == int(expected_gb * GIB) or abs(activation - expected_gb * GIB) < 2
    assert spec.weights_bytes + at * activation <= spec.qualities[quality].footprint_bytes


def test_the_default_table_fits_a_device_of_24_gb() -> None:
    """Nothing is refused at start with the defaults."""
    assert check_fits(ALL, [device(24)]) == []


def test_what_can_never_run_is_said_with_its_numbers() -> None:
    """Budgets above every device, footprints above budgets, weights above either."""
    greedy = model("greedy", 10, 4, 1, fast=(12, 1))
    heavy = model("heavy", 6, 7, 1, fast=(6, 1))

    assert check_fits([greedy, heavy, VIDEO], [device(20), device(16, 1)]) == [
        "model greedy, quality fast: its footprint of 12 GB is above the budget of 10 GB",
        "model heavy: its weights take 7 GB, its budget is 6 GB",
        "model heavy, quality fast: its footprint of 6 GB is below the weights of 7 GB",
        (
            "model video: its budget of 20 GB is above the 19 GB that the largest device offers; "
            "models.video.enabled = false leaves it out"
        ),
    ]


def test_without_a_device_only_models_without_memory_fit() -> None:
    """No device offers 0 bytes."""
    noop = model("noop", 0, 0, 8, fast=(0, 8))

    assert len(check_fits([noop, CHAT], [])) == 1


def test_specs_follow_the_settings() -> None:
    """Each class knows its bytes and its job types."""
    specs = {spec.name: spec for spec in specs_from(load_settings().models)}

    assert {name: spec.budget_bytes // GIB for name, spec in specs.items()} == {
        "chat": 4, "sdxl": 12, "wan": 6, "video": 20,
    }  # fmt: skip
    assert specs["wan"].qualities["high"].job_types == (
        "wan_image_high", "image_high", "image7b_high_enhanced",
    )  # fmt: skip
    assert specs["chat"].qualities["fast"].job_types == ("chat", "enhance", "generate")


def test_uneven_tables_are_refused() -> None:
    """A quality with a footprint and no concurrency."""
    settings = ModelSettings(
        budget_gb=4, weights_gb=1, max_concurrent=1, footprint_gb={"fast": 2, "high": 3},
        concurrency={"fast": 1},
    )  # fmt: skip
    with pytest.raises(SettingsError, match="not in both: high"):
        specs_from({Model.CHAT: settings})


def test_a_simulated_device_stands_for_all() -> None:
    """Measured devices count only where none is simulated."""
    measured = devices_from([24 * GIB, 48 * GIB], DeviceSettings(reserve_gb=2))
    simulated = devices_from([24 * GIB], DeviceSettings(simulate_gb=8, reserve_gb=0.5))

    assert [each.usable_bytes // GIB for each in measured] == [22, 46]
    assert [(each.index, each.usable_bytes) for each in simulated] == [(0, 15 * GIB // 2)]

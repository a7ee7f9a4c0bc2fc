"""What must be the same for learned figures to hold once more."""

from pathlib import Path
from typing import Any

import pytest

from daemon import origins
from daemon.origins import differences, origins_of
from daemon.settings import Settings, load_settings

SETTINGS: dict[str, Any] = {"device": {"simulate_gb": 48}}


def of_sdxl(**models: Any) -> dict[str, str]:
    return dict(origins_of(settings(**models))["sdxl"])


def settings(**models: Any) -> Settings:
    return load_settings(overrides={**SETTINGS, "models": {"sdxl": models}})


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"path": "other/model"}, ["path"]),
        ({"runner": "fake"}, ["accelerate", "diffusers", "runner", "torch", "transformers"]),
        ({"dtype": "float32"}, ["dtype"]),
        ({"device": "cpu"}, ["device"]),
        ({"max_concurrent": 1}, ["max_concurrent"]),
        ({"options": {"offline": False, "scheduler": "euler"}}, ["options"]),
    ],
)
def test_what_changes_memory_or_time_is_named(changed: dict[str, Any], named: list[str]) -> None:
    """Each of the engine's own settings."""
    found = differences(of_sdxl(), of_sdxl(**changed))

    assert [sentence.split()[0] for sentence in found] == named


@pytest.mark.parametrize(
    "changed",
    [
        {"weights_gb": 6.7},
        {"load_s": 99},
        {"budget_gb": 13},
        {"name": "shown"},
        {"defaults": {"fast": {"steps": 4}}},
        {"options": {"hang_floor_s": 500}},
    ],
)
def test_expectations_and_supervision_change_no_figure(changed: dict[str, Any]) -> None:
    """What was measured doesn't depend on what was expected."""
    assert differences(of_sdxl(), of_sdxl(**changed)) == []


def test_an_engine_that_fills_its_budget_is_another_with_another_budget() -> None:
    """As vLLM does."""
    before = origins_of(settings())["chat"]
    now = origins_of(load_settings(overrides={**SETTINGS, "models": {"chat": {"budget_gb": 5}}}))

    assert [each.split()[0] for each in differences(before, now["chat"])] == ["budget"]


def test_other_libraries_are_named_with_both_versions(monkeypatch: pytest.MonkeyPatch) -> None:
    """An update of torch may change what runs take."""
    before = of_sdxl()
    real = origins.version
    monkeypatch.setattr(origins, "version", lambda name: "99.0" if name == "torch" else real(name))

    assert differences(before, of_sdxl()) == [f"torch was {before['torch']}, is 99.0"]


def test_another_gpu_or_driver_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each GPU that may be used counts; one that tells nothing is none that is known."""

    class Driver:
        def __init__(self, visible: str | None) -> None:
            """Stand in for NVML."""

        def __call__(self) -> list[Any]:
            return [type("Sample", (), {"name": name}) for name in ("B", "A", "B")]

        def driver(self) -> str:
            return "550.1"

    monkeypatch.setattr(origins, "Nvml", Driver)
    real = load_settings()
    known = origins_of(real)["sdxl"]
    monkeypatch.setattr(Driver, "driver", lambda _: 1 / 0)

    assert (known["gpu"], known["driver"]) == ("A, B", "550.1")
    assert origins_of(real)["sdxl"]["gpu"] == "unknown"


def test_other_weights_in_the_same_place_are_noticed(tmp_path: Path) -> None:
    """A folder or a file, by the bytes that it has."""
    (tmp_path / "unet").mkdir()
    file = tmp_path / "unet" / "model.safetensors"
    file.write_bytes(bytes(10))
    folder, single = of_sdxl(path=str(tmp_path)), of_sdxl(path=str(file))
    file.write_bytes(bytes(20))

    assert differences(folder, of_sdxl(path=str(tmp_path))) == [
        "files was 1 of 10 bytes, is 1 of 20 bytes"
    ]
    assert differences(single, of_sdxl(path=str(file))) == [
        "files was 1 of 10 bytes, is 1 of 20 bytes"
    ]


def test_no_option_can_be_read_from_it() -> None:
    """They may hold what nobody shall see."""
    origin = of_sdxl(runner="fake", options={"token": "hush-hush"})

    assert "hush-hush" not in str(origin)

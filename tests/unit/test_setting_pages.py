"""The reference of the settings is what the code says, and its example loads."""

import os
import re
import tomllib
from pathlib import Path

import pytest

from daemon.setting_pages import as_json, example, page
from daemon.setting_reference import paths, sections
from daemon.settings import load_settings

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith(("SUPABASE_", "OURVIDZ_")) or name in {"DATABASE_URL", "WORKER_API_KEY"}:
            monkeypatch.delenv(name)


def test_the_pages_are_those_of_the_code() -> None:
    """`make docs` writes them."""
    assert (ROOT / "docs" / "configuration.md").read_text() == page()
    assert (ROOT / "ourvidz-worker.example.toml").read_text() == example()


def test_every_setting_says_what_it_does() -> None:
    """By the docstring below its field; a section by that of its class."""
    silent = [each.path for section in sections() for each in section.settings if not each.text]
    assert silent == []
    assert all(section.text for section in sections())


def test_the_example_loads_and_changes_nothing(tmp_path: Path) -> None:
    """As it is, and with every default uncommented."""
    path = tmp_path / "example.toml"
    path.write_text(example())
    assert load_settings(path) == load_settings()

    spelt_out = re.sub(r"^# (\w+ = .+)$", r"\1", example(), flags=re.MULTILINE)
    path.write_text(spelt_out)
    assert load_settings(path) == load_settings()
    assert len(tomllib.loads(spelt_out)["models"]["sdxl"]) > 10


def test_types_and_defaults_are_told_in_words() -> None:
    """Bounds, choices, lists, and what differs from model to model."""
    found = {each["setting"]: each for each in as_json()}

    assert found["server.port"]["type"] == "integer from 0 to 65535"
    assert found["server.port"]["default"] == "7861"
    assert found["log.format"]["type"] == "`text`, `json` or `auto`"
    assert found["preload"]["default"] == '["sdxl", "chat", "wan"]'
    assert found["device.simulate_gb"]["type"] == "number above 0"
    assert found["device.simulate_gb"]["default"] is None
    assert found["models.<model>.budget_gb"]["defaults"]["sdxl"] == 12
    assert found["models.<model>.footprint_gb"]["type"] == "table from quality to number above 0"
    assert found["live.max_payload_bytes"]["default"] == "250000"
    secrets = {name for name, each in found.items() if each["secret"]}
    assert secrets >= {"database.dsn", "supabase.key", "supabase.token", "server.api_key"}
    assert "supabase.url" not in secrets


def test_each_model_and_quality_has_its_paths() -> None:
    """By which misspelt ones are put right."""
    assert "models.video.defaults.high.fps" in paths()
    assert "models.chat.budget_gb" in paths()

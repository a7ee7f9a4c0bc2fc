"""What is wrong with settings, in words by which it is mended; and where each value came from."""

import os
from pathlib import Path

import pytest

from daemon.setting_origins import origins
from daemon.settings import SettingsError, load_settings


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith(("SUPABASE_", "OURVIDZ_")) or name in {"DATABASE_URL", "WORKER_API_KEY"}:
            monkeypatch.delenv(name)


def problems(config: Path | None = None) -> list[str]:
    with pytest.raises(SettingsError) as raised:
        load_settings(config)
    return str(raised.value).splitlines()


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (
            "[server]\nprot = 1",
            (
                "server.prot: there is no such setting; did you mean server.port? "
                "[OURVIDZ_SERVER__PROT]"
            ),
        ),
        (
            "max_requests = 1",
            (
                "max_requests: there is no such setting; did you mean server.max_requests? "
                "[OURVIDZ_MAX_REQUESTS]"
            ),
        ),
        (
            "[models.chat]\nbudget = 1",
            (
                "models.chat.budget: there is no such setting; did you mean models.chat.budget_gb? "
                "[OURVIDZ_MODELS__CHAT__BUDGET]"
            ),
        ),
        ("[zzzz]\nqqqqq = 1", "zzzz: there is no such setting [OURVIDZ_ZZZZ]"),
        (
            '[supabase]\nkey = ["a"]',
            (
                "supabase.key: Input should be a valid string [OURVIDZ_SUPABASE__KEY, "
                "SUPABASE_KEY, SUPABASE_SERVICE_ROLE_KEY, SUPABASE_SERVICE_KEY, SUPABASE_ANON_KEY]"
            ),
        ),
    ],
)
def test_a_wrong_key_is_told_with_the_nearest_one(tmp_path: Path, text: str, line: str) -> None:
    """By its path in the file, and by its names in the environment."""
    config = tmp_path / "worker.toml"
    config.write_text(text)
    assert problems(config) == [line]


@pytest.mark.parametrize(
    ("name", "line"),
    [
        (
            "OURVIDZ_SERVER_PORT",
            "OURVIDZ_SERVER_PORT: there is no such setting; did you mean OURVIDZ_SERVER__PORT?",
        ),
        (
            "OURVIDZ_WORKER_TYPES",
            "OURVIDZ_WORKER_TYPES: there is no such setting; did you mean OURVIDZ_WORKER_TYPE?",
        ),
        ("OURVIDZ_XYZXYZ", "OURVIDZ_XYZXYZ: there is no such setting"),
    ],
)
def test_a_misspelt_variable_is_no_silence(
    monkeypatch: pytest.MonkeyPatch, name: str, line: str
) -> None:
    """It would otherwise leave the default in place, and nobody would know."""
    monkeypatch.setenv(name, "1")
    assert problems() == [line]


def test_variables_of_the_command_line_are_no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """They may be set beside."""
    monkeypatch.setenv("OURVIDZ_CONFIG", "/etc/a.toml")
    monkeypatch.setenv("OURVIDZ_MIGRATE_DSN", "postgres://")
    assert load_settings()


def test_values_that_are_no_json_are_told_beside_all_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every source's problems in one list, the file's that is no TOML among them."""
    config = tmp_path / "worker.toml"
    config.write_text("= 1")
    monkeypatch.setenv("OURVIDZ_PRELOAD", "[sdxl")
    monkeypatch.setenv("OURVIDZ_ENHANCE", "{hush-hush")
    monkeypatch.setenv("OURVIDZ_SERVER__PORT", "x")

    found = problems(config)

    assert found[0].startswith(f"{config}: Invalid")
    assert found[1:] == [
        "enhance: OURVIDZ_ENHANCE is not valid JSON",
        "preload: OURVIDZ_PRELOAD is not valid JSON",
        (
            "server.port: Input should be a valid integer, unable to parse string as an integer "
            "[OURVIDZ_SERVER__PORT]"
        ),
    ]


def test_both_names_of_a_service_key(monkeypatch: pytest.MonkeyPatch) -> None:
    """The longer one counts when both are set."""
    monkeypatch.setenv("SUPABASE_SERVICE_KEY", "short")
    key = load_settings().supabase.key
    assert key is not None
    assert key.get_secret_value() == "short"

    monkeypatch.setenv("SUPABASE_SERVICE_ROLE_KEY", "long")
    key = load_settings().supabase.key
    assert key is not None
    assert key.get_secret_value() == "long"


def test_each_value_says_where_it_came_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the name of the file or the variable; secrets are never shown."""
    config = tmp_path / "worker.toml"
    config.write_text('max_held = 7\n[server]\nport = 1\n[models.chat]\npath = "here"\n')
    monkeypatch.setenv("OURVIDZ_SERVER__PORT", "2")
    monkeypatch.setenv("OURVIDZ_MODELS__SDXL__PATH", "")
    monkeypatch.setenv("OURVIDZ_STOP", '{"grace_s": 3}')
    monkeypatch.setenv("SUPABASE_ANON_KEY", "hush-anon")
    monkeypatch.setenv("SUPABASE_KEY", "hush-key")

    found = origins(config, {"worker_type": "chat"})

    assert found["max_held"].source == f"file {config}"
    assert (found["server.port"].value, found["server.port"].source) == (2, "OURVIDZ_SERVER__PORT")
    assert (found["stop.grace_s"].value, found["stop.grace_s"].source) == (3, "OURVIDZ_STOP")
    assert found["worker_type"].source == "command line"
    assert found["leases.margin_s"].source == "default"
    assert found["models.chat.path"].source == f"file {config}"
    assert found["models.sdxl.path"].source == "OURVIDZ_MODELS__SDXL__PATH"
    assert found["models.chat.budget_gb"].source == "default"
    assert (found["supabase.key"].value, found["supabase.key"].source) == ("***", "SUPABASE_KEY")
    assert found["server.api_key"].value is None
    assert "hush" not in repr(found)

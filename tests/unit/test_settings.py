"""Settings: sources in their order, every error at once, and the checks before the first job."""

from pathlib import Path

import pytest

from daemon.job_types import Model, Quality
from daemon.preflight import problems
from daemon.settings import SettingsError, load_settings


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SUPABASE_URL", "SUPABASE_SERVICE_ROLE_KEY", "DATABASE_URL", "WORKER_API_KEY"):
        monkeypatch.delenv(name, raising=False)


def test_the_defaults_are_the_documented_figures() -> None:
    """Budgets and concurrency as the API document's tables have them; video's needs 20 GB."""
    models = load_settings().models

    assert {
        name: (model.budget_gb, model.max_concurrent, model.footprint_gb[Quality.FAST])
        for name, model in models.items()
    } == {
        Model.CHAT: (4, 8, 4),
        Model.SDXL: (12, 2, 8),
        Model.WAN: (6, 4, 4),
        Model.VIDEO: (20, 1, 16),
    }
    assert load_settings().server.port == 7861


def test_command_line_over_environment_over_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each source replaces only what it names."""
    config = tmp_path / "worker.toml"
    config.write_text('worker_name = "file"\n[server]\nport = 1\n[models.chat]\npath = "here"\n')
    monkeypatch.setenv("OURVIDZ_SERVER__PORT", "2")
    monkeypatch.setenv("OURVIDZ_MODELS__SDXL__RUNNER", "fake")

    settings = load_settings(config, {"worker_type": "chat"})

    assert settings.worker_name == "file"
    assert settings.server.port == 2
    assert settings.models[Model.CHAT].path == "here"
    assert settings.models[Model.CHAT].budget_gb == 4
    assert settings.models[Model.SDXL].runner == "fake"
    assert list(settings.enabled_models) == [Model.CHAT]


def test_the_documented_names_work_without_the_prefix(monkeypatch: pytest.MonkeyPatch) -> None:
    """SUPABASE_URL and its key as every Supabase program reads them; secrets aren't shown."""
    monkeypatch.setenv("SUPABASE_URL", "https://x.supabase.co")
    monkeypatch.setenv("SUPABASE_SERVICE_ROLE_KEY", "sb_secret_1234")
    monkeypatch.setenv("WORKER_API_KEY", "key")

    settings = load_settings()

    assert settings.supabase.url == "https://x.supabase.co"
    assert settings.supabase.key is not None
    assert settings.supabase.key.get_secret_value() == "sb_secret_1234"
    assert "sb_secret" not in repr(settings)


def test_all_errors_are_reported_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """One start, one list of what to mend."""
    monkeypatch.setenv("OURVIDZ_SERVER__PORT", "99999")
    monkeypatch.setenv("OURVIDZ_LEASES__MARGIN_S", "11")
    monkeypatch.setenv("OURVIDZ_LOG__COLOUR", "red")

    with pytest.raises(SettingsError) as raised:
        load_settings()

    assert len(str(raised.value).splitlines()) == 3
    assert "server.port" in str(raised.value)


def test_a_file_that_is_no_toml_is_named(tmp_path: Path) -> None:
    """The message says which file, and where in it."""
    config = tmp_path / "worker.toml"
    config.write_text("port = = 1")

    with pytest.raises(SettingsError, match=r"worker\.toml.*line 1"):
        load_settings(config)


def test_preflight_names_every_missing_thing() -> None:
    """No database, nowhere to put files, and each model folder that isn't there."""
    found = "\n".join(problems(load_settings(overrides={"worker_type": "chat"})))

    assert "set DATABASE_URL" in found
    assert "SUPABASE_URL is not set" in found
    assert "/models/chat/ does not exist" in found
    assert "/models/video/" not in found

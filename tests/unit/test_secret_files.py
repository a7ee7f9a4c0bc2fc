"""Secrets from files: their names, what wins over them, and what is wrong with them."""

import os
from pathlib import Path

import pytest

from daemon.settings import SettingsError, load_settings


@pytest.fixture
def folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    for name in list(os.environ):
        if name.startswith(("SUPABASE_", "OURVIDZ_")) or name in {"DATABASE_URL", "WORKER_API_KEY"}:
            monkeypatch.delenv(name)
    made = tmp_path / "credentials"
    made.mkdir()
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(made))
    return made


def test_each_file_is_a_variable_in_lower_case(folder: Path) -> None:
    """The documented names, and those with the prefix; an editor's newline is none of a value."""
    (folder / "worker_api_key").write_text("key\n")
    (folder / "database_url").write_text("postgres://w:p@host/db")
    (folder / "supabase_worker_token").write_text("to.ke.n\n")
    (folder / "ourvidz_max_held").write_text("7\n")
    (folder / "somebody_elses").write_text("x")

    settings = load_settings()

    assert settings.server.api_key is not None
    assert settings.server.api_key.get_secret_value() == "key"
    assert settings.database.dsn is not None
    assert settings.database.dsn.get_secret_value() == "postgres://w:p@host/db"
    assert settings.supabase.token is not None
    assert settings.max_held == 7
    assert "postgres" not in repr(settings)


def test_environment_over_files_over_configuration(
    folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Each replaces only what it names."""
    config = tmp_path / "worker.toml"
    config.write_text('max_held = 1\n[server]\napi_key = "of-toml"\n[supabase]\nkey = "of-toml"')
    (folder / "worker_api_key").write_text("of-file")
    (folder / "ourvidz_max_held").write_text("2")
    (folder / "supabase_key").write_text("of-file")
    monkeypatch.setenv("SUPABASE_KEY", "of-environment")

    settings = load_settings(config)

    assert settings.max_held == 2
    assert settings.server.api_key is not None
    assert settings.server.api_key.get_secret_value() == "of-file"
    assert settings.supabase.key is not None
    assert settings.supabase.key.get_secret_value() == "of-environment"


def test_an_empty_file_is_no_secret(folder: Path) -> None:
    """The unit makes empty ones where nothing was put: they must not become passwords."""
    (folder / "worker_api_key").write_text("\n")
    assert load_settings().server.api_key is None


def test_kubernetes_links_are_followed_and_its_own_names_left_out(folder: Path) -> None:
    """A mounted secret is a link into a folder that is replaced as a whole."""
    version = folder / "..2026_01_01"
    version.mkdir()
    (version / "worker_api_key").write_text("key")
    (folder / "..data").symlink_to(version.name)
    (folder / "worker_api_key").symlink_to("..data/worker_api_key")

    key = load_settings().server.api_key

    assert key is not None
    assert key.get_secret_value() == "key"


@pytest.mark.parametrize("content", [b"\xff\xfe"])
def test_what_is_no_text_is_an_error_without_its_content(folder: Path, content: bytes) -> None:
    """The operator hears which variable led there."""
    (folder / "worker_api_key").write_bytes(content)
    with pytest.raises(SettingsError, match=r"CREDENTIALS_DIRECTORY.*isn't UTF-8 text"):
        load_settings()


def test_a_value_that_can_not_be_parsed(folder: Path) -> None:
    """It is told by the setting's name alone."""
    (folder / "ourvidz_preload").write_text("hush, no list")
    with pytest.raises(SettingsError, match="preload") as error:
        load_settings()
    assert "hush" not in str(error.value)


def test_a_folder_that_is_not_there(folder: Path) -> None:
    """Said, since a worker without its key would listen on loopback only, silently."""
    folder.rmdir()
    with pytest.raises(SettingsError, match=r"CREDENTIALS_DIRECTORY: .* is no folder"):
        load_settings()

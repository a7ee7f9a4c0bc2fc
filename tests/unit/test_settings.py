"""Settings: sources in their order, every error at once, and the checks before the first job."""

import os
from pathlib import Path

import pytest

from daemon.credentials import Credentials
from daemon.job_types import Model, Quality
from daemon.preflight import problems
from daemon.settings import SettingsError, load_settings

NO_MODELS = {"worker_type": "chat", "models": {"chat": {"runner": "fake"}}}


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith(("SUPABASE_", "OURVIDZ_")) or name in {"DATABASE_URL", "WORKER_API_KEY"}:
            monkeypatch.delenv(name)


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


def test_a_model_can_be_left_out() -> None:
    """By a worker that serves all; one of that very type serves it."""
    without = {"models": {"video": {"enabled": False}}}

    assert set(load_settings(overrides=without).enabled_models) == set(Model) - {Model.VIDEO}
    assert list(load_settings(overrides={**without, "worker_type": "video"}).enabled_models) == [
        Model.VIDEO
    ]


def test_a_worker_without_models_is_refused() -> None:
    """It would wait for ever."""
    none = {"models": {model.value: {"enabled": False} for model in Model}}

    assert "no model is enabled: see models.<model>.enabled" in problems(
        load_settings(overrides=none)
    )


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


def test_key_and_token_are_two_things(monkeypatch: pytest.MonkeyPatch) -> None:
    """The project's key for the gateway, and the worker's own token behind it; both hidden."""
    monkeypatch.setenv("SUPABASE_URL", "https://x.supabase.co")
    monkeypatch.setenv("SUPABASE_ANON_KEY", "sb_publishable_1234")
    monkeypatch.setenv("SUPABASE_WORKER_TOKEN", "to.ke.n")

    settings = load_settings()

    assert settings.supabase.credentials == Credentials("sb_publishable_1234", "to.ke.n")
    assert "sb_publishable" not in repr(settings)
    assert "to.ke.n" not in repr(settings)


def test_of_several_keys_the_one_with_rights_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    """A project's environment often holds them all; the plain name is the operator's word."""
    monkeypatch.setenv("SUPABASE_URL", "https://x.supabase.co")
    monkeypatch.setenv("SUPABASE_ANON_KEY", "anon")
    monkeypatch.setenv("SUPABASE_SERVICE_ROLE_KEY", "service")
    assert load_settings().supabase.credentials == Credentials("service")

    monkeypatch.setenv("SUPABASE_KEY", "chosen")
    assert load_settings().supabase.credentials == Credentials("chosen")


def test_preflight_names_what_credentials_lack(monkeypatch: pytest.MonkeyPatch) -> None:
    """An address without a key, and a token that is none."""
    monkeypatch.setenv("SUPABASE_URL", "https://x.supabase.co")
    [sentence] = problems(load_settings(overrides=NO_MODELS))
    assert "set SUPABASE_KEY" in sentence
    assert "SUPABASE_WORKER_TOKEN" in sentence

    monkeypatch.setenv("SUPABASE_KEY", "sb_publishable_1234")
    monkeypatch.setenv("SUPABASE_WORKER_TOKEN", "sb_secret_1234")
    [sentence] = problems(load_settings(overrides=NO_MODELS))
    assert sentence == "SUPABASE_WORKER_TOKEN is no JWT: make one with `ourvidz-worker token`"


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


def test_wrong_options_are_reported_by_their_path_all_at_once() -> None:
    """Those of the runner, those of its process, and clashes; beside what else is wrong."""
    options = {"schedulr": "euler", "step_cache": "first", "hang_factor": 0}
    overrides = {"models": {"sdxl": {"options": options}}, "server": {"port": -1}}

    with pytest.raises(SettingsError) as raised:
        load_settings(overrides=overrides)

    paths = [line.split(":")[0] for line in str(raised.value).splitlines()]
    assert paths == [
        "models.sdxl.options.hang_factor",
        "models.sdxl.options.step_cache",
        "models.sdxl.options.schedulr",
        "server.port",
    ]
    assert "schedulr: there is no such option; known are config, vae" in str(raised.value)


def test_any_option_goes_to_the_fake_runner() -> None:
    """It is told how to fare."""
    chat = {"runner": "fake", "options": {"load_crash": 1}}

    assert load_settings(overrides={"models": {"chat": chat}})


def test_options_from_the_environment_are_more_than_text(monkeypatch: pytest.MonkeyPatch) -> None:
    """`false` is refused where it must be, and isn't true."""
    monkeypatch.setenv("OURVIDZ_MODELS__SDXL__OPTIONS__COMPILE", "false")
    monkeypatch.setenv("OURVIDZ_MODELS__SDXL__OPTIONS__STEP_CACHE", "first_block")
    assert load_settings()

    monkeypatch.setenv("OURVIDZ_MODELS__SDXL__OPTIONS__COMPILE", "true")
    with pytest.raises(SettingsError, match=r"models\.sdxl\.options\.compile goes with none of"):
        load_settings()


def test_defaults_by_quality() -> None:
    """What a distilled checkpoint needs; a word of another family is refused with its path."""
    turbo = {"fast": {"steps": 4, "guidance_scale": "1.5"}}
    settings = load_settings(overrides={"models": {"sdxl": {"defaults": turbo}}})
    found = settings.models[Model.SDXL].defaults[Quality.FAST].given()
    assert found == {"steps": 4, "guidance_scale": 1.5}

    wrong = {"fast": {"fps": 8, "steps": 0}, "high": {"max_tokens": 9}}
    with pytest.raises(SettingsError) as raised:
        load_settings(overrides={"models": {"sdxl": {"defaults": wrong}}})
    assert "models.sdxl.defaults.fast.steps" in str(raised.value)
    del wrong["fast"]["steps"]
    with pytest.raises(SettingsError) as raised:
        load_settings(overrides={"models": {"sdxl": {"defaults": wrong}}})
    assert str(raised.value).splitlines() == [
        f"models.sdxl.defaults.{name}: requests for sdxl have no {name.split('.')[1]}, "
        "only guidance_scale, height, steps, width "
        f"[OURVIDZ_MODELS__SDXL__DEFAULTS__{name.upper().replace('.', '__')}]"
        for name in ("fast.fps", "high.max_tokens")
    ]

"""Which settings differ, what each change takes, and whose engine may live on."""

import os
from typing import Any, get_args

import pytest

from daemon.changes import IN_PLACE, PROCESS, Changes, changes, same_models, without_restart
from daemon.settings import Settings, load_settings


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith(("SUPABASE_", "OURVIDZ_")) or name in {"DATABASE_URL", "WORKER_API_KEY"}:
            monkeypatch.delenv(name)


def settings(**given: Any) -> Settings:
    return load_settings(None, given)


def test_nothing_differs_between_two_readings() -> None:
    """Secrets are compared too."""
    dsn = {"database": {"dsn": "postgres://here"}}
    assert changes(settings(**dsn), settings(**dsn)) == Changes()


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"log": {"level": "debug"}}, Changes(in_place=("log.level",))),
        ({"stop": {"grace_s": 1}}, Changes(in_place=("stop.grace_s",))),
        ({"server": {"api_key": "k"}}, Changes(restart=("server.api_key",))),
        ({"worker_name": "n"}, Changes(restart=("worker_name",))),
        ({"database": {"dsn": "d"}}, Changes(rebuild=("database.dsn",))),
        ({"live": {"broadcast": True}}, Changes(rebuild=("live.broadcast",))),
        ({"models": {"wan": {"path": "/w"}}}, Changes(rebuild=("models.wan.path",))),
        ({"worker_type": "chat"}, Changes(rebuild=("worker_type",))),
    ],
)
def test_each_change_takes_what_it_takes(given: dict[str, Any], expected: Changes) -> None:
    """Named by its path; its value, which may be a secret, is nowhere."""
    assert changes(settings(), settings(**given)) == expected


def test_what_requests_get_by_default_changes_in_place() -> None:
    """Whatever is set where nothing was before."""
    found = changes(settings(), settings(models={"sdxl": {"defaults": {"fast": {"steps": 4}}}}))
    assert "models.sdxl.defaults.fast.steps" in found.in_place
    assert (found.rebuild, found.restart) == ((), ())


def test_the_lists_name_settings_that_exist() -> None:
    """A setting that was renamed would otherwise cost a drain without a word."""
    known = {name.split(".")[0] for name in (*IN_PLACE, *PROCESS)}
    assert known <= Settings.model_fields.keys()
    for path in IN_PLACE:
        section, _, name = path.partition(".")
        if name and "*" not in name:
            kind = Settings.model_fields[section].annotation
            fields = getattr(kind, "model_fields", None) or get_args(kind)[1].model_fields
            assert name in fields, path


def test_the_process_keeps_what_is_its_own() -> None:
    """The rest of the new settings is taken."""
    old = settings(worker_name="a", server={"port": 1})
    both = without_restart(old, settings(worker_name="b", server={"port": 2}, max_held=3))
    assert (both.worker_name, both.server.port, both.max_held) == ("a", 1, 3)


def test_engines_live_on_where_their_model_is_as_before() -> None:
    """Served before and after, with the same settings but for what requests get by default."""
    old = settings()
    assert same_models(old, settings(database={"dsn": "d"})) == {"chat", "sdxl", "wan", "video"}
    assert same_models(old, settings(models={"wan": {"path": "/w"}})) == {"chat", "sdxl", "video"}
    assert same_models(old, settings(worker_type="chat")) == {"chat"}
    assert same_models(settings(worker_type="wan"), settings(worker_type="chat")) == set()
    defaults = {"models": {"sdxl": {"defaults": {"fast": {"steps": 4}}}}}
    assert "sdxl" in same_models(old, settings(**defaults))

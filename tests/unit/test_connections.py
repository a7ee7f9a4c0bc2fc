"""Which ways to the project the settings open."""

from typing import Any

import pytest

from daemon.connections import make_artifacts, make_sources, make_store
from daemon.settings import Settings, load_settings
from daemon.startup import StartupError

PROJECT = {"url": "https://x.supabase.co", "key": "sb_publishable_1"}


def settings(**chosen: Any) -> Settings:
    return load_settings(overrides=chosen)


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SUPABASE_URL", "SUPABASE_KEY", "SUPABASE_SERVICE_ROLE_KEY", "DATABASE_URL"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize(
    ("chosen", "names"),
    [
        ({}, []),
        ({"supabase": PROJECT}, ["broadcast", "realtime"]),
        ({"supabase": PROJECT, "wakeups": {"broadcast": False}}, ["realtime"]),
        ({"supabase": PROJECT, "wakeups": {"realtime": False}}, ["broadcast"]),
        ({"database": {"dsn": "postgres://u@h/d"}}, ["listen"]),
        (
            {"database": {"dsn": "postgres://u@h/d"}, "supabase": PROJECT},
            ["listen", "broadcast", "realtime"],
        ),
    ],
)
async def test_each_wanted_source_that_can_be_had_is_made(
    chosen: dict[str, Any], names: list[str]
) -> None:
    """The fastest first."""
    assert [source.state()["name"] for source in make_sources(settings(**chosen))] == names


def test_nothing_configured_is_said() -> None:
    """Neither a database nor a place for files is guessed."""
    with pytest.raises(StartupError, match="no database"):
        make_store(settings())
    with pytest.raises(StartupError, match="no Supabase Storage"):
        make_artifacts(settings())

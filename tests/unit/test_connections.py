"""Which ways to the project the settings open."""

from typing import Any

import pytest

from daemon.connections import make_artifacts, make_broadcaster, make_sources, make_store
from daemon.feed import Feed
from daemon.preflight import problems
from daemon.settings import Settings, load_settings
from daemon.startup import StartupError
from daemon.telemetry.metrics import Metrics

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


@pytest.mark.parametrize(
    ("chosen", "wanted"),
    [
        ({"supabase": PROJECT}, False),
        ({"live": {"broadcast": True}}, False),
        ({"supabase": PROJECT, "live": {"broadcast": True}}, True),
        (
            {
                "database": {"dsn": "postgres://u@h/d"},
                "supabase": PROJECT,
                "live": {"broadcast": True},
            },
            True,
        ),
    ],
)
def test_jobs_are_followed_only_where_that_is_wanted(chosen: dict[str, Any], wanted: bool) -> None:
    """A worker whose owner wants no broadcasts has nobody that looks at every job."""
    feed = Feed()

    broadcaster = make_broadcaster(settings(**chosen), feed, Metrics().live)

    assert (broadcaster is not None, feed.opened is not None) == (wanted, wanted)


def test_broadcasts_without_a_project_are_refused_at_the_start() -> None:
    """Rather than that nobody ever hears one."""
    chosen = {"database": {"dsn": "postgres://u@h/d"}, "artifacts": {"kind": "local"}}

    [sentence] = [
        problem
        for problem in problems(settings(**chosen, live={"broadcast": True}))
        if "live" in problem
    ]

    assert "OURVIDZ_LIVE__BROADCAST=false" in sentence

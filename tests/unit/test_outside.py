"""Who looks on from outside, by the settings."""

from pathlib import Path
from typing import Any

import pytest

from daemon import outside
from daemon.outside_sections import LogSettings, MqttSettings, TracingSettings
from daemon.settings import SettingsError, load_settings


def settings(**given: Any) -> Any:
    return load_settings(None, given)


def test_by_default_nobody_does() -> None:
    """And nothing is missing for it."""
    chosen = settings()

    assert (chosen.mqtt.host, chosen.tracing.enabled, chosen.mqtt.commands) == (None, False, ())
    assert outside.missing_libraries(chosen) == []


def test_an_extra_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Before anything is started."""
    monkeypatch.setattr(outside, "find_spec", lambda _: None)

    found = outside.missing_libraries(settings(mqtt={"host": "broker"}, tracing={"enabled": True}))

    assert ["ourvidz-worker[mqtt]" in found[0], "ourvidz-worker[otel]" in found[1]] == [True, True]


@pytest.mark.parametrize(
    ("mqtt", "words"),
    [
        ({"password": "x"}, "mqtt.username"),
        ({"cert_file": "/tmp/x"}, "go together"),
        ({"ca_file": "/nowhere/ca.pem"}, "no such file"),
        ({"prefix": "a/#"}, "mqtt.prefix"),
        ({"prefix": "/a"}, "mqtt.prefix"),
        ({"prefix": "$SYS"}, "mqtt.prefix"),
        ({"commands": ["reboot"]}, "mqtt.commands"),
        ({"hots": "x"}, "mqtt.hots"),
    ],
)
def test_what_can_t_work_is_refused(mqtt: dict[str, Any], words: str) -> None:
    """By its name."""
    with pytest.raises(SettingsError, match=words.replace(".", r"\.")):
        settings(mqtt=mqtt)


@pytest.mark.parametrize("prefix", ["o", "a/b", "ourvidz"])
def test_a_prefix_may_have_levels(prefix: str) -> None:
    """As fleets have theirs."""
    assert MqttSettings(prefix=prefix).prefix == prefix


@pytest.mark.parametrize("given", [False, "false", None])
def test_prompts_are_not_shown_by_any_spelling_of_no(given: Any) -> None:
    """TOML has a word of its own for it."""
    assert LogSettings(prompts=given).prompts == "false"


def test_headers_of_a_collector_are_secrets(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """They come from the environment as other secrets do."""
    monkeypatch.setenv("OURVIDZ_TRACING__HEADERS__X-KEY", "hidden")

    chosen: TracingSettings = settings().tracing

    assert "hidden" not in repr(chosen)
    assert [each.get_secret_value() for each in chosen.headers.values()] == ["hidden"]

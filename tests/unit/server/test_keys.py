"""Several keys, and a file of them that changes under the running server."""

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient

from daemon.reporting import DaemonReports
from daemon.sections import ServerSettings
from daemon.server.auth import ANONYMOUS, CALLER
from daemon.server.keys import BrokenKeysError, KeyRing, parse_keys
from daemon.server.service import bind_host
from daemon.settings import SettingsError, load_settings
from daemon.telemetry.metrics import Metrics
from daemon.telemetry.redaction import redact

Connect = Callable[..., Awaitable[TestClient[Any, Any]]]


@pytest.mark.parametrize(
    ("content", "keys"),
    [
        (b"web: s3cret", [("web", "s3cret")]),
        (b"web=s3cret\n", [("web", "s3cret")]),
        (b"# who\n\n  web :  s3cret  \r\nedge=abc==\n", [("web", "s3cret"), ("edge", "abc==")]),
        (b"web: a=b:c", [("web", "a=b:c")]),
        (b"web: old\nweb: new", [("web", "old"), ("web", "new")]),
        ("\ufeffweb: schlüssel".encode(), [("web", "schlüssel")]),
        (b"web: # no comment", [("web", "# no comment")]),
    ],
)
def test_file_has_a_name_and_a_key_a_line(content: bytes, keys: list[tuple[str, str]]) -> None:
    """Either separator, comments on lines of their own, and keys with separators in them."""
    assert parse_keys(content) == keys


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"", "no key is in it"),
        (b"# web: s3cret", "no key is in it"),
        (b"web: a\ns3cret", "line 2 isn't `name: key`"),
        (b"web:", "line 1 isn't `name: key`"),
        (b": s3cret", "line 1 isn't `name: key`"),
        (b"two words: s3cret", "line 1 isn't `name: key`"),
        (b"web: s3cret\n\nedge: s3cret", "line 3 has a key that stands above already"),
        (b"web: \xff", "it isn't UTF-8"),
    ],
)
def test_broken_file_is_refused_whole(content: bytes, complaint: str) -> None:
    """With the line, and never with a key."""
    with pytest.raises(BrokenKeysError) as caught:
        parse_keys(content)

    assert str(caught.value) == complaint


def test_key_has_the_name_of_who_has_it(tmp_path: Path) -> None:
    """Keys of the settings and of the file side by side; two may bear one name."""
    file = tmp_path / "keys"
    file.write_text("web: old-key\nweb: new-key\n")
    ring = KeyRing([("default", "main-key"), ("edge", "edge-key")], file)

    named = [ring.name_of(key.encode()) for key in ("main-key", "edge-key", "old-key", "new-key")]
    assert named == ["default", "edge", "web", "web"]
    assert [ring.name_of(key) for key in (b"", b"main-ke", b"main-key2", b"\xff")] == [None] * 4


async def test_changed_file_counts_and_a_broken_one_does_not(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The last good keys hold until the file is good again; what is wrong is said meanwhile."""
    file = tmp_path / "keys"
    file.write_text("web: first-key")
    ring = KeyRing((), file)

    file.write_text("web: second-key")
    await ring.look()
    assert (ring.name_of(b"first-key"), ring.name_of(b"second-key")) == (None, "web")

    caplog.set_level("INFO")
    await ring.look()
    assert caplog.text == ""  # nothing has changed since

    file.write_text("web: third-key\nnonsense-key")
    await ring.look()
    await ring.look()
    assert ring.name_of(b"second-key") == "web"
    assert ring.complaint is not None
    assert "line 2" in ring.complaint
    assert len([r for r in caplog.records if "can't be used" in r.message]) == 1
    assert "-key" not in caplog.text

    file.unlink()
    await ring.look()
    assert ring.name_of(b"second-key") == "web"
    assert ring.complaint.endswith("it can't be read (No such file or directory)")

    file.write_text("web: second-key")
    await ring.look()
    assert ring.complaint is None


async def test_complaint_is_a_reason_in_health(tmp_path: Path) -> None:
    """Without the file's path, which is nobody's business who has no key."""
    file = tmp_path / "keys"
    file.write_text("web: first-key")
    reports = DaemonReports(load_settings(), Metrics(), "0", keys=KeyRing((), file))
    assert reports.keys is not None
    file.write_text("")
    await reports.keys.look()

    complaint = "the file of API keys can't be used, the last good keys hold: no key is in it"
    assert reports.health().reasons == ["the worker is starting", complaint]


def test_settings_of_the_server_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Names as maps, lists as JSON."""
    for name, value in {
        "API_KEYS__WEB": "web-key",
        "LIMITS__KEYS__WEB__CONCURRENT": "2",
        "CORS_ORIGINS": '["https://app.example"]',
        "TRUSTED_PROXIES": '["10.0.0.0/8"]',
    }.items():
        monkeypatch.setenv(f"OURVIDZ_SERVER__{name}", value)

    server = load_settings().server

    assert KeyRing.of(server).name_of(b"web-key") == "web"
    assert server.limits.of("web").concurrent == 2
    assert server.cors_origins == ("https://app.example",)
    assert [str(network) for network in server.trusted_proxies] == ["10.0.0.0/8"]


async def test_keys_never_reach_a_log(tmp_path: Path) -> None:
    """Those that come later are hidden too."""
    file = tmp_path / "keys"
    file.write_text("web: early-secret-7")
    ring = KeyRing([("edge", "given-secret-7")], file)
    file.write_text("web: later-secret-7")
    await ring.look()

    said = redact("given-secret-7 early-secret-7 later-secret-7")
    assert said == "[redacted] [redacted] [redacted]"


@pytest.mark.parametrize("content", [None, "", "web"])
def test_file_must_be_good_at_the_start(tmp_path: Path, content: str | None) -> None:
    """There is nothing to fall back on, and nobody has seen it work."""
    file = tmp_path / "keys"
    if content is not None:
        file.write_text(content)

    with pytest.raises(SettingsError, match=r"^server\.api_keys_file: "):
        KeyRing.of(ServerSettings(api_keys_file=file))


@pytest.mark.parametrize(
    "wrong", [{"api_keys": {"web": ""}}, {"api_keys": {"two words": "k"}}, {"api_keys": {"": "k"}}]
)
def test_unusable_named_key_is_refused(wrong: dict[str, Any]) -> None:
    """A named key is meant to open: a blank one is a mistake."""
    with pytest.raises(ValueError, match="api_keys"):
        ServerSettings.model_validate(wrong)


def test_blank_named_key_is_refused() -> None:
    """Blanks can't be sent, so nobody could ever show it."""
    with pytest.raises(SettingsError, match=r"server\.api_keys\.web: the key is blank"):
        KeyRing.of(ServerSettings.model_validate({"api_keys": {"web": "  "}}))


@pytest.mark.parametrize("keys", [{"api_keys": {"web": "k"}}, {"api_keys_file": "/run/keys"}])
def test_any_key_opens_the_address(keys: dict[str, Any]) -> None:
    """Bound beyond loopback as with the one key."""
    assert bind_host(ServerSettings.model_validate(keys)) == "0.0.0.0"


async def test_handlers_know_their_caller(connect: Connect, daemon: Any) -> None:
    """By the name of the key; without keys everybody is nobody in particular."""

    async def who(request: web.Request) -> web.Response:
        return web.json_response(request[CALLER])

    daemon.extra_routes = [web.get("/who", who)]
    client = await connect("main-key", api_keys={"web": "web-key"})
    open_client = await connect()

    async def asked(key: str) -> Any:
        return await (await client.get("/who", headers={"X-API-Key": key})).json()

    assert (await asked("main-key"), await asked("web-key")) == ("default", "web")
    assert await (await open_client.get("/who")).json() == ANONYMOUS
    assert (await client.get("/who", headers={"X-API-Key": "other"})).status == 401

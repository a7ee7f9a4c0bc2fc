"""What the worker shows to a project: who gets which part of it, and when it is over."""

import asyncio
import json
import time
from base64 import urlsafe_b64encode
from contextlib import suppress

import jwt
import pytest
from click.testing import CliRunner, Result

from daemon import credentials as module
from daemon.cli import main
from daemon.credentials import EXPIRED, Credentials, Validity, expiry_of, mint, says_expired
from daemon.credentials import watch_expiry as watch

NOW = 1_800_000_000.0
DAY = 24 * 3600
SECRET = "a project's own secret, long enough"


def expiring(seconds: float) -> Credentials:
    """A token that has so much time left at `NOW`."""
    return Credentials("sb_publishable_key", mint(SECRET, 1, NOW + seconds - DAY))


def test_the_gateway_gets_the_key_and_the_services_the_token() -> None:
    """A gateway takes no token for a key, and a service no key that is none."""
    assert Credentials("key", "token").headers() == {
        "apikey": "key",
        "Authorization": "Bearer token",
    }
    assert Credentials("key").headers() == {"apikey": "key", "Authorization": "Bearer key"}


def test_neither_is_shown() -> None:
    """A log line with the object in it is safe, and redaction knows both."""
    assert repr(Credentials("hush-key", "hush-token")) == "Credentials()"
    assert Credentials("key", "token").secrets == ("key", "token")
    assert Credentials("key").secrets == ("key",)


@pytest.mark.parametrize(
    ("left_s", "validity", "complaint"),
    [
        (8 * DAY, Validity.FINE, None),
        (6 * DAY, Validity.NEAR, "the worker's token expires in 6 days"),
        (36 * 3600, Validity.NEAR, "the worker's token expires in 36 hours"),
        (600, Validity.NEAR, "the worker's token expires in 10 minutes"),
        (0, Validity.OVER, EXPIRED),
        (-DAY, Validity.OVER, EXPIRED),
    ],
)
def test_a_token_is_complained_of_in_time(
    left_s: float, validity: Validity, complaint: str | None
) -> None:
    """A week is enough for somebody to make another one."""
    shown = expiring(left_s)
    assert (shown.validity(NOW), shown.complaint(NOW)) == (validity, complaint)


def _jwt(claims: object) -> str:
    return f"h.{urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip('=')}.s"


@pytest.mark.parametrize(
    "token",
    ["", "sb_secret_1.2.3", "a.b", "a.!.c", _jwt([]), _jwt({}), _jwt({"exp": "soon"}), _jwt(1)],
)
def test_what_says_no_end_has_none(token: str) -> None:
    """Opaque keys, and whatever else is no token: the server decides."""
    assert expiry_of(token) is None
    assert Credentials("key", token).complaint(NOW) is None


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("JWT expired", True),
        ("CHANNEL_ERROR: InvalidJWTToken: Token has expired 3 seconds ago", True),
        ('"exp" claim timestamp check failed', True),
        ("Failed to validate JWT signature", False),
        ("JWT issued at future", False),
    ],
)
def test_every_service_says_it_in_its_own_words(text: str, meant: bool) -> None:
    """PostgREST, Realtime and Storage."""
    assert says_expired(text) is meant


async def test_it_is_logged_once_before_and_once_after(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A week of warnings, one a minute, is read by nobody."""
    monkeypatch.setattr(module, "_LOOK_EVERY_S", 0)
    moments = [NOW, NOW + DAY, NOW + 8 * DAY, NOW + 9 * DAY, NOW + 11 * DAY, NOW + 12 * DAY]
    watching: asyncio.Task[None]

    def clock() -> float:
        if len(moments) == 1:
            watching.cancel()
        return moments.pop(0)

    watching = asyncio.create_task(watch(expiring(10 * DAY), clock))
    with suppress(asyncio.CancelledError):
        await watching

    reasons = ["the worker's token expires in 2 days", EXPIRED]
    assert [f"token must be replaced: {reason}" for reason in reasons] == caplog.messages


def token_command(*arguments: str, **environment: str) -> Result:
    return CliRunner().invoke(main, ["token", *arguments], env=environment)


def test_the_command_makes_a_token_of_the_workers_role() -> None:
    """On stdout and nothing else there, signed, and valid for as long as was asked."""
    made = token_command("--secret-env", "JWT_SECRET", "--days", "30", JWT_SECRET=SECRET)

    assert made.exit_code == 0
    claims = jwt.decode(made.stdout.strip(), SECRET, algorithms=["HS256"])
    assert claims["role"] == "ourvidz_worker"
    assert claims["exp"] == pytest.approx(time.time() + 30 * DAY, abs=30)
    # Clocks differ: PostgREST refuses a token from the future.
    assert claims["iat"] < time.time() - 30


@pytest.mark.parametrize("environment", [{}, {"JWT_SECRET": "short"}])
def test_the_command_wants_a_secret(environment: dict[str, str]) -> None:
    """What is no secret is said, not used, and not shown."""
    refused = token_command("--secret-env", "JWT_SECRET", **environment)

    assert refused.exit_code == 1
    assert "JWT_SECRET holds no JWT secret" in refused.stderr
    assert "short" not in refused.stderr

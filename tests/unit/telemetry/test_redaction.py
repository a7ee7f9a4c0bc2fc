"""No secret leaves the process as text."""

import json

import pytest

from daemon.telemetry.redaction import HIDDEN, Redactor

JWT = "eyJhbGciOiJIUzI1NiJ9.eyJyb2xlIjoic2VydmljZV9yb2xlIn0.c2lnbmF0dXJl-_X"


def redactor_of(*secrets: str) -> Redactor:
    redactor = Redactor()
    for secret in secrets:
        redactor.register(secret)
    return redactor


def test_longer_secret_hides_the_one_inside() -> None:
    """What is left of a long secret after hiding a short one would be a hint."""
    redactor = redactor_of("abcd", "abcd-1234")

    assert redactor.text("abcd-1234") == HIDDEN


def test_password_of_a_connection_string_is_hidden_alone() -> None:
    """A driver may name the password without the string around it, decoded or not."""
    redactor = redactor_of("postgresql://worker:p%40ss-w0rd@db.example:5432/app")

    assert redactor.text("tried p@ss-w0rd and p%40ss-w0rd at db.example") == (
        f"tried {HIDDEN} and {HIDDEN} at db.example"
    )


def test_very_short_secret_is_not_hidden() -> None:
    """Else every line would be unreadable."""
    assert redactor_of("a", "", "  ").text("a cat") == "a cat"


@pytest.mark.parametrize(
    ("text", "cleaned"),
    [
        (f"key {JWT}!", "key [redacted]!"),
        (f"cut off {JWT[:20]}", "cut off [redacted]"),
        ("sb_secret_N7UND0Ug_x", "[redacted]"),
        ("wss://x.co/socket?apikey=abc123&vsn=1.0.0", "wss://x.co/socket?apikey=[redacted]&vsn=1.0.0"),
        ("postgres://worker:pw@db:5432/app", "postgres://worker:[redacted]@db:5432/app"),
        ("postgresql+asyncpg://w:p/w@2@db/app", "postgresql+asyncpg://w:[redacted]@db/app"),
        ("https://user:pw@host/a", "https://user:[redacted]@host/a"),
        ("Authorization: Bearer abcdef123456", "Authorization: Bearer [redacted]"),
        ('{"password": "hunter2", "x": 1}', '{"password": "[redacted]", "x": 1}'),
        ("password=hunter2 host=db", "password=[redacted] host=db"),
        ("'X-API-Key': 'abc'", "'X-API-Key': '[redacted]'"),
    ],
)  # fmt: skip
def test_unregistered_secrets_are_known_by_their_shape(text: str, cleaned: str) -> None:
    """Tokens in a library's message were never registered by anybody."""
    assert Redactor().text(text) == cleaned


@pytest.mark.parametrize(
    "text",
    [
        "max_tokens=512 took 1.2 s",
        "https://storage.supabase.co/ourvidz-images/u/j.jpg",
        "https://host:7861/users/@me",
        "sb_publishable_abc",
        "the token was refused",
        "claim 0f8fad5b-d9cb-469f-a165-70867728950e",
    ],
)
def test_what_is_no_secret_stays(text: str) -> None:
    """A log that hides everything is no log."""
    assert Redactor().text(text) == text


def test_fields_named_as_secrets_are_hidden_whole() -> None:
    """Whatever the value looks like; None shows that there is none."""
    given_fields = {
        "api_key": 7, "token": ["x"], "db.password": "p", "access_token": None,
        "max_tokens": 5, "secretary": "s",
    }  # fmt: skip

    assert Redactor().value(given_fields) == {
        "api_key": HIDDEN, "token": HIDDEN, "db.password": HIDDEN, "access_token": None,
        "max_tokens": 5, "secretary": "s",
    }  # fmt: skip


def test_loops_and_unprintable_objects_end() -> None:
    """Logging must not fail on what it is given."""

    class Unprintable:
        def __str__(self) -> str:
            raise RuntimeError

    loop: list[object] = []
    loop.append(loop)

    assert json.dumps(Redactor().value(loop))
    assert Redactor().value(Unprintable()) == "<Unprintable: RuntimeError in __str__>"


@pytest.mark.timeout(60)
def test_long_hostile_text_is_handled_in_time() -> None:
    """No pattern goes quadratic on text that almost matches."""
    redactor = redactor_of("hunter2")

    for part in ("a://", "eyJ", "token=", "postgres://a:", "bearer ", "a:b@"):
        redactor.text(part * 20_000)

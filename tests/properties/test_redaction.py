"""No secret leaves the process as text, whatever it consists of and wherever it stands."""

import json
from urllib.parse import quote

from hypothesis import given
from hypothesis import strategies as st

from daemon.telemetry.redaction import _PATTERNS, HIDDEN, Redactor, _may_match

WORDS = (
    "eyJhbGciOiJIUzI1NiJ9.e30.x", "sb_secret_abc", "postgres://a:b@c", "https://u:p@h/",
    "Bearer abcdefgh", "api-key=x", "x_api_key: y", "access_token=z", "password='q'", "secret = s",
)  # fmt: skip

secrets = st.text(min_size=4, max_size=40).filter(lambda text: len(text.strip()) >= 4)
"""Any characters: quotes, newlines, percent signs, other scripts."""


def redactor_of(*secrets: str) -> Redactor:
    redactor = Redactor()
    for secret in secrets:
        redactor.register(secret)
    return redactor


@given(secret=secrets, before=st.text(max_size=20), after=st.text(max_size=20))
def test_registered_secret_vanishes_from_any_text(secret: str, before: str, after: str) -> None:
    """Wherever it stands, the secret is gone (unless the placeholder itself contains it)."""
    cleaned = redactor_of(secret).text(before + secret + after)

    assert secret not in cleaned.replace(HIDDEN, "")


@given(secret=st.text(min_size=8, max_size=40).filter(lambda text: len(text.strip()) >= 8))
def test_registered_secret_vanishes_in_every_spelling(secret: str) -> None:
    """Libraries print secrets escaped or percent-encoded."""
    redactor = redactor_of(secret)

    for spelled in (json.dumps(secret), repr(secret), quote(secret, safe="")):
        assert redactor.text(f"<{spelled}>").strip("<>\"'") == HIDDEN


@given(
    secret=secrets,
    shape=st.recursive(
        st.just("x{}y"),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.just("{}"), inner),
        max_leaves=6,
    ),
)
def test_registered_secret_vanishes_from_any_structure(secret: str, shape: object) -> None:
    """Keys and values at any depth."""

    def filled(part: object) -> object:
        match part:
            case str():
                return part.replace("{}", secret)
            case list():
                return [filled(item) for item in part]
            case dict():
                return {filled(key): filled(item) for key, item in part.items()}
        return part

    def texts(part: object) -> list[str]:
        match part:
            case str():
                return [part]
            case list():
                return [text for item in part for text in texts(item)]
            case dict():
                return [text for pair in part.items() for item in pair for text in texts(item)]
        return []

    for text in texts(redactor_of(secret).value(filled(shape))):
        assert secret not in text.replace(HIDDEN, "")


@given(text=st.text(max_size=60), word=st.sampled_from(WORDS), after=st.text(max_size=30))
def test_a_quick_look_misses_nothing(text: str, word: str, after: str) -> None:
    """What is looked for before the patterns are tried is part of all that they match."""
    for case in (word, word.upper(), word.title()):
        line = f"{text}{case}{after}"
        if any(pattern.search(line) for pattern, _ in _PATTERNS):
            assert _may_match(line)
            assert Redactor().text(line) != line or HIDDEN in line

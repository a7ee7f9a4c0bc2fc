"""Takes secrets out of everything that leaves the process as text: logs and status answers.

Two nets, since each has holes: values that are known to be secret (`register_secret`), in the
spellings in which they turn up, and patterns of secrets that nobody registered, such as a token
in the message of a library's exception.
"""

import json
import re
from collections import deque
from collections.abc import Iterator, Mapping
from collections.abc import Set as AbstractSet
from contextlib import suppress
from functools import lru_cache
from math import isfinite
from typing import Any
from urllib.parse import quote, quote_plus, unquote, urlsplit

HIDDEN = "[redacted]"

_SHORTEST = 4
"""Shorter values aren't registered: hiding "a" everywhere would destroy every line."""

_DEEPEST = 8
"""Levels of nesting that are walked; strangers' JSON may have any number, or be a loop."""

_PATTERNS: tuple[tuple[re.Pattern[str], str], ...] = (
    # A JSON Web Token, whole or cut off: its first part is base64 of '{"'.
    (re.compile(r"eyJ[A-Za-z0-9_-]{6,}(?:\.[A-Za-z0-9_-]*){0,2}"), HIDDEN),
    (re.compile(r"sb_secret_[A-Za-z0-9_-]+"), HIDDEN),
    # Passwords in connection strings. People paste them unencoded, so that a password may hold
    # "@" and "/": for PostgreSQL everything up to the last "@" goes. The bounds keep hostile text
    # from making the search quadratic.
    (
        re.compile(r"(?i)(postgres(?:ql)?(?:\+\w+)?://[^\s:/@]{0,200}):[^\s\"'<>]{0,500}@"),
        rf"\1:{HIDDEN}@",
    ),
    (
        re.compile(r"(?i)([a-z][a-z0-9+.-]{0,20}://[^\s:/@]{0,200}):[^\s/\"'<>]{1,500}@"),
        rf"\1:{HIDDEN}@",
    ),
    (re.compile(r"(?i)\b(bearer\s+)[A-Za-z0-9._~+/=-]{8,}"), rf"\1{HIDDEN}"),
    (
        re.compile(
            r"(?i)\b((?:x-)?api[-_]?key|access_token|refresh_token|token|password|passwd|secret)"
            r"(\\?[\"']?\s*[=:]\s*\\?[\"']?)(?!\[redacted\])[^\s\"'&,;\\]+"
        ),
        rf"\1\2{HIDDEN}",
    ),
)

_HINTS = ("eyj", "sb_secret_", "://", "bearer", "key", "token", "passw", "secret")
"""In lower case: without one of them no pattern matches. A line of the log has a dozen values, and
looking for these takes a tenth of the time."""

_SECRET_KEY = re.compile(
    r"(?i)(?:^|[-_.])(?:api[-_]?key|authorization|password|passwd|secret|dsn"
    r"|(?:access|refresh|auth|session)?[-_]?token)$"
)
"""Names of fields whose whole value is secret, whatever it looks like."""


class Redactor:
    """Hides registered values and well-known shapes of secrets. One for the process is enough."""

    def __init__(self) -> None:
        self._spellings: set[str] = set()
        self._known: re.Pattern[str] | None = None

    def register(self, secret: str) -> None:
        """Hide this value from now on, also where it is escaped or percent-encoded.

        Of a connection string the password alone is hidden too.
        """
        for part in {secret, secret.strip(), *_passwords(secret)}:
            if len(part.strip()) >= _SHORTEST:
                self._spellings.update(_spellings(part))
        if not self._spellings:
            return
        # Longest first: a secret that contains another one must vanish whole.
        ordered = sorted(self._spellings, key=len, reverse=True)
        self._known = re.compile("|".join(re.escape(spelling) for spelling in ordered))

    def text(self, text: str) -> str:
        """Return the text without secrets."""
        if self._known is not None and any(spelling in text for spelling in self._spellings):
            text = self._known.sub(HIDDEN, text)
        if _may_match(text):
            for pattern, replacement in _PATTERNS:
                text = pattern.sub(replacement, text)
        return text

    def value(self, value: Any, depth: int = 0) -> Any:
        """Return JSON data without secrets: containers walked, strange objects as text."""
        match value:
            case float():
                return value if isfinite(value) else str(value)
            case None | bool() | int():
                return value
            case str():
                return self.text(value)
            case Mapping() if depth < _DEEPEST:
                return {
                    self.text(_as_text(key)): HIDDEN
                    if item is not None and is_secret_name(key)
                    else self.value(item, depth + 1)
                    for key, item in value.items()
                }
            case list() | tuple() | deque() | AbstractSet() if depth < _DEEPEST:
                return [self.value(item, depth + 1) for item in value]
            case _:
                return self.text(_as_text(value))


def is_secret_name(name: Any) -> bool:
    """Say whether a field of this name is secret whatever it holds."""
    return isinstance(name, str) and _is_secret_name(name)


@lru_cache(maxsize=1024)
def _is_secret_name(name: str) -> bool:
    return _SECRET_KEY.search(name) is not None


def _may_match(text: str) -> bool:
    """Say whether a pattern could match; False: none does."""
    lower = text.lower()
    return any(hint in lower for hint in _HINTS)


def _as_text(value: Any) -> str:
    """Return `str(value)`; logging must not fail because an object can't describe itself."""
    try:
        return str(value)
    except Exception as error:  # noqa: BLE001 -- any class may raise anything here
        return f"<{type(value).__name__}: {type(error).__name__} in __str__>"


def _passwords(secret: str) -> Iterator[str]:
    with suppress(ValueError):  # not a URL after all
        password = urlsplit(secret).password
        if password is not None:
            yield password
            yield unquote(password)


def _spellings(secret: str) -> Iterator[str]:
    yield secret
    yield quote(secret, safe="")
    yield quote_plus(secret)
    yield json.dumps(secret)[1:-1]
    yield repr(secret)[1:-1]


_REDACTOR = Redactor()

register_secret = _REDACTOR.register
redact = _REDACTOR.text
redact_value = _REDACTOR.value

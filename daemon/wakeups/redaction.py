"""Keeps keys and passwords out of texts that reach a log, a state or an operator."""

import re
from urllib.parse import quote, quote_plus, unquote, urlsplit

_IN_URL = re.compile(r"(apikey|token|access_token|password)=[^&\s\"']+", re.IGNORECASE)
_LONGEST = 300


def redact(text: str, *secrets: str) -> str:
    """Return one line of at most 300 characters without the secrets, in any spelling of a URL."""
    spellings = {
        spell(secret) for secret in secrets if secret for spell in (str, quote, quote_plus)
    }
    for spelling in sorted(spellings, key=len, reverse=True):
        text = text.replace(spelling, "[redacted]")
    text = " ".join(_IN_URL.sub(r"\1=[redacted]", text).split())
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"


def secrets_of(dsn: str) -> tuple[str, ...]:
    """Return what must not be shown of a connection string: the whole, and its password."""
    try:
        password = urlsplit(dsn).password
    except ValueError:
        password = None
    return (dsn,) if not password else (dsn, password, unquote(password))


def error_text(error: BaseException, *secrets: str) -> str:
    """Say what went wrong, with the server's own words where it refused the handshake."""
    body = getattr(getattr(error, "response", None), "body", None)
    answer = f": {bytes(body).decode(errors='replace')}" if body else ""
    said = f": {error}" if str(error) else ""
    return redact(f"{type(error).__name__}{said}{answer}", *secrets)

"""What the worker shows to a Supabase project: one of its keys, and a token with its own role.

The gateway in front of a project knows only the project's own keys (`apikey`). Behind it, the
bearer token says as whom a request runs: a JWT whose role is `ourvidz_worker`, or without one the
key again, as with a secret or service role key.
"""

import asyncio
import base64
import json
import logging
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

_log = logging.getLogger(__name__)

ROLE = "ourvidz_worker"
"""The role that the migrations create."""

EXPIRED = "the worker's token has expired"
NEAR_S = 7 * 24 * 3600.0
"""So long before its end a token is complained of."""

_DAY_S = 24 * 3600
_LOOK_EVERY_S = 60.0
_SKEW_S = 60
"""Clocks differ, and a token from the future is refused."""
_SAYS_EXPIRED = re.compile(r"(?i)\b(?:jwt|token)(?: has)? expired\b|\"exp\" claim timestamp")


class Validity(StrEnum):
    """How much time a token has left."""

    FINE = "fine"
    NEAR = "near"
    OVER = "over"


@dataclass(frozen=True, slots=True)
class Credentials:
    """A key, and the token that goes with it; neither is ever shown."""

    key: str = field(repr=False)
    token: str | None = field(default=None, repr=False)

    @property
    def bearer(self) -> str:
        """Return what says as whom a request runs."""
        return self.token or self.key

    @property
    def secrets(self) -> tuple[str, ...]:
        """Return what must not be shown."""
        return (self.key,) if self.token is None else (self.key, self.token)

    def headers(self) -> dict[str, str]:
        """Return the headers of a request."""
        return {"apikey": self.key, "Authorization": f"Bearer {self.bearer}"}

    def validity(self, now: float) -> Validity:
        """Return how much time is left at `now`, in Unix seconds."""
        expires_at = expiry_of(self.bearer)
        if expires_at is None or expires_at - now > NEAR_S:
            return Validity.FINE
        return Validity.NEAR if expires_at > now else Validity.OVER

    def complaint(self, now: float) -> str | None:
        """Return a sentence if the token nears its end or is past it."""
        expires_at = expiry_of(self.bearer) or 0
        match self.validity(now):
            case Validity.FINE:
                return None
            case Validity.NEAR:
                return f"the worker's token expires in {_span(expires_at - now)}"
            case Validity.OVER:
                return EXPIRED


def claims_of(token: str) -> Mapping[str, Any]:
    """Return what a JWT says of itself; nothing for what is none. Only the server can prove it."""
    try:
        _, payload, _ = token.split(".")
        claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    except ValueError:
        return {}
    return claims if isinstance(claims, Mapping) else {}


def expiry_of(token: str) -> float | None:
    """Return when a token expires, in Unix seconds; None: it doesn't say, or is no JWT."""
    try:
        return float(claims_of(token)["exp"])
    except (ValueError, KeyError, TypeError):
        return None


def says_expired(text: str) -> bool:
    """Whether PostgREST, Realtime or Storage means that the token's time is over."""
    return _SAYS_EXPIRED.search(text) is not None


async def watch_expiry(credentials: Credentials, clock: Callable[[], float] = time.time) -> None:
    """Log once that the token nears its end, and once that it is over; a service, for ever."""
    logged = Validity.FINE
    while True:
        now = clock()
        if (validity := credentials.validity(now)) is not logged:
            logged = validity
            _log.warning("token must be replaced: %s", credentials.complaint(now))
        await asyncio.sleep(_LOOK_EVERY_S)


def mint(secret: str, days: int, now: float) -> str:
    """Sign a token of the worker's role with a project's JWT secret."""
    import jwt

    issued_at = int(now) - _SKEW_S
    claims = {"role": ROLE, "iat": issued_at, "exp": int(now) + days * _DAY_S}
    return jwt.encode(claims, secret, "HS256")


def _span(seconds: float) -> str:
    for unit, length in (("days", _DAY_S), ("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.0f} seconds"

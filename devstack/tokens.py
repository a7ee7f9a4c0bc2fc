"""Keys and tokens: who a request says it is, and the proof.

A token is a JWT signed with the project's secret; its `role` claim becomes the database role. Two
kinds of API key exist beside each other, as on a hosted project: legacy keys, which are themselves
tokens, and opaque `sb_...` keys, which only stand for a role.
"""

import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any
from uuid import UUID

import jwt

ALGORITHM = "HS256"
TEN_YEARS = 10 * 365 * 24 * 3600


def mint(
    secret: str,
    role: str,
    sub: str | UUID | None = None,
    expires_in: float = 3600,
    claims: Mapping[str, Any] | None = None,
) -> str:
    """Sign a token.

    Args:
        secret: The project's JWT secret.
        role: The database role that a request with this token gets.
        sub: The user's id; `auth.uid()` returns it.
        expires_in: Seconds until it expires; negative for one that already has.
        claims: Further claims.
    """
    now = int(time.time())
    issued = min(now, now + int(expires_in))
    payload = {"iss": "supabase", "role": role, "iat": issued, "exp": now + int(expires_in)}
    if sub is not None:
        payload |= {"sub": str(sub), "aud": "authenticated"}
    return jwt.encode(payload | dict(claims or {}), secret, ALGORITHM)


def verify(secret: str, token: str, *, leeway: float = 0) -> dict[str, Any]:
    """Return a token's claims.

    Raises:
        jwt.ExpiredSignatureError: It was valid once.
        jwt.InvalidTokenError: It never was, or isn't one.
    """
    # Clients of another clock must not be refused for an `iat` that lies a moment ahead.
    options: Any = {"verify_aud": False, "verify_iat": False}
    claims: dict[str, Any] = jwt.decode(
        token, secret, algorithms=[ALGORITHM], options=options, leeway=leeway
    )
    return claims


@dataclass(frozen=True)
class ApiKeys:
    """The keys that a client may present as `apikey`.

    Attributes:
        anon: Legacy key for browsers.
        service_role: Legacy key that passes row level security.
        publishable: Opaque successor of `anon`.
        secret: Opaque successor of `service_role`.
    """

    anon: str
    service_role: str
    publishable: str
    secret: str

    @classmethod
    def generate(cls, jwt_secret: str) -> "ApiKeys":
        """Make a new set for a project's secret."""
        return cls(
            anon=mint(jwt_secret, "anon", expires_in=TEN_YEARS),
            service_role=mint(jwt_secret, "service_role", expires_in=TEN_YEARS),
            publishable=f"sb_publishable_{secrets.token_urlsafe(24)}",
            secret=f"sb_secret_{secrets.token_urlsafe(24)}",
        )

    @classmethod
    def read(cls, kept: Mapping[str, str]) -> "ApiKeys":
        """Return a kept set; one of an earlier version holds a key more."""
        return cls(**{each.name: kept[each.name] for each in fields(cls)})

    def roles(self) -> dict[str, str]:
        """Return each key's database role."""
        return {
            self.anon: "anon",
            self.service_role: "service_role",
            self.publishable: "anon",
            self.secret: "service_role",
        }

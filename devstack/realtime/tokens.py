"""Decide whom a key or token stands for, and say no in the words of the real server.

The same refusal is worded in three ways: in the HTTP answer to a handshake, in the reply to a
join, and in the system message when a token was pushed or has run out.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import jwt

_MISSING_CLAIMS = "Fields `role` and `exp` are required in JWT"
_MALFORMED = "The token provided is not a valid JWT"
_SIGNATURE = "Failed to validate JWT signature"


class TokenError(Exception):
    """A token that isn't accepted.

    Attributes:
        handshake: The wording in the handshake's body.
        join: The reason in a join's reply.
        system: The system message that closes a channel.
    """

    def __init__(self, handshake: str, join: str, system: str) -> None:
        super().__init__(handshake)
        self.handshake = handshake
        self.join = join
        self.system = system

    @classmethod
    def missing(cls) -> "TokenError":
        """No key at all."""
        return cls("API key is missing", f"MalformedJWT: {_MALFORMED}", _MALFORMED)

    @classmethod
    def malformed(cls) -> "TokenError":
        """Not a JWT."""
        return cls(_MALFORMED, f"MalformedJWT: {_MALFORMED}", _MALFORMED)

    @classmethod
    def wrong_signature(cls) -> "TokenError":
        """Signed with another secret."""
        return cls(_SIGNATURE, f"JwtSignatureError: {_SIGNATURE}", ":signature_error")

    @classmethod
    def missing_claims(cls) -> "TokenError":
        """Without a role or an expiry."""
        return cls(_MISSING_CLAIMS, f"InvalidJWTToken: {_MISSING_CLAIMS}", _MISSING_CLAIMS)

    @classmethod
    def expired(cls, seconds: int) -> "TokenError":
        """Valid until some seconds ago."""
        ago = f"Token has expired {seconds} seconds ago"
        return cls("Token has expired", f"InvalidJWTToken: {ago}", ago)


@dataclass(frozen=True)
class Credentials:
    """An accepted key or token.

    Attributes:
        token: As the client sent it.
        role: The database role.
        claims: What policies read as `request.jwt.claims`.
        expires_at: Unix time; None for a key that only stands for a role.
    """

    token: str
    role: str
    claims: Mapping[str, Any]
    expires_at: float | None


class Verifier:
    """Verifies keys and tokens.

    Args:
        jwt_secret: The secret that tokens are signed with.
        api_keys: Role of each opaque key.
        now: The clock that tokens expire by.
    """

    def __init__(
        self, jwt_secret: str, api_keys: Mapping[str, str], now: Callable[[], float] = time.time
    ) -> None:
        self._secret = jwt_secret
        self._opaque = {key: role for key, role in api_keys.items() if _is_opaque(key)}
        self.now = now

    def verify_key(self, key: str | None) -> Credentials:
        """Accept the `apikey` of a handshake or request.

        Raises:
            TokenError: It is neither a known key nor a valid token.
        """
        if key is None:
            raise TokenError.missing()
        role = self._opaque.get(key)
        if role is not None:
            return Credentials(key, role, {"role": role}, None)
        return self.verify(key)

    def verify_join(self, token: Any, key: Credentials) -> Credentials:
        """Accept the `access_token` of a join; without one, the handshake's key counts.

        Raises:
            TokenError: The token isn't valid, or isn't any more.
        """
        if not isinstance(token, str) or _is_opaque(token):
            return key if key.expires_at is None else self.verify(key.token)
        return self.verify(token)

    def verify(self, token: str) -> Credentials:
        """Accept a signed token.

        Raises:
            TokenError: It isn't valid.
        """
        claims = self._claims(token)
        role, expires_at = claims.get("role"), claims.get("exp")
        if not isinstance(role, str) or not isinstance(expires_at, int | float):
            raise TokenError.missing_claims()
        if expires_at <= self.now():
            raise TokenError.expired(int(self.now()) - int(expires_at))
        return Credentials(token, role, claims, expires_at)

    def _claims(self, token: str) -> dict[str, Any]:
        # Only the signature is looked at here: the real server knows no audience, issuer or
        # subject, and words an expiry by its age.
        only_signature: Any = {
            f"verify_{claim}": False for claim in ("exp", "nbf", "iat", "aud", "iss", "sub", "jti")
        }
        try:
            claims: dict[str, Any] = jwt.decode(
                token, self._secret, algorithms=["HS256"], options=only_signature
            )
        except jwt.InvalidSignatureError as error:
            raise TokenError.wrong_signature() from error
        except jwt.InvalidTokenError as error:
            raise TokenError.malformed() from error
        return claims


def replaces(token: Any, current: Credentials) -> bool:
    """Whether a pushed `access_token` is a new token; null, opaque and the same one aren't."""
    return isinstance(token, str) and not _is_opaque(token) and token != current.token


def _is_opaque(key: str) -> bool:
    return key.startswith("sb_")

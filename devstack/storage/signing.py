"""Signed URLs: who holds one may do one thing with one object until it expires."""

from collections.abc import Mapping
from typing import Any

import jwt

from devstack.storage.errors import StorageError
from devstack.tokens import mint, verify


def signed_path(
    secret: str, kind: str, path: str, seconds: int, claims: Mapping[str, Any] | None = None
) -> tuple[str, str]:
    """Return the URL below `/storage/v1`, and its token.

    Args:
        secret: The project's JWT secret.
        kind: The route, `object/sign` or `object/upload/sign`.
        path: Bucket and name.
        seconds: How long it is valid.
        claims: What the holder's request shall know besides.
    """
    # The role of nobody: presented as a bearer, such a token opens nothing.
    token = mint(secret, "anon", None, seconds, {"url": path, "kind": kind, **(claims or {})})
    # Not percent-encoded: the clients do that.
    return f"/{kind}/{path}?token={token}", token


def opened(secret: str, kind: str, path: str, token: str) -> dict[str, Any]:
    """Return the claims of a signed URL, or refuse it."""
    try:
        claims = verify(secret, token)
    except jwt.InvalidTokenError as error:
        expired = isinstance(error, jwt.ExpiredSignatureError)
        message = '"exp" claim timestamp check failed' if expired else str(error)
        raise StorageError(400, "InvalidJWT", message) from None
    if claims.get("url") != path or claims.get("kind") != kind:
        raise StorageError(400, "InvalidSignature", "The url do not match the signature")
    return claims

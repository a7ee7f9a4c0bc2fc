"""Passwords as the database keeps them: salted and slow to guess, even in a development stack."""

import hashlib
import hmac
import secrets


def hashed(password: str) -> str:
    """Hash a password with a new salt."""
    salt = secrets.token_bytes(16)
    return f"{salt.hex()}${_scrypt(password, salt).hex()}"


def matches(password: str, known: str) -> bool:
    """Tell whether a password has this hash."""
    salt, digest = (bytes.fromhex(part) for part in known.split("$"))
    return hmac.compare_digest(_scrypt(password, salt), digest)


def _scrypt(password: str, salt: bytes) -> bytes:
    return hashlib.scrypt(password.encode(), salt=salt, n=2**14, r=8, p=1)

"""Refusals in the shape that the clients read; nearly all travel as HTTP 400, as they really do."""

import asyncpg
import jwt


class StorageError(Exception):
    """A refusal.

    Args:
        status: The status that the body states.
        error: What a program tells it by.
        message: What a person reads.
        http: The status on the wire.
    """

    def __init__(self, status: int, error: str, message: str, http: int = 400) -> None:
        super().__init__(message)
        self.status = status
        self.http = http
        self.body = {"statusCode": str(status), "error": error, "message": message}


def no_bucket() -> StorageError:
    """Return the answer to a bucket that isn't there or mustn't be seen."""
    return StorageError(404, "Bucket not found", "Bucket not found")


def no_object() -> StorageError:
    """Return the answer to an object that isn't there or mustn't be seen."""
    return StorageError(404, "not_found", "Object not found")


def invalid_key(name: str) -> StorageError:
    """Return the answer to a name that no object can have."""
    return StorageError(400, "InvalidKey", f"Invalid key: {name}")


def from_token(error: jwt.InvalidTokenError) -> StorageError:
    """Translate a token that isn't valid."""
    if isinstance(error, jwt.ExpiredSignatureError):
        message = '"exp" claim timestamp check failed'
        return StorageError(400, "InvalidJWT", message)
    return StorageError(403, "Unauthorized", str(error))


def from_database(error: asyncpg.PostgresError) -> StorageError:
    """Translate what row level security or a constraint said."""
    match error.sqlstate:
        case "42501":
            return StorageError(403, "Unauthorized", str(error))
        case "23505":
            return StorageError(409, "Duplicate", "The resource already exists")
        case "23503":
            return no_bucket()
        case _:
            return StorageError(500, "DatabaseError", str(error), http=500)

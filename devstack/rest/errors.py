"""Errors in PostgREST's shape, with its HTTP statuses."""

from typing import Any

import asyncpg
import jwt

from devstack.identity import KeyRefused

# The longest prefix of an SQLSTATE wins.
_STATUS_OF_SQLSTATE = {
    "08": 503,
    "09": 500,
    "0L": 403,
    "0P": 403,
    "23503": 409,
    "23505": 409,
    "25": 500,
    "25006": 405,
    "28": 403,
    "2D": 500,
    "38": 500,
    "39": 500,
    "3B": 500,
    "40": 500,
    "42883": 404,
    "42P01": 404,
    "42P17": 500,
    "53": 503,
    "53400": 500,
    "54": 500,
    "55": 500,
    "57": 500,
    "57P01": 503,
    "58": 500,
    "F0": 500,
    "HV": 500,
    "P0": 500,
    "P0001": 400,
    "XX": 500,
}


class ApiError(Exception):
    """An answer that isn't a result.

    Args:
        status: The HTTP status.
        code: PostgREST's code or an SQLSTATE.
        message: What went wrong.
        details: More about it.
        hint: What to do.
    """

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        details: str | None = None,
        hint: str | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.body: dict[str, Any] = {
            "code": code,
            "details": details,
            "hint": hint,
            "message": message,
        }
        self.headers: dict[str, str] = {}


def from_gate(error: KeyRefused | jwt.InvalidTokenError) -> ApiError:
    """Translate a refused key or token."""
    if isinstance(error, KeyRefused):
        refused = ApiError(401, "", error.message)
        hint = "Double check your Supabase `anon` or `service_role` API key."
        refused.body = {"message": error.message, "hint": hint}
        return refused
    if isinstance(error, jwt.ExpiredSignatureError):
        refused = ApiError(401, "PGRST303", "JWT expired")
    else:
        refused = ApiError(401, "PGRST301", f"Invalid token: {error}")
    message = refused.body["message"]
    challenge = f'Bearer error="invalid_token", error_description="{message}"'
    refused.headers["WWW-Authenticate"] = challenge.replace("\n", " ")
    return refused


def from_database(error: asyncpg.PostgresError, role: str) -> ApiError:
    """Translate PostgreSQL's error; `role` is the one that the statement ran under."""
    code = error.sqlstate or "XX000"
    details, hint = getattr(error, "detail", None), getattr(error, "hint", None)
    message = str(getattr(error, "message", None) or error)
    return ApiError(_status(code, role), code, message, details, hint)


def _status(code: str, role: str) -> int:
    if code.startswith("PT") and code[2:].isdigit():
        return int(code[2:])
    if code == "42501":
        # Who hasn't said who he is may be allowed after saying it.
        return 401 if role == "anon" else 403
    for length in (5, 2):
        if code[:length] in _STATUS_OF_SQLSTATE:
            return _STATUS_OF_SQLSTATE[code[:length]]
    return 400


def parse_error(what: str, text: str) -> ApiError:
    """Return the answer to a query string that can't be read."""
    return ApiError(400, "PGRST100", f'"failed to parse {what} ({text})"')


def unknown_column(column: str, table: str) -> ApiError:
    """Return the answer to a payload with a column that the table lacks."""
    message = f"Could not find the '{column}' column of '{table}' in the schema cache"
    return ApiError(400, "PGRST204", message)


def not_single(rows: int) -> ApiError:
    """Return the answer to a request for one row that found another number."""
    details = f"The result contains {rows} rows"
    return ApiError(406, "PGRST116", "Cannot coerce the result to a single JSON object", details)

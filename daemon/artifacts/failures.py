"""What Storage's refusals mean: pure.

Storage answers many refusals with HTTP 400 and puts the real status, as text, into the body; a
proxy in front of it answers with a page. Both become one `RefusedError`.
"""

import json
from collections.abc import Mapping
from typing import Any

import httpx

from daemon.credentials import EXPIRED, says_expired
from daemon.jobs import ErrorCode, JobError

_CONFLICT = 409
_TOO_LARGE = 413
_WRONG_TYPE = 415
_PASSING = frozenset({408, 423, 425, 429})
_SERVER_ERROR = 500
_LONGEST = 200


class RefusedError(Exception):
    """Storage answered, and not with success.

    Args:
        status: the real status.
        code: Storage's word for it, or the empty string.
        message: its sentence, shortened.
    """

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(f"{status} {code}: {message}")
        self.status = status
        self.code = code
        self.message = " ".join(message.split())[:_LONGEST]

    @property
    def is_duplicate(self) -> bool:
        """Whether the file is there already: its path names our claim, so it is ours."""
        return self.status == _CONFLICT or "already exists" in self.message.lower()

    @property
    def is_missing_bucket(self) -> bool:
        """Whether the bucket doesn't exist, or isn't shown to this key."""
        return self.code == "NoSuchBucket" or "bucket not found" in f"{self.code} {self}".lower()


def refusal_of(response: httpx.Response) -> RefusedError:
    """Read an answer's refusal: JSON of Storage, or whatever a proxy wrote."""
    try:
        body = json.loads(response.content)
    except ValueError:
        body = None
    if not isinstance(body, Mapping):
        return RefusedError(response.status_code, "", response.text)
    return refusal_from(body.get("statusCode"), body, response.status_code)


def refusal_from(status: Any, body: Mapping[str, Any], http_status: int) -> RefusedError:
    """Build a refusal from Storage's fields; a status that isn't a number is the HTTP one."""
    try:
        real = int(status)
    except (TypeError, ValueError):
        real = http_status
    return RefusedError(real, str(body.get("error", "")), str(body.get("message", "")))


def is_passing(error: BaseException) -> bool:
    """Whether the same call may work a moment later."""
    if isinstance(error, RefusedError):
        return error.status >= _SERVER_ERROR or error.status in _PASSING
    return isinstance(error, httpx.TransportError)


def job_error(error: RefusedError | httpx.HTTPError, bucket: str, size: int) -> JobError:
    """Say in a sentence why a file of `size` bytes isn't stored, and whether a retry may help."""
    if not isinstance(error, RefusedError):
        said = str(error) or type(error).__name__
        return JobError(ErrorCode.NETWORK_ERROR, f"Storage can't be reached: {said}")
    if is_passing(error):
        return JobError(
            ErrorCode.NETWORK_ERROR, f"Storage answered {error.status}: {error.message}"
        )
    if says_expired(error.message):
        return JobError(ErrorCode.NETWORK_ERROR, f"Storage refuses the request: {EXPIRED}")
    if error.is_missing_bucket:
        sentence = (
            f'bucket "{bucket}" does not exist: create it in Supabase Storage, or name another '
            "one in the artifacts settings"
        )
    elif error.status == _TOO_LARGE:
        sentence = f'a file of {size / 2**20:.1f} MiB is larger than bucket "{bucket}" allows'
    elif error.status == _WRONG_TYPE:
        sentence = f'bucket "{bucket}" refuses the type of the file: {error.message}'
    else:
        sentence = f'Storage refused to write to bucket "{bucket}": {error.status} {error.message}'
    return JobError(ErrorCode.GENERATION_FAILED, sentence)

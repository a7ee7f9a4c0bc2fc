"""What schemathesis does beside its own: keys of their own for requests that would be repeats.

Most of its requests vary one value and keep the example's for all others. With one and the same
idempotency key they would be refused as other requests before anything else of them is looked at.
"""

import itertools
from typing import Any

import schemathesis

from daemon.server.job_endpoints import IDEMPOTENCY_KEY

_NUMBERS = itertools.count()
_REPEATED = 8
"""Of so many requests one keeps the key."""


@schemathesis.hook
def before_call(context: Any, case: Any, **kwargs: Any) -> None:
    """Give the request a key of its own, if its key is the example's."""
    number = next(_NUMBERS)
    name = IDEMPOTENCY_KEY.name
    if case.headers and case.headers.get(name) == IDEMPOTENCY_KEY.example and number % _REPEATED:
        case.headers[name] = f"request-{number}"

"""The one way in which tests wait for something that they can only see from outside."""

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

T = TypeVar("T")

LOOK_AGAIN_S = 0.03
PATIENCE_S = 60.0
"""When to give up, seconds. It says nothing of how soon a thing should come: a machine may be slow,
and busy with other things."""


async def eventually(
    condition: Callable[[], T | Awaitable[T]], within_s: float = PATIENCE_S, *, what: str = ""
) -> T:
    """Return the condition's answer as soon as it is true.

    Args:
        condition: looks from outside: at a row, a process, an HTTP answer.
        within_s: when to give up, seconds.
        what: said when it never became true; by default the condition's name.
    """
    deadline = time.monotonic() + within_s
    while True:
        answer = condition()
        found: T = await answer if inspect.isawaitable(answer) else answer
        if found:
            return found
        if time.monotonic() > deadline:
            wanted = what or getattr(condition, "__name__", repr(condition))
            raise AssertionError(f"not within {within_s:g} s: {wanted}; last seen: {found!r}")
        await asyncio.sleep(LOOK_AGAIN_S)

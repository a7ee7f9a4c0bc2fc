"""Two ways of waiting that the engine needs: without giving in, and with a bound."""

import asyncio
from typing import Any


async def uninterrupted(future: "asyncio.Future[Any]") -> None:
    """Wait for the end of what may not be left half-done; cancellation is raised afterwards."""
    interrupted = False
    while not future.done():
        try:
            await asyncio.wait({future})
        except asyncio.CancelledError:
            interrupted = True
    if interrupted:
        raise asyncio.CancelledError


async def set_within(event: asyncio.Event, seconds: float) -> bool:
    """Wait for an event, at most so long; return whether it is set."""
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return event.is_set()
    return True

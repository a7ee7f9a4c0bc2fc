"""Recordings of the real server, v2.129.8, played against ours: see `transcript_player`."""

from collections.abc import Callable
from typing import Any

import asyncpg
import pytest
from transcript_player import CLOSED_BY_SERVER, TRANSCRIPTS, Player

from devstack.realtime import RealtimeSettings

SETTINGS = {
    "poll_interval_s": 0.01,
    "idle_poll_interval_s": 0.01,
    "slot_linger_s": 0.2,
    "messages_retry_s": 0.3,
}

# `test_realtime_outages.py` and `test_realtime_reconstructed.py` play those in other folders.
NAMES = sorted(
    str(path.relative_to(TRANSCRIPTS).with_suffix(""))
    for path in TRANSCRIPTS.rglob("*.jsonl")
    if path.parent in (TRANSCRIPTS, TRANSCRIPTS / "vsn2")
)


@pytest.mark.parametrize("name", NAMES)
async def test_recording(
    name: str, serve: Callable[..., Any], database: asyncpg.Connection
) -> None:
    """The server answers as the recorded one did."""
    settings = RealtimeSettings(**SETTINGS, **CLOSED_BY_SERVER.get(name, {}))
    server = await serve(settings)

    await Player(name, f"{server.url}/realtime/v1/websocket", database).play()

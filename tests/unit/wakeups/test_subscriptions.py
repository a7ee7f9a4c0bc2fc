"""Which frames are hints, which are canaries, and which are neither."""

import json
from typing import Any

import pytest

from daemon.wakeups.subscriptions import BROADCAST, CHANGES, HINT


def change(table: str, **record: Any) -> str:
    data = {"table": table, "record": record, "type": "UPDATE", "errors": None}
    return frame("postgres_changes", {"data": data, "ids": [1]})


def frame(event: str, payload: Any) -> str:
    return json.dumps({"ref": None, "event": event, "payload": payload, "topic": "realtime:x"})


def sent(event: str, **payload: Any) -> str:
    return frame("broadcast", {"event": event, "payload": payload, "type": "broadcast"})


@pytest.mark.parametrize(
    ("text", "heard"),
    [
        (change("jobs", id="1"), HINT),
        (change("ourvidz_canary", id=1, serial=7), 7),
        # An error in place of a row says that something happened.
        (frame("postgres_changes", {"data": {"errors": ["Error 413"]}}), HINT),
        (frame("postgres_changes", None), HINT),
        (change("ourvidz_canary", id=1), HINT),
        (change("ourvidz_canary", id=1, serial="x"), HINT),
        (frame("phx_reply", {"status": "ok", "response": {"postgres_changes": []}}), None),
        (sent("wake"), None),
        ('{"event": "postgres_changes"', None),
        ('["postgres_changes"]', None),
        (b"postgres_changes", None),
        ("", None),
    ],
)
def test_changes(text: str | bytes, heard: object) -> None:
    """Rows are hints whatever they say; the canary's row is its serial."""
    assert CHANGES.read(text) == heard


@pytest.mark.parametrize(
    ("text", "heard"),
    [
        (sent("wake", id="1"), HINT),
        (sent("canary", serial=9, id="1"), 9),
        (sent("canary"), HINT),
        (change("jobs", id="1"), None),
        (frame("phx_reply", {"status": "ok"}), None),
    ],
)
def test_broadcasts(text: str, heard: object) -> None:
    """The trigger's message is a hint, the canary's is its serial."""
    assert BROADCAST.read(text) == heard


class Client:
    """Takes what a channel is asked with."""

    def channel(self, topic: str, options: Any) -> Any:
        return {"topic": topic, **options["config"]}


def test_a_gap_is_replayed(monkeypatch: pytest.MonkeyPatch) -> None:
    """From some seconds before the last thing that was heard, and not from an hour ago."""
    monkeypatch.setattr("time.time", lambda: 10_000.0)
    fresh: Any = BROADCAST.channel(Client())  # type: ignore[arg-type]  # a client's only method
    back: Any = BROADCAST.after_gap(60.0).channel(Client())  # type: ignore[arg-type]  # as above
    long: Any = BROADCAST.after_gap(9000.0).channel(Client())  # type: ignore[arg-type]  # as above

    assert fresh["private"] is True
    assert "replay" not in fresh["broadcast"]
    assert back["broadcast"]["replay"] == {"since": 9_935_000, "limit": 25}
    assert long["broadcast"]["replay"]["since"] == 9_395_000
    assert CHANGES.after_gap(60.0) is CHANGES

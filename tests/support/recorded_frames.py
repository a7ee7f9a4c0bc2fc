"""Compares a recorded frame with one of ours."""

import re
from typing import Any

UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|\+00:00)")


def compare(recorded: Any, ours: Any, key: str = "") -> None:
    """See that two frames say the same, but for ids and times."""
    where = (key, recorded, ours)
    if isinstance(recorded, dict):
        assert isinstance(ours, dict), where
        assert recorded.keys() == ours.keys(), where
        for name in recorded:
            compare(recorded[name], ours[name], name)
    elif isinstance(recorded, list):
        assert isinstance(ours, list), where
        assert len(recorded) == len(ours), where
        for left, right in zip(recorded, ours, strict=True):
            compare(left, right, key)
    elif key in ("id", "ids") and type(recorded) is int:
        assert type(ours) is int, where
    elif isinstance(recorded, str) and (pattern := _changing(recorded)):
        assert isinstance(ours, str), where
        assert pattern.fullmatch(ours), where
    else:
        assert (recorded, type(recorded)) == (ours, type(ours)), where


def _changing(text: str) -> "re.Pattern[str] | None":
    return next((pattern for pattern in (UUID, TIME) if pattern.fullmatch(text)), None)

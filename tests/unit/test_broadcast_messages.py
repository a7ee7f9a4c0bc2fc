"""What of a job fits into messages."""

import json
from typing import Any

from scripted import a_job

from daemon.broadcast_messages import messages_of
from daemon.journal import Event, Kind


def messages(*events: Event, **settings: Any) -> list[dict[str, Any]]:
    given = {"previews": True, "max_bytes": 1000} | settings
    return list(messages_of(a_job().id, events, **given).entries)


def test_a_long_text_is_cut_so_that_each_part_has_its_place() -> None:
    """Counted as JavaScript does, and below the server's limit whatever JSON makes of it."""
    text = "\0\N{GRINNING FACE}" * 1000
    found = messages(Event(3, Kind.TEXT, {"text": text, "offset": 7}))

    assert "".join(each["payload"]["text"] for each in found) == text
    assert all(len(json.dumps(each["payload"], ensure_ascii=False)) <= 1000 for each in found)
    places = [each["payload"]["offset"] for each in found]
    sizes = [len(each["payload"]["text"].encode("utf-16-le")) // 2 for each in found]
    assert places == [7 + sum(sizes[:number]) for number in range(len(sizes))]


def test_what_is_too_large_is_left_out() -> None:
    """A preview whole; of an end the result, which the row has."""
    events = [
        Event(1, Kind.PREVIEW, {"jpeg": bytes(2000)}),
        Event(2, Kind.END, {"status": "completed", "error": None, "result": {"r": "x" * 2000}}),
    ]
    found = messages_of(a_job().id, events, previews=True, max_bytes=1000)

    [end] = found.entries
    assert found.too_large == 2
    assert end["payload"] == {
        "number": 2,
        "status": "completed",
        "error": None,
        "result": None,
        "result_omitted": True,
    }


def test_an_answer_that_is_too_large_isnt_repeated() -> None:
    """That is no loss: its pieces have been sent."""
    events = [Event(1, Kind.ANSWER, {"text": "x" * 2000})]
    found = messages_of(a_job().id, events, previews=True, max_bytes=1000)

    assert (found.entries, found.too_large) == ([], 0)


def test_previews_can_be_left_out() -> None:
    """They are most of the bytes."""
    assert messages(Event(1, Kind.PREVIEW, {"jpeg": b"x"}), previews=False) == []

"""From a job's events to messages of Realtime: few, and small enough for the server. Pure.

What goes in one request arrives together, so all its text is one message, unless it is too long
for one.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from daemon.journal import Event, Kind
from daemon.transcript import units

TOPIC = "job:"
"""A job's private topic is this and its id."""

_MOST_BYTES_A_CHARACTER = 6
"""A control character in JSON, such as \\u0000."""


@dataclass(frozen=True, slots=True)
class Messages:
    """What one job has to say, as the entries of a request, and how much was left out."""

    entries: Sequence[dict[str, Any]]
    too_large: int


def messages_of(
    job_id: UUID, events: Sequence[Event], *, previews: bool, max_bytes: int
) -> Messages:
    """Return the messages of events that were taken together.

    Args:
        job_id: names the topic.
        events: in order.
        previews: whether pictures are sent.
        max_bytes: the size of a payload that the server takes; of a larger end the result is left
            out (the row has it), a larger picture is left out whole.
    """
    entries, too_large = [], 0
    for event in _with_text_joined(events):
        if event.kind is Kind.PREVIEW and not previews:
            continue
        for part in _parts(event, max_bytes):
            payload = {"number": part.number, **part.as_json()}
            if len(encoded(payload)) > max_bytes:
                if event.kind is Kind.ANSWER:
                    continue  # Its pieces have been sent.
                too_large += 1
                if event.kind is not Kind.END:
                    continue
                payload |= {"result": None, "result_omitted": True}
            entries.append(
                {
                    "topic": f"{TOPIC}{job_id}",
                    "event": event.kind.value,
                    "payload": payload,
                    "private": True,
                }
            )
    return Messages(entries, too_large)


def encoded(value: Any) -> bytes:
    """Return a value as JSON. Half a character, which a model may say, becomes a question mark."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return text.encode(errors="replace")


def _with_text_joined(events: Sequence[Event]) -> list[Event]:
    texts = [event for event in events if event.kind is Kind.TEXT]
    if len(texts) < 2:  # noqa: PLR2004 -- nothing to join
        return list(events)
    data = {"text": "".join(each.data["text"] for each in texts), "offset": texts[0].data["offset"]}
    whole = Event(texts[-1].number, Kind.TEXT, data)
    return [whole if event is texts[-1] else event for event in events if event not in texts[:-1]]


def _parts(event: Event, max_bytes: int) -> Iterator[Event]:
    """Cut a text that may be too large; what surrounds it takes less than a hundred bytes."""
    longest = max(1, (max_bytes - 100) // _MOST_BYTES_A_CHARACTER)
    if event.kind is not Kind.TEXT or len(event.data["text"]) <= longest:
        yield event
        return
    text, offset = event.data["text"], event.data["offset"]
    for begin in range(0, len(text), longest):
        part = text[begin : begin + longest]
        yield Event(event.number, Kind.TEXT, {"text": part, "offset": offset})
        offset += units(part)

"""Reads a recording of an outage: what was done, and what each stream heard of it. Pure.

Rows and messages came all the time and are numbered. The lines between them, marks, are what the
recorder did and what the server said: they divide the recording into phases.
"""

import json
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

TRANSCRIPTS = Path(__file__).parents[1] / "contract" / "transcripts" / "outages"
ROW = re.compile(r"values \((?:(?P<id>\d+), )?'(?P<type>\w+)'\)|^insert (?P<short>w\d+)$")
GAP = re.compile(r"values \('(?P<type>gap\d-\d+)'\)")
SEND = re.compile(r"""realtime\.send\('\{"n": "?(?P<n>\w+)"?\}'""")
BURST = "burst"


class Item(NamedTuple):
    """One numbered row or message; `nth` where a number was used again."""

    kind: str
    label: str
    nth: int = 1


class Stream(NamedTuple):
    """A channel of a client, as one that hears changes or one that hears messages."""

    client: str
    topic: str
    kind: str


@dataclass
class Phase:
    """What happened from one mark to the next.

    Attributes:
        mark: The line that begins it.
        ready: The streams that had been told, when it began, that they hear.
        done: The statements in it, with the time of each.
    """

    mark: dict[str, Any]
    ready: frozenset[Stream]
    done: list[tuple[float, str, Item]] = field(default_factory=list)

    def items(self, kind: str) -> list[Item]:
        """Return what was done of a kind, in order."""
        return [item for _, _, item in self.done if item.kind == kind]

    def concerns(self, stream: Stream) -> bool:
        """Whether the mark may change what a stream hears."""
        frame = self.mark["frame"]
        if self.mark["dir"] in ("send", "recv"):
            return (self.mark.get("client", ""), frame["topic"]) == stream[:2]
        return self.mark["dir"] in ("sql", "note")


@dataclass
class Segment:
    """Phases that are one for a stream, since nothing between them concerned it.

    Attributes:
        ready: Whether the stream had been told, when it began, that it hears.
        done: What was done of the stream's kind, in order.
        heard: What the stream heard of that, in order.
    """

    ready: bool
    done: list[Item]
    heard: list[Item]

    @property
    def lossless(self) -> bool:
        """Whether all were heard, but perhaps for the last, under way when the outage began."""
        return self.heard in (self.done, self.done[:-1])


@dataclass
class Recording:
    """A whole recording.

    Attributes:
        frames: The frame that told a stream of an item, in the order of the recording.
    """

    phases: list[Phase]
    frames: dict[tuple[Stream, Item], Any]

    def streams(self) -> set[Stream]:
        """Return all that ever heard or were ready to."""
        return {stream for phase in self.phases for stream in phase.ready} | {
            stream for stream, _ in self.frames
        }

    def segments(self, stream: Stream) -> list[Segment]:
        """Return what happened for one stream."""
        segments: list[Segment] = []
        for phase in self.phases:
            ready = stream in phase.ready
            if not segments or phase.concerns(stream) or segments[-1].ready != ready:
                segments.append(Segment(ready, [], []))
            segments[-1].done += phase.items(stream.kind)
        for segment in segments:
            segment.heard = [item for item in segment.done if (stream, item) in self.frames]
        return [segment for segment in segments if segment.done]


def item_of(statement: str) -> Item | None:
    """Return what a statement inserts or sends; None for any other. `nth` isn't known here."""
    if sent := SEND.search(statement):
        return Item("messages", sent["n"])
    if gap := GAP.search(statement):
        return Item("changes", gap["type"])
    if row := ROW.search(statement):
        return Item("changes", row["id"] or row["type"] or row["short"])
    return None


def heard_item(frame: Any) -> Item | None:
    """Return what a frame tells of; None for one that tells of no item."""
    match frame:
        case {"event": "postgres_changes", "payload": {"data": {"record": record}}}:
            return Item("changes", str(record.get("job_type", record["id"])))
        case {"event": "broadcast", "payload": {"event": "job", "payload": {"n": number}}}:
            return Item("messages", str(number))
    return None


def read(path: Path) -> Recording:
    """Read a recording."""
    recording = Recording([], {})
    ready: frozenset[Stream] = frozenset()
    times: Counter[Item] = Counter()
    for entry in _entries(path):
        client, frame = entry.get("client", ""), entry["frame"]
        done = item_of(frame) if entry["dir"] == "sql" else None
        told = heard_item(frame) if entry["dir"] == "recv" else None
        if done is not None:
            times[done] += 1
            item = done._replace(nth=times[done])
            recording.phases[-1].done.append((entry["t"], frame, item))
        elif told is not None:
            item = told._replace(nth=times[told])
            recording.frames[Stream(client, frame["topic"], told.kind), item] = frame
        else:
            ready = _ready_after(ready, entry)
            recording.phases.append(Phase(entry, ready))
    return recording


def _entries(path: Path) -> Iterator[dict[str, Any]]:
    for line in path.read_text().splitlines():
        entry = json.loads(line)
        # The recorder's name for itself in one of them.
        if entry["dir"] in ("sql", "note"):
            entry.pop("client", None)
        yield entry


def _ready_after(ready: frozenset[Stream], entry: dict[str, Any]) -> frozenset[Stream]:
    """Follow who hears: from the word of the server on, until the socket closes or joins anew."""
    client, frame = entry.get("client", ""), entry["frame"]
    if entry["dir"] == "close":
        return frozenset(stream for stream in ready if stream.client != client)
    match frame:
        case {"event": "phx_join", "topic": topic}:
            return frozenset(stream for stream in ready if stream[:2] != (client, topic))
        case {"event": "system", "topic": topic, "payload": {"status": "ok", "extension": by}}:
            kind = "changes" if by == "postgres_changes" else "messages"
            return ready | {Stream(client, topic, kind)}
    return ready

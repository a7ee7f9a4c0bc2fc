"""What one job has shown so far, numbered, for those who watch it. Pure, and bounded.

    step       how far it is; the latest takes the place of the one before
    preview    a picture of what is drawn; the same
    text       the next piece of an answer; `offset` says where in the answer it belongs
    answer     all of it so far, for those who can't ask for what they missed; made when wanted
    restarted  the run begins anew: text and preview before it don't count any more
    gap        text that isn't kept any more; the whole answer comes with the end
    end        how the row ended; nothing comes after it

Every event gets the next number, from 1. A reader has no queue: he says which number he saw last,
and takes what is newer, in order. So a slow one costs no memory, and misses steps and previews, but
no text that is still kept.
"""

import asyncio
import base64
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import TracebackType
from typing import Any, Self

from daemon.job_run import JobRun
from daemon.transcript import Transcript, units
from daemon.values import StepReport

MAX_PREVIEW = 2**18
"""Bytes; a larger preview isn't shown."""


class Kind(StrEnum):
    """The kinds of events, by the names that readers see."""

    STEP = "step"
    TEXT = "text"
    ANSWER = "answer"
    PREVIEW = "preview"
    RESTARTED = "restarted"
    GAP = "gap"
    END = "end"


@dataclass(frozen=True, slots=True)
class Event:
    """One thing to show; `data` is JSON but for a preview's `jpeg`, which is bytes."""

    number: int
    kind: Kind
    data: Mapping[str, Any]

    def as_json(self) -> Mapping[str, Any]:
        """Return the data; a picture is a URL that an `img` element shows as it is."""
        if self.kind is not Kind.PREVIEW:
            return self.data
        jpeg = base64.b64encode(self.data["jpeg"]).decode()
        return {"image": f"data:image/jpeg;base64,{jpeg}"}


Place = tuple[int, int]
"""Where a reader is: the last event that he was given, and how much of the answer."""


class Journal:
    """The events of one job, as far as anybody could still want them.

    What most jobs never have stands in the class: a journal is made for each of thousands of
    no-op jobs a second.
    """

    number = 0
    """Of the latest event."""
    ended = False
    closed = False
    """Nothing comes any more, whether the job ended or not."""
    idle_since: float | None = None
    """When the job ended or went back to the queue, monotonic seconds."""
    wakes: tuple[Callable[[], object], ...] = ()
    """Called at each event."""

    _report: StepReport | None = None
    _stepped = 0
    _preview = b""
    _shown = 0
    _transcript: Transcript | None = None
    _reason = ""
    _restarted = 0
    _end: Callable[[], Mapping[str, Any]] | None = None
    _given = 0
    """The latest event that any reader was given."""

    def __init__(self, run: JobRun) -> None:
        self.run = run

    def step(self, report: StepReport) -> None:
        """Take a step, and what is new with it."""
        if report.text:
            if self._transcript is None:
                self._transcript = Transcript()
            self.number += 1
            self._transcript.tell(self.number, report.text, self._given)
        if report.preview is not None and len(report.preview) <= MAX_PREVIEW:
            self.number += 1
            self._preview, self._shown = report.preview, self.number
        self.number = self._stepped = self.number + 1
        self._report = report
        for wake in self.wakes:
            wake()

    def restart(self, reason: str) -> None:
        """Forget text and preview: the run begins anew."""
        self.number += 1
        self._reason, self._restarted = reason, self.number
        self._report = self._transcript = None
        self._preview, self._shown = b"", 0
        for wake in self.wakes:
            wake()

    def end(self, data: Callable[[], Mapping[str, Any]]) -> None:
        """Take how the row ended; `data` is asked for when somebody wants it."""
        self.number += 1
        self._end, self.ended = data, True
        self.close()

    def close(self) -> None:
        """Say that nothing more comes."""
        self.closed = True
        for wake in self.wakes:
            wake()

    def has_drawn(self) -> bool:
        """Say whether a run that begins anew would contradict what was shown."""
        return self._transcript is not None or self._shown > 0

    def answer(self) -> str | None:
        """Return all text so far; None: there is none, or its beginning isn't kept any more."""
        return None if self._transcript is None else self._transcript.whole

    def since(self, number: int, told: int = 0) -> list[Event]:
        """Return what is newer than the event with that number, in order.

        Args:
            number: of the last event that the reader has; 0: none.
            told: how much of the answer he was given, so that he isn't given it twice.
        """
        if number >= self.number:
            return []
        self._given = self.number
        events = self._others(number)
        if self._transcript is not None:
            events += _texts(self._transcript, number, 0 if number < self._restarted else told)
        events.sort(key=lambda event: event.number)
        return _joined(events)

    def _others(self, number: int) -> list[Event]:
        events = []
        if self._restarted > number:
            events.append(Event(self._restarted, Kind.RESTARTED, {"reason": self._reason}))
        if self._stepped > number and self._report is not None:
            events.append(Event(self._stepped, Kind.STEP, _step(self.run, self._report)))
        if self._shown > number:
            events.append(Event(self._shown, Kind.PREVIEW, {"jpeg": self._preview}))
        if self._end is not None:
            events.append(Event(self.number, Kind.END, self._end()))
        return events


class Follower:
    """A reader of one job. Leaving the block ends it.

    Args:
        journal: what is read.
        number: of the last event that was seen; one that was never given belongs to another life
            of this worker, and everything is told anew.
        wake: called when something new has come; by default `changed` is set.
    """

    def __init__(
        self, journal: Journal, number: int = 0, wake: Callable[[], object] | None = None
    ) -> None:
        self._journal = journal
        self._number = number if number <= journal.number else 0
        self._stranger = self._number < number
        self._told = 0
        self.changed = asyncio.Event()
        """Set when there may be something to take, or nothing will come any more."""
        self.changed.set()
        self._wake = wake or self.changed.set
        journal.wakes += (self._wake,)

    def take(self) -> list[Event]:
        """Return what has come since the last time; of steps and previews the latest alone."""
        self.changed.clear()
        events = self._journal.since(self._number, self._told)
        for event in events:
            self._number = event.number
            if event.kind is Kind.TEXT:
                self._told = event.data["offset"] + units(event.data["text"])
            elif event.kind is Kind.RESTARTED:
                self._told = 0
        if self._stranger:
            self._stranger = False
            events.insert(0, Event(0, Kind.RESTARTED, {"reason": "again"}))
        return events

    def answer(self) -> Event | None:
        """Return the answer as far as it was taken, if all of it is kept."""
        text = self._journal.answer()
        return None if text is None else Event(self._number, Kind.ANSWER, {"text": text})

    @property
    def over(self) -> bool:
        """Whether everything was taken and nothing will come."""
        return self._journal.closed and self._number >= self._journal.number

    @property
    def ends(self) -> bool:
        """Whether nothing more will come than there is."""
        return self._journal.closed

    @property
    def paused(self) -> bool:
        """Whether the job went back to the queue: to be run here again, or by another worker."""
        return self._journal.idle_since is not None and not self._journal.ended

    @property
    def ended(self) -> bool:
        """Whether the job has ended, as far as it was told here."""
        return self._journal.ended

    @property
    def place(self) -> Place:
        """Where the reader is, to go back to when what he took was lost on its way."""
        return self._number, self._told

    def go_back(self, place: Place) -> None:
        """Take again what came after that place."""
        self._number, self._told = place

    def leave(self) -> None:
        """Hear no more."""
        wakes = list(self._journal.wakes)
        wakes.remove(self._wake)
        self._journal.wakes = tuple(wakes)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.leave()


def _step(run: JobRun, report: StepReport) -> dict[str, Any]:
    progress = run.progress()
    expected = progress.estimated_completion
    return {
        "current_step": report.current_step,
        "progress": progress.percent,
        "step": report.step,
        "steps": report.steps,
        "estimated_completion": None if expected is None else expected.isoformat(),
    }


def _texts(transcript: Transcript, number: int, told: int) -> list[Event]:
    events = [
        Event(each.number, Kind.TEXT, {"text": each.text, "offset": each.offset})
        for each in transcript.since(number, told)
    ]
    if transcript.lost_before > number:
        # Before the piece that it belongs to, and after what the reader has.
        gap = {"kind": Kind.TEXT.value, "offset": transcript.begins_at}
        events.insert(0, Event(transcript.lost_before - 1, Kind.GAP, gap))
    return events


def _joined(events: list[Event]) -> list[Event]:
    """Make one event of each run of texts: the last one's number says that all were given."""
    joined: list[Event] = []
    for event in events:
        before = joined[-1] if joined else None
        if before is not None and event.kind is before.kind is Kind.TEXT:
            text = before.data["text"] + event.data["text"]
            data = {"text": text, "offset": before.data["offset"]}
            joined[-1] = Event(event.number, Kind.TEXT, data)
        else:
            joined.append(event)
    return joined

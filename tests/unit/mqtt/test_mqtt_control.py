"""Commands are checked, allowed and bounded before anything is done."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID, uuid4

import pytest

from daemon.telemetry.logs import Level
from daemon.telemetry.mqtt.control import BURST, Answer, CommandName, Control

ALL: tuple[CommandName, ...] = ("drain", "resume", "cancel", "log_level")


@dataclass
class Controls:
    """Does nothing, and keeps a list of what it was told."""

    told: list[tuple[Any, ...]] = field(default_factory=list)

    def drain(self) -> Answer:
        self.told.append(("drain",))
        return Answer("done", "2 jobs are held")

    def resume(self) -> Answer:
        self.told.append(("resume",))
        return Answer("not_possible", "the worker is stopping")

    def cancel(self, job_id: UUID) -> Answer:
        self.told.append(("cancel", job_id))
        return Answer("done")

    def log_level(self, level: Level, logger: str | None) -> Answer:
        self.told.append(("log_level", level, logger))
        return Answer("done")


class Desk:
    """A control whose clock stands still."""

    def __init__(self, allowed: Sequence[CommandName] = ALL) -> None:
        self.now = 100.0
        self.controls = Controls()
        self.control = Control(self.controls, allowed, clock=lambda: self.now)

    def ask(self, name: str, **fields: Any) -> dict[str, Any] | None:
        body = {"id": str(uuid4()), "command": name, **fields}
        answer = self.control.take(json.dumps(body).encode())
        return None if answer is None else dict(json.loads(answer))


JOB = uuid4()


@pytest.mark.parametrize(
    ("name", "fields", "told"),
    [
        ("drain", {}, ("drain",)),
        ("cancel", {"job_id": str(JOB)}, ("cancel", JOB)),
        ("log_level", {"level": "debug"}, ("log_level", "debug", None)),
        ("log_level", {"level": "info", "logger": "a.b"}, ("log_level", "info", "a.b")),
    ],
)
def test_each_command_is_done(name: str, fields: Any, told: tuple[Any, ...]) -> None:
    """As it says."""
    desk = Desk()

    answer = desk.ask(name, **fields)

    assert answer is not None
    assert (answer["ok"], answer["code"], answer["command"]) == (True, "done", name)
    assert desk.controls.told == [told]


@pytest.mark.parametrize("allowed", [(), ("resume", "cancel", "log_level")])
def test_only_what_is_allowed_is_done(allowed: Sequence[CommandName]) -> None:
    """And the others are answered."""
    desk = Desk(allowed)

    answer = desk.ask("drain")

    assert answer is not None
    assert (answer["ok"], answer["code"], desk.controls.told) == (False, "forbidden", [])


def test_what_isn_t_possible_is_said() -> None:
    """No success is claimed."""
    answer = Desk().ask("resume")

    assert answer is not None
    assert (answer["ok"], answer["message"]) == (False, "the worker is stopping")


def test_a_second_one_of_the_same_id_is_only_answered() -> None:
    """A broker delivers at least once."""
    desk = Desk()

    answers = [desk.ask("drain", id="one") for _ in range(3)]

    assert [each and each["duplicate"] for each in answers] == [False, True, True]
    assert {each and each["message"] for each in answers} == {"2 jobs are held"}
    assert desk.controls.told == [("drain",)]


def test_one_that_was_refused_may_be_told_again() -> None:
    """Its id is remembered only when something was done."""
    desk = Desk(())
    desk.ask("drain", id="one")
    desk.control.allowed = ALL

    answer = desk.ask("drain", id="one")

    assert answer is not None
    assert (answer["ok"], answer["duplicate"]) == (True, False)


def test_a_flood_is_neither_heard_nor_answered() -> None:
    """And is counted; later they are heard again."""
    desk = Desk()

    answers = [desk.ask("drain") for _ in range(int(BURST) + 30)]

    assert sum(each is not None for each in answers) == BURST
    assert desk.control.counts.refused == 30
    desk.now += 1
    assert desk.ask("drain") is not None


def test_a_retained_one_is_not_heard() -> None:
    """It was meant for another time."""
    desk = Desk()

    answer = desk.control.take(b'{"id": "x", "command": "drain"}', retained=True)

    assert (answer, desk.controls.told) == (None, [])


@pytest.mark.parametrize(
    ("payload", "code"),
    [(b"[" * 4000, "invalid"), (b'{"id": 3, "command": "drain"}', "invalid"), (b"x" * 5000,
     "too_large"), (b'{"id": "x", "command": "drain", "more": 1}', "invalid"),
     (b'{"id": "x", "command": "log_level", "level": "info", "logger": "a\\n"}', "invalid")],
)  # fmt: skip
def test_what_is_no_command_is_refused(payload: bytes, code: str) -> None:
    """And nothing is done."""
    desk = Desk()

    answer = desk.control.take(payload)

    assert answer is not None
    assert json.loads(answer)["code"] == code
    assert desk.controls.told == []

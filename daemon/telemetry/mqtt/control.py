"""Commands: bounded, checked by their schema, allowed by the settings, answered. No I/O.

    rate -> size -> schema -> allowed? -> done before? -> done

A message beyond the rate isn't answered: answers would be the flood's echo. Every other one is.
"""

import time
from collections import OrderedDict
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import Annotated, Literal, Protocol
from uuid import UUID

import msgspec

from daemon.telemetry.logs import Level
from daemon.telemetry.mqtt.outgoing import Counts

CommandName = Literal["drain", "resume", "cancel", "log_level"]

MOST_BYTES = 4096
"""Of one command."""

PER_SECOND = 5.0
BURST = 20.0
"""Commands that are looked at: so many at once, and so many each second."""

_REMEMBERED = 256
"""Commands whose ids are known to have been done."""

_Id = Annotated[str, msgspec.Meta(min_length=1, max_length=100)]
_LoggerName = Annotated[str, msgspec.Meta(max_length=100, pattern=r"^[A-Za-z_][\w.]*\Z")]


class _Command(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="command"):
    id: _Id


class Drain(_Command, frozen=True, tag="drain"):
    """Take nothing new, finish what is held, and stay."""


class Resume(_Command, frozen=True, tag="resume"):
    """Take jobs again."""


class Cancel(_Command, frozen=True, tag="cancel"):
    """End a job that this worker holds, as its owner can."""

    job_id: UUID


class LogLevel(_Command, frozen=True, tag="log_level"):
    """Hear more or less: of one logger, or of all."""

    level: Level
    logger: _LoggerName | None = None


Command = Drain | Resume | Cancel | LogLevel
_DECODER = msgspec.json.Decoder(Command)
_ID_ALONE = msgspec.json.Decoder(dict[str, msgspec.Raw])


@dataclass(frozen=True)
class Answer:
    """What became of a command: `code` is `done`, or the word for why it wasn't."""

    code: Literal["done", "forbidden", "invalid", "too_large", "not_possible", "not_held", "failed"]
    message: str = ""


class Controls(Protocol):
    """What the daemon lets itself be told (`remote.RemoteControl`). No method waits."""

    def drain(self) -> Answer:
        """Take nothing new."""
        ...

    def resume(self) -> Answer:
        """Take jobs again."""
        ...

    def cancel(self, job_id: UUID) -> Answer:
        """End a held job."""
        ...

    def log_level(self, level: Level, logger: str | None) -> Answer:
        """Set what is logged."""
        ...


@dataclass
class Control:
    """Takes messages of the control topic.

    Args:
        controls: does what they say.
        allowed: the commands that may be given.
        counts: where commands and refusals are counted.
        clock: monotonic seconds.
    """

    controls: Controls
    allowed: Collection[CommandName]
    counts: Counts = field(default_factory=Counts)
    clock: Callable[[], float] = time.monotonic
    _done: OrderedDict[str, Answer] = field(default_factory=OrderedDict)
    _tokens: float = BURST
    _filled_at: float | None = None

    def take(self, payload: bytes, *, retained: bool = False) -> bytes | None:
        """Return the answer to a message, as JSON; None: it gets none.

        A retained message is older than this connection: what it asks for was meant for then.
        """
        if retained or not self._has_token():
            self.counts.refused += 1
            return None
        self.counts.commands += 1
        given, name, answer, duplicate = self._answered(payload)
        if answer.code != "done":
            self.counts.refused += 1
        return msgspec.json.encode(
            {
                "id": given,
                "command": name,
                "ok": answer.code == "done",
                "code": answer.code,
                "message": answer.message,
                "duplicate": duplicate,
            }
        )

    def _answered(self, payload: bytes) -> tuple[str | None, str | None, Answer, bool]:
        if len(payload) > MOST_BYTES:
            size = Answer("too_large", f"{len(payload)} bytes, and {MOST_BYTES} are allowed")
            return None, None, size, False
        try:
            command = _DECODER.decode(payload)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            return _id_of(payload), None, Answer("invalid", str(error)[:300]), False
        name = str(command.__struct_config__.tag)
        if name not in self.allowed:
            return command.id, name, Answer("forbidden", "mqtt.commands doesn't allow it"), False
        if (before := self._done.get(command.id)) is not None:
            return command.id, name, before, True
        answer = self._do(command)
        self._done[command.id] = answer
        if len(self._done) > _REMEMBERED:
            self._done.popitem(last=False)
        return command.id, name, answer, False

    def _do(self, command: Command) -> Answer:
        match command:
            case Drain():
                return self.controls.drain()
            case Resume():
                return self.controls.resume()
            case Cancel(job_id=job_id):
                return self.controls.cancel(job_id)
            case LogLevel(level=level, logger=logger):
                return self.controls.log_level(level, logger)

    def _has_token(self) -> bool:
        now = self.clock()
        passed_s = 0.0 if self._filled_at is None else now - self._filled_at
        self._filled_at = now
        self._tokens = min(BURST, self._tokens + passed_s * PER_SECOND)
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True


def _id_of(payload: bytes) -> str | None:
    """Return the id of a command that isn't right otherwise, for its sender to know which."""
    try:
        return msgspec.json.decode(_ID_ALONE.decode(payload)["id"], type=_Id)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, KeyError):
        return None

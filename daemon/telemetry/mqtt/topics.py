"""The names of a worker's topics, and which topics an answer may be sent to. Pure."""

import re
from dataclasses import dataclass
from uuid import UUID

_RESERVED = re.compile(r"[+#/$\x00-\x1f\x7f]")
"""What a level of a topic can't hold, or gives it another meaning."""

_LONGEST_ANSWER_TOPIC = 256


@dataclass(frozen=True)
class Topics:
    """`{prefix}/{worker}/…`; characters that a level can't hold become underscores."""

    prefix: str
    worker_id: str

    @property
    def worker(self) -> str:
        """What all of the worker's topics begin with."""
        return f"{self.prefix}/{_RESERVED.sub('_', self.worker_id) or '_'}"

    @property
    def status(self) -> str:
        """Presence; retained."""
        return f"{self.worker}/status"

    @property
    def telemetry(self) -> str:
        """What `/status` tells in short."""
        return f"{self.worker}/telemetry"

    @property
    def control(self) -> str:
        """Commands to this worker."""
        return f"{self.worker}/control"

    @property
    def answers(self) -> str:
        """Answers to commands that name no topic for theirs."""
        return f"{self.worker}/control/ack"

    def job(self, job_id: UUID) -> str:
        """Events of one job."""
        return f"{self.worker}/jobs/{job_id}"

    def answer_to(self, asked: str | None) -> str:
        """Return where an answer goes: where its asker wants it, or to the worker's own topic.

        Nobody has it sent to the fleet's own topics, where it could pass for a status or a command.
        """
        if not asked or len(asked) > _LONGEST_ANSWER_TOPIC:
            return self.answers
        within_fleet = asked == self.prefix or asked.startswith((f"{self.prefix}/", "$"))
        return self.answers if within_fleet or re.search(r"[+#\x00]", asked) else asked

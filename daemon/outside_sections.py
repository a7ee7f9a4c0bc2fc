"""The sections on what is told to others: the log, those who watch jobs, brokers, collectors."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BeforeValidator, Field, SecretStr, model_validator

from daemon.sections import Frozen, Positive, ProblemsError
from daemon.telemetry.mqtt.control import CommandName
from daemon.telemetry.prompts import Shown


class LiveSettings(Frozen):
    """What is sent to jobs' owners through Realtime beside results; see `docs/jobs.md`."""

    queued_ends: bool = True
    """Tell rows that nobody has claimed when they should end. Each that is told is a message."""
    broadcast: bool = False
    """Send steps, text and previews to jobs' owners."""
    interval_s: Positive = 0.25
    """Between two requests, at least."""
    previews: bool = True
    """Previews too: they are most of the bytes."""
    messages_per_s: Positive = 40.0
    """This worker's share of the project's rate, which the wake-ups' messages need too. The server
    counts a message when it is sent, and once more for each reader."""
    max_payload_bytes: int = Field(default=250_000, ge=1000)
    """What the server takes of one message: 256 kB on the free plan, 3 MB on others."""


class LogSettings(Frozen):
    """What is logged, and how; see `docs/logging.md`."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    """The least severe that is written."""
    format: Literal["text", "json", "auto"] = "text"
    """`auto`: text on a terminal, JSON elsewhere."""
    prompts: Annotated[Shown, BeforeValidator(lambda given: given or "false")] = "false"
    """What the log may show of what users wrote: nothing, how long it was, or all of it."""


class MqttSettings(Frozen):
    """Presence, telemetry, jobs' events and commands on an MQTT 5 broker; see `docs/mqtt.md`."""

    host: str | None = None
    """None: no broker."""
    port: int | None = Field(default=None, ge=1, le=65535)
    """None: 8883 with TLS, 1883 without."""
    tls: bool = True
    """Speak to the broker through TLS."""
    ca_file: Path | None = None
    """Who signed the broker's certificate; None: whom the system trusts."""
    cert_file: Path | None = None
    """The worker's own certificate, where the broker asks for one."""
    key_file: Path | None = None
    """Its private key."""
    username: str | None = None
    """What the broker knows the worker by."""
    password: SecretStr | None = None
    """The user's."""
    client_id: str = ""
    """By default prefix and worker; one of two clients with the same id is thrown out."""
    keepalive_s: int = Field(default=20, ge=5, le=3600)
    """A worker whose host is gone is told offline after one and a half times this."""
    prefix: str = Field(default="ourvidz", pattern=r"^[^+#$\x00/]([^+#\x00]*[^+#\x00/])?$")
    """What all topics begin with."""
    telemetry_s: Positive = 10.0
    """Between two messages of telemetry."""
    jobs: bool = True
    """Tell of rows' jobs: how far they are, and how they end."""
    users: bool = False
    """Tell whose they are, too."""
    interval_s: Positive = 0.5
    """Between two messages about the same job, at least."""
    messages_per_s: Positive = 50.0
    """Telemetry and jobs' events beyond that wait, and the oldest go."""
    queue: int = Field(default=1000, ge=1)
    """How many messages wait for a broker that is away or slow."""
    commands: tuple[CommandName, ...] = ()
    """What may be told from the control topic: drain, resume, cancel, log_level."""

    @model_validator(mode="after")
    def _goes_together(self) -> Self:
        if self.password is not None and self.username is None:
            raise ProblemsError(["username: a password is set without it"])
        if (self.cert_file is None) != (self.key_file is None):
            raise ProblemsError(["cert_file: it and key_file go together"])
        found = (self.ca_file, self.cert_file, self.key_file)
        if missing := [file for file in found if file is not None and not file.is_file()]:
            raise ProblemsError([f"{file}: there is no such file" for file in missing])
        return self


class TracingSettings(Frozen):
    """Traces of jobs for an OpenTelemetry collector, by OTLP over HTTP; see `docs/tracing.md`."""

    enabled: bool = False
    """Trace jobs and requests."""
    endpoint: str = Field(default="http://localhost:4318/v1/traces", pattern=r"^https?://")
    """Where the collector takes traces."""
    headers: Mapping[str, SecretStr] = {}
    """Sent along, such as a key that the collector asks for."""
    sample: float = Field(default=1.0, ge=0, le=1)
    """The share of jobs that is traced, where their sender hasn't decided."""
    service_name: str = "ourvidz-worker"
    """What the traces say that they come from."""

"""The sections of the settings: what each part of the worker can be told, and by default does."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, SecretStr, model_validator

from daemon.credentials import Credentials
from daemon.engines import options as engine_options
from daemon.job_types import Quality
from daemon.telemetry.mqtt.control import CommandName
from daemon.telemetry.prompts import Shown
from handlers.defaults import Defaults

GIB = 2**30
"""The unit of every "GB" of memory in `worker-api.md`, as GPU tools show it."""

Positive = Annotated[float, Field(gt=0)]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ProblemsError(ValueError):
    """Several things wrong inside one value, each as `path: sentence`."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("; ".join(problems))
        self.problems = problems


class DatabaseSettings(_Frozen):
    """How the jobs table is reached: directly, or through Supabase's REST interface."""

    dsn: SecretStr | None = None
    """A direct or session-mode connection string; None: through Supabase alone."""
    pool_size: int = Field(default=4, ge=1)
    statement_timeout_s: Positive = 10.0


class SupabaseSettings(_Frozen):
    """The Supabase project: REST, Realtime and Storage."""

    url: str | None = None
    key: SecretStr | None = None
    """One of the project's own keys: the gateway takes no other."""
    token: SecretStr | None = None
    """A JWT with the role `ourvidz_worker`; None: the key itself has the worker's rights."""
    timeout_s: Positive = 10.0

    @property
    def credentials(self) -> Credentials | None:
        """Return the key with its token; None: no project is configured."""
        if self.url is None or self.key is None:
            return None
        token = self.token.get_secret_value() if self.token else None
        return Credentials(self.key.get_secret_value(), token)


class WakeUpSettings(_Frozen):
    """How new rows are heard of; see `docs/wakeups.md`."""

    realtime: bool = True
    listen: bool = True
    broadcast: bool = True
    """The trigger's own messages, on a connection of their own, where the database can send them:
    on the real server they take 4 ms where `realtime` takes 290."""
    canary_interval_s: Positive = 60.0
    """Between two proofs that every source is alive, +-20 %; the fleet shares its canaries."""
    canary_within_s: Positive = 5.0
    """A source that hasn't heard a canary by then is replaced."""
    sweep_interval_s: Positive = 15.0
    """Longest time between two sweeps while a source is proven alive; jittered by 30 %."""
    sweep_interval_blind_s: Positive = 2.0
    """The same while none is."""
    recycle_after_s: Positive = 21600.0
    """A Realtime connection is replaced after 6 h +-20 %, long before keys' 24 h limit."""


class LeaseSettings(_Frozen):
    """How long a claim holds without being renewed. Seconds."""

    duration_s: Positive = 12.0
    renew_every_s: Positive = 4.0
    margin_s: Positive = 2.0
    """The local trust in a lease ends this long before the lease."""

    @model_validator(mode="after")
    def _leaves_two_tries(self) -> Self:
        if self.renew_every_s * 2 + self.margin_s > self.duration_s:
            raise ValueError(
                f"leases of {self.duration_s:g} s renewed every {self.renew_every_s:g} s leave no "
                f"second try before the margin of {self.margin_s:g} s"
            )
        return self


class ModelSettings(_Frozen):
    """One family's model: where it is, which engine runs it, and its share of the device."""

    path: str = ""
    """A folder or file of weights, or a hub name; a path that doesn't exist fails the load."""
    name: str = ""
    """The name shown in `model_info`; by default the last part of the path."""
    runner: Literal["vllm", "transformers", "diffusers", "fake"] = "diffusers"
    dtype: Literal["auto", "float32", "float16", "bfloat16"] = "auto"
    device: str = "auto"
    """`auto`: cuda where there is one, else cpu."""
    budget_gb: Positive
    weights_gb: Positive
    max_concurrent: int = Field(ge=1)
    footprint_gb: Mapping[Quality, Positive]
    """Whole footprint by quality at the stated concurrency."""
    concurrency: Mapping[Quality, int]
    load_s: Positive = 10.0
    """Seconds that a load from disk is expected to take, until some were seen."""
    restore_s: Positive = 2.0
    """The same of a load from the host's memory, and of the way there."""
    run_s: Mapping[Quality, Positive] = {}
    """Seconds that a run is expected to take, by quality, until some were seen."""
    weight: Positive = 1.0
    """What a second of a job's waiting costs, against other models' jobs."""
    options: Mapping[str, Any] = {}
    """The runner's own and those of its process; see `docs/models.md`."""
    defaults: Mapping[Quality, Defaults] = {}
    """What requests get that don't say, such as four steps for a turbo checkpoint."""

    @model_validator(mode="after")
    def _options_are_known(self) -> Self:
        if problems := engine_options.problems(self.runner, self.options):
            raise ProblemsError([f"options.{problem}" for problem in problems])
        return self


class EnhanceSettings(_Frozen):
    """How the chat model rewrites the prompts of `*_enhanced` jobs."""

    instruction: str = ""
    """What it is told; empty: the default, see `docs/jobs.md`."""
    max_tokens: int = Field(default=200, ge=1, le=4096)
    temperature: float = Field(default=0.7, ge=0, le=2)


class DeviceSettings(_Frozen):
    """The GPU memory that may be used."""

    simulate_gb: Positive | None = None
    """A simulated device of this size instead of the GPUs; None: ask NVML."""
    reserve_gb: float = Field(default=1.0, ge=0)
    """Kept free for the driver and for fragmentation."""
    host_gb: float | None = Field(default=None, ge=0)
    """The host's memory in which idle models may wait; None: half of what is available at the
    start, and nothing with a simulated device."""


class ArtifactSettings(_Frozen):
    """Where result files go."""

    kind: Literal["supabase", "local"] = "supabase"
    folder: Path = Path("artifacts")
    """The root of `local` storage."""
    public_url: str = ""
    """`local`: prefix of the URL in results; empty: a file URL."""
    images: str = "ourvidz-images"
    videos: str = "ourvidz-videos"
    thumbnails: str = "ourvidz-thumbnails"
    provenance: bool = True
    """Write job id, model, seed and parameters (the prompt among them) into the files."""
    signed_url_s: Positive = 7 * 24 * 3600.0
    """`supabase`: how long the URL of a file in a private bucket works; its path works longer."""


class ServerSettings(_Frozen):
    """The HTTP side server."""

    host: str | None = None
    """None: all interfaces with a key, loopback without."""
    port: int = Field(default=7861, ge=0, le=65535)
    api_key: SecretStr | None = None
    max_requests: int = Field(default=256, ge=1)
    """Requests for answers, pictures and films that are held at once, waiting ones included."""
    require_system_prompt: bool = True
    """A chat's `message` needs a `system_prompt` beside it, which may be empty."""
    unknown_fields: Literal["ignore", "refuse"] = "ignore"
    """What becomes of a request with a field that isn't known."""


class LiveSettings(_Frozen):
    """What is sent to jobs' owners through Realtime while their jobs run; see `docs/jobs.md`."""

    broadcast: bool = False
    interval_s: Positive = 0.25
    """Between two requests, at least."""
    previews: bool = True
    messages_per_s: Positive = 40.0
    """This worker's share of the project's rate, which the wake-ups' messages need too. The server
    counts a message when it is sent, and once more for each reader."""
    max_payload_bytes: int = Field(default=250_000, ge=1000)
    """What the server takes of one message: 256 kB on the free plan, 3 MB on others."""


class StopSettings(_Frozen):
    """The two steps of stopping. Seconds."""

    grace_s: float = Field(default=20.0, ge=0)
    """After the first signal: time to finish what runs."""
    release_s: Positive = 10.0
    """After that: time to stop at the next step, and to release."""


class LogSettings(_Frozen):
    """What is logged, and how; see `docs/logging.md`."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["text", "json", "auto"] = "text"
    """`auto`: text on a terminal, JSON elsewhere."""
    prompts: Annotated[Shown, BeforeValidator(lambda given: given or "false")] = "false"
    """What the log may show of what users wrote: nothing, how long it was, or all of it."""


class MqttSettings(_Frozen):
    """Presence, telemetry, jobs' events and commands on an MQTT 5 broker; see `docs/mqtt.md`."""

    host: str | None = None
    """None: no broker."""
    port: int | None = Field(default=None, ge=1, le=65535)
    """None: 8883 with TLS, 1883 without."""
    tls: bool = True
    ca_file: Path | None = None
    """Who signed the broker's certificate; None: whom the system trusts."""
    cert_file: Path | None = None
    key_file: Path | None = None
    """The worker's own certificate, where the broker asks for one."""
    username: str | None = None
    password: SecretStr | None = None
    client_id: str = ""
    """By default prefix and worker; one of two clients with the same id is thrown out."""
    keepalive_s: int = Field(default=20, ge=5, le=3600)
    """A worker whose host is gone is told offline after one and a half times this."""
    prefix: str = Field(default="ourvidz", pattern=r"^[^+#$\x00/]([^+#\x00]*[^+#\x00/])?$")
    telemetry_s: Positive = 10.0
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


class TracingSettings(_Frozen):
    """Traces of jobs for an OpenTelemetry collector, by OTLP over HTTP; see `docs/tracing.md`."""

    enabled: bool = False
    endpoint: str = Field(default="http://localhost:4318/v1/traces", pattern=r"^https?://")
    headers: Mapping[str, SecretStr] = {}
    """Sent along, such as a key that the collector asks for."""
    sample: float = Field(default=1.0, ge=0, le=1)
    """The share of jobs that is traced, where their sender hasn't decided."""
    service_name: str = "ourvidz-worker"

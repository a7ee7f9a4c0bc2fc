"""The sections of the settings: what each part of the worker can be told, and by default does."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    IPvAnyNetwork,
    SecretStr,
    model_validator,
)

from daemon.credentials import Credentials
from daemon.engines import options as engine_options
from daemon.job_types import Quality
from handlers.defaults import Defaults

GIB = 2**30
"""The unit of every "GB" of memory in `worker-api.md`, as GPU tools show it."""

Positive = Annotated[float, Field(gt=0)]

KEY_NAME = r"^[A-Za-z0-9._-]{1,64}$"
"""What the name of an API key looks like."""

KeyValue = Annotated[SecretStr, Field(min_length=1)]


class Frozen(BaseModel):
    """Base of all sections: nothing of them changes, and nothing unknown is let in."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class ProblemsError(ValueError):
    """Several things wrong inside one value, each as `path: sentence`."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("; ".join(problems))
        self.problems = problems


class DatabaseSettings(Frozen):
    """How the jobs table is reached: directly, or through Supabase's REST interface."""

    dsn: SecretStr | None = None
    """A direct or session-mode connection string; None: through Supabase alone."""
    pool_size: int = Field(default=4, ge=1)
    """Connections to the database at most, LISTEN and leases apart."""
    statement_timeout_s: Positive = 10.0
    """How long a call of the database may take. Seconds, as in all names with `_s`."""


class SupabaseSettings(Frozen):
    """The Supabase project: REST, Realtime and Storage."""

    url: str | None = None
    """The project's address, `https://<project>.supabase.co`."""
    key: SecretStr | None = None
    """One of the project's own keys: the gateway takes no other."""
    token: SecretStr | None = None
    """A JWT with the role `ourvidz_worker`; None: the key itself has the worker's rights."""
    timeout_s: Positive = 10.0
    """How long a request to the project may take."""

    @property
    def credentials(self) -> Credentials | None:
        """Return the key with its token; None: no project is configured."""
        if self.url is None or self.key is None:
            return None
        token = self.token.get_secret_value() if self.token else None
        return Credentials(self.key.get_secret_value(), token)


class WakeUpSettings(Frozen):
    """How new rows are heard of; see `docs/wakeups.md`."""

    realtime: bool = True
    """Hear of rows by change events of the table."""
    listen: bool = True
    """Hear of rows by NOTIFY on a direct connection, where there is one."""
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


class LeaseSettings(Frozen):
    """How long a claim holds without being renewed. Seconds."""

    duration_s: Positive = 12.0
    """So long after its last renewal a job is taken back from a worker."""
    renew_every_s: Positive = 4.0
    """Between two renewals."""
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


class ModelSettings(Frozen):
    """One family's model: where it is, which engine runs it, and its share of the device."""

    enabled: bool = True
    """Whether a worker that serves all models serves this one."""
    path: str = ""
    """A folder or file of weights, or a hub name; a path that doesn't exist fails the load."""
    name: str = ""
    """The name shown in `model_info`; by default the last part of the path."""
    runner: Literal["vllm", "transformers", "diffusers", "fake"] = "diffusers"
    """The library that runs the model; `fake` only pretends, for tests."""
    dtype: Literal["auto", "float32", "float16", "bfloat16"] = "auto"
    """The type of the weights; `auto`: what suits the device."""
    device: str = "auto"
    """`auto`: cuda where there is one, else cpu."""
    budget_gb: Positive
    """GPU memory that the model may ever take, 1 GB being 2^30 bytes."""
    weights_gb: Positive
    """Of which its weights take so much."""
    max_concurrent: int = Field(ge=1)
    """Runs at once, of whatever quality."""
    footprint_gb: Mapping[Quality, Positive]
    """Whole footprint by quality at the stated concurrency."""
    concurrency: Mapping[Quality, int]
    """Runs at once by quality, at which the footprint was measured."""
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


class EnhanceSettings(Frozen):
    """How the chat model rewrites the prompts of `*_enhanced` jobs."""

    instruction: str = ""
    """What it is told; empty: the default, see `docs/jobs.md`."""
    max_tokens: int = Field(default=200, ge=1, le=4096)
    """The longest rewritten prompt."""
    temperature: float = Field(default=0.7, ge=0, le=2)
    """How freely it rewrites."""


class DeviceSettings(Frozen):
    """The GPU memory that may be used."""

    simulate_gb: Positive | None = None
    """A simulated device of this size instead of the GPUs; None: ask NVML."""
    reserve_gb: float = Field(default=1.0, ge=0)
    """Kept free for the driver and for fragmentation."""
    host_gb: float | None = Field(default=None, ge=0)
    """The host's memory in which idle models may wait; None: half of what is available at the
    start, and nothing with a simulated device."""


class ArtifactSettings(Frozen):
    """Where result files go."""

    kind: Literal["supabase", "local"] = "supabase"
    """Supabase Storage, or a folder of this host."""
    folder: Path = Path("artifacts")
    """The root of `local` storage."""
    public_url: str = ""
    """`local`: prefix of the URL in results; empty: a file URL."""
    images: str = "ourvidz-images"
    """The bucket of pictures."""
    videos: str = "ourvidz-videos"
    """The bucket of films."""
    thumbnails: str = "ourvidz-thumbnails"
    """The bucket of films' thumbnails."""
    provenance: bool = True
    """Write job id, model, seed and parameters (the prompt among them) into the files."""
    signed_url_s: Positive = 7 * 24 * 3600.0
    """`supabase`: how long the URL of a file in a private bucket works; its path works longer."""


class LimitSettings(Frozen):
    """What one caller may ask for; None: as much as the worker has room for."""

    requests_per_minute: Annotated[float, Field(ge=1, allow_inf_nan=False)] | None = None
    """Requests that it may send, probes and metrics aside."""
    concurrent: int | None = Field(default=None, ge=1)
    """Requests that are answered at the same time, reading ones aside."""


class ServerLimits(LimitSettings):
    """The limits of every caller, and of single ones."""

    keys: Mapping[str, LimitSettings] = {}
    """By the name of the key; what one doesn't say is as for all."""

    def of(self, name: str) -> LimitSettings:
        """Return the limits of the caller with this key."""
        own = self.keys.get(name, LimitSettings())
        said = {field: getattr(own, field) for field in own.model_fields_set}
        return LimitSettings(
            requests_per_minute=said.get("requests_per_minute", self.requests_per_minute),
            concurrent=said.get("concurrent", self.concurrent),
        )


class ServerSettings(Frozen):
    """The HTTP side server; see `docs/security.md`."""

    host: str | None = None
    """None: all interfaces with a key, loopback without."""
    port: int = Field(default=7861, ge=0, le=65535)
    """Where it listens; 0: any free port."""
    api_key: SecretStr | None = None
    """What callers must show, as `X-API-Key` or as a bearer token."""
    max_requests: int = Field(default=256, ge=1)
    """Requests for answers, pictures and films that are held at once, waiting ones included."""
    require_system_prompt: bool = True
    """A chat's `message` needs a `system_prompt` beside it, which may be empty."""
    unknown_fields: Literal["ignore", "refuse"] = "ignore"
    """What becomes of a request with a field that isn't known."""
    api_keys: Mapping[Annotated[str, Field(pattern=KEY_NAME)], KeyValue] = {}
    """Further keys by the name of who has them; `default` is `api_key`'s."""
    api_keys_file: Path | None = None
    """More of them, one `name: key` a line; read again when it changes."""
    limits: ServerLimits = ServerLimits()
    max_body_bytes: int = Field(default=2**20, ge=1024)
    """Of a request's body; a larger one is refused before it is read."""
    body_timeout_s: Positive = 15.0
    """A request's body must have come by then."""
    header_timeout_s: Positive = 10.0
    """A request's headers must have come so long after the connection or their first byte."""
    keepalive_s: Positive = 75.0
    """How long a connection may wait for its next request."""
    max_connections: int = Field(default=1024, ge=1)
    """At once; further ones are closed as they come."""
    cors_origins: tuple[str, ...] = ()
    """Origins of web pages that may call, such as `https://app.example`, or `*`; empty: none."""
    trusted_proxies: tuple[IPvAnyNetwork, ...] = ()
    """Networks of proxies that say for whom they ask; nobody else is believed."""


class StopSettings(Frozen):
    """The two steps of stopping. Seconds."""

    grace_s: float = Field(default=20.0, ge=0)
    """After the first signal: time to finish what runs."""
    release_s: Positive = 10.0
    """After that: time to stop at the next step, and to release."""

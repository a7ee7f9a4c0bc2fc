"""What probes answer, as OpenAPI shows it. Figures are real or null; GB are 2**30 bytes."""

from typing import Any, Literal

from pydantic import Field

from daemon.server.replies import Failure, Reply, absent
from daemon.server.reports import ModelState

_Word = Literal["healthy", "degraded", "starting", "draining"]


class PromptFeatures(Reply):
    """What the worker promises of system prompts."""

    pure_inference_engine: bool
    no_prompt_overrides: bool
    respects_provided_prompts: bool
    template_override_risk: str


class PureInference(Reply):
    """That the worker adds nothing of its own."""

    hardcoded_prompts: bool
    prompt_modification: bool
    pure_inference: bool


class HealthReply(Reply):
    """How the worker is. While its own state can't be told, only the first three are there."""

    status: _Word
    architecture: str
    reasons: list[str] = Field(description="a sentence for each thing that is wrong")
    worker_type: str = absent()
    gpu_utilization: float | None = absent("percent")
    memory_usage: float | None = absent("of all GPUs, GB")
    active_jobs: int = absent("rows and requests that are held")
    uptime: int = absent("seconds")
    model_loaded: bool = absent("whether any model is")
    system_prompt_features: PromptFeatures = absent()
    capabilities: PureInference = absent()
    memory_reserved: float | None = absent("what weights and admitted jobs may take, GB")
    simulated_device: bool = absent()


class ChatHealthReply(Reply):
    """How chat is, whatever the other models do."""

    status: _Word
    architecture: str
    model_loaded: bool
    model_name: str
    model_state: ModelState
    active_chats: int = Field(ge=0, description="chat, enhance and generate, from rows and HTTP")
    waiting_chats: int = Field(ge=0, description="admitted to nothing yet")
    system_prompt_features: PromptFeatures
    system_prompt_respect_rate: float | None = Field(
        description="percent of this process's answers; null before the first"
    )
    reasons: list[str]


class ReadyReply(Reply):
    """New work is taken."""

    ready: Literal[True]
    reasons: list[str]


class NotReadyReply(Failure):
    """No new work is taken, and why."""

    ready: Literal[False]
    reasons: list[str]


class PerformanceReply(Reply):
    """How the jobs of this process went."""

    jobs_completed: int
    jobs_failed: int
    average_generation_time: float | None = Field(description="seconds, of the last 200 runs")
    success_rate: float | None = Field(description="percent")
    system_prompt_respect_rate: float | None = Field(description="percent")


class ResourcesReply(Reply):
    """What GPUs, disk and memory say; null where they say nothing."""

    gpu_utilization: float | None = Field(description="percent")
    memory_usage: float | None = Field(description="of all GPUs, GB")
    disk_usage: float | None = Field(description="GB")
    disk_total: float | None
    disk_utilization: float | None = Field(description="percent")
    memory_total: float | None
    memory_reserved: float | None
    process_memory: float | None
    temperature: float | None = Field(description="of the hottest GPU, °C")


class SecurityReply(Reply):
    """Who has the say over prompts."""

    template_override_risk: str
    hardcoded_prompts: bool
    edge_function_control: bool


class StatusReply(Reply):
    """Everything that an operator wants to know."""

    worker_type: str
    status: Literal["active", "degraded", "starting", "draining"]
    architecture: str
    performance: PerformanceReply
    resources: ResourcesReply
    models: dict[str, str] = Field(description="each model's state, and the architecture")
    security: SecurityReply
    worker_id: str
    version: str
    uptime: int = Field(description="seconds")
    active_jobs: int
    reasons: list[str]
    model_details: dict[str, Any]
    devices: list[dict[str, Any]]
    scheduler: dict[str, Any] = Field(description="its snapshot, as it is")
    jobs: list[dict[str, Any]] = Field(
        description="those that are held: where each is, where its time went, why it waits"
    )
    forecast: dict[str, Any] = Field(description="how promised ends fared, by kind of job")
    wakeups: dict[str, Any] = Field(description="each source's state")
    store: dict[str, Any] | None
    leases: dict[str, Any]
    queue: list[dict[str, Any]] | None
    counters: dict[str, float]


class InfoCapabilities(PureInference):
    """What this worker serves, by its configuration."""

    chat: bool
    enhancement: bool
    generation: bool
    image_generation: bool
    video_generation: bool


class InfoArchitecture(Reply):
    """Who has the say over prompts."""

    template_override_risk: str
    separation_of_concerns: str
    edge_function_control: bool


class InfoReply(Reply):
    """What this worker can do."""

    worker_type: str
    model: str | None
    capabilities: InfoCapabilities
    architecture: InfoArchitecture
    models: dict[str, str]

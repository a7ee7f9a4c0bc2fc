"""What an operator can set of a diffusion model; `docs/models.md` says what each one costs.

Pure: read by the daemon at its start and by the engine at its load. What can't go together is
refused here, if that can be seen without the checkpoint.
"""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

Scheduler = Literal[
    "euler", "euler_trailing", "euler_karras", "euler_a", "euler_a_trailing", "heun", "dpmpp_2m",
    "dpmpp_2m_karras", "dpmpp_2m_sde", "dpmpp_2m_sde_karras", "unipc", "ddim", "ddim_trailing",
    "deis", "lcm", "tcd", "flow_match_euler",
]  # fmt: skip
Attention = Literal[
    "native", "math", "efficient", "cudnn", "flex", "flash", "flash_3", "sage", "xformers"
]
File = Annotated[Path, AfterValidator(Path.expanduser)]
Quantized = Literal["fp8", "int8", "nf4"]


class Strict(BaseModel):
    """Base of options: unknown ones are refused, so that a slip of the pen isn't silence."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Lora(Strict):
    """A LoRA that is fused into the weights when they are loaded."""

    path: File
    """A .safetensors file."""
    weight: float = Field(default=1.0, ge=-4, le=4, allow_inf_nan=False)
    low_noise: bool = False
    """Wan 2.2: for its second transformer, which takes the steps of low noise."""

    @model_validator(mode="after")
    def _is_safetensors(self) -> Self:
        if self.path.suffix != ".safetensors":
            raise ValueError(f"{self.path.name} must be .safetensors: others can run code")
        return self

    @property
    def name(self) -> str:
        """The file's name without its ending, as results name it."""
        return self.path.stem


class FirstBlock(Strict):
    """Skip all blocks but the first when that one's output has hardly changed since a step."""

    kind: Literal["first_block"]
    threshold: float = Field(default=0.05, gt=0, le=1)
    """The relative change from which on all blocks are computed."""


class Pyramid(Strict):
    """Compute attention only every few steps, cross-attention half as often."""

    kind: Literal["pyramid"]
    every: int = Field(default=2, ge=2, le=8)
    start: int = Field(default=800, gt=0, le=1000)
    """From this timestep of 1000, counting down,"""
    end: int = Field(default=100, ge=0, lt=1000)
    """to this one: first and last steps are always computed whole."""

    @model_validator(mode="after")
    def _counts_down(self) -> Self:
        if self.start <= self.end:
            raise ValueError(f"start {self.start} must be above end {self.end}: steps count down")
        return self


StepCache = Annotated[FirstBlock | Pyramid, Field(discriminator="kind")]


class GroupOffload(Strict):
    """Weights wait on the host, and only those that compute are on the device."""

    level: Literal["block", "leaf"] = "block"
    blocks: int = Field(default=1, ge=1)
    """`block`: how many blocks move at once."""
    stream: bool = False
    """Fetch the next ones while these compute; needs pinned memory on the host."""


class DiffusionOptions(Strict):
    """The options of the `diffusers` runner."""

    config: File | None = None
    """A single file's configurations: a folder like a checkpoint's, which needs no weights."""
    vae: File | None = None
    """An autoencoder's folder, in place of the checkpoint's: a repaired one, or a tiny one."""
    transformer: File | None = None
    """Wan: a file with the transformer's weights, .gguf or .safetensors."""
    scheduler: Scheduler | None = None
    """None: the checkpoint's own."""
    flow_shift: float | None = Field(default=None, gt=0, le=100)
    """Wan: how far the steps lean towards noise; None: the checkpoint's own."""
    loras: tuple[Lora, ...] = ()
    prompt_pieces: int = Field(default=4, ge=1, le=16)
    """SDXL: how many pieces of 75 tokens of a prompt are read."""
    attention: Attention = "native"
    compile: bool = False
    channels_last: bool = False
    tiling: bool = False
    slicing: bool = False
    step_cache: StepCache | None = None
    quantize: Quantized | None = None
    """The denoiser's weights."""
    quantize_text: Literal["int8"] | None = None
    """The text encoders' weights."""
    group_offload: GroupOffload | None = None
    offload: bool = False
    """Let the weights wait on the host also without a GPU, where that gains nothing."""
    keep_host_copy: bool = False
    batch: int | None = Field(default=None, ge=1)
    """How many runs' steps are computed together at most; None: all on a GPU, one on a CPU."""
    previews: int = Field(default=0, ge=0)
    """A preview every so many steps; 0: none."""

    @model_validator(mode="before")
    @classmethod
    def _kinds_alone(cls, given: Any) -> Any:
        """Let `step_cache = "first_block"` and `group_offload = "block"` name a kind alone."""
        if not isinstance(given, dict):
            return given
        for name, key in (("step_cache", "kind"), ("group_offload", "level")):
            if isinstance(given.get(name), str):
                given = {**given, name: {key: given[name]}}
        return given

    @model_validator(mode="after")
    def _go_together(self) -> Self:
        if problems := list(self._clashes()):
            raise ValueError("; ".join(problems))
        return self

    @property
    def one_at_a_time(self) -> bool:
        """Whether the denoiser changes while it computes, so that runs must take turns."""
        hooked = self.step_cache is not None or self.group_offload is not None
        return hooked or self.quantize == "fp8"

    @property
    def stays(self) -> bool:
        """Whether the weights can't wait on the host when the scheduler wants it."""
        return self.group_offload is not None or self._packed is not None

    @property
    def _packed(self) -> str | None:
        """The kind of weights that keep more than the bytes that a move would copy."""
        kinds = (self.quantize, self.quantize_text)
        packed = next((kind for kind in kinds if kind in {"int8", "nf4"}), None)
        return "gguf" if self._gguf else packed

    @property
    def _gguf(self) -> bool:
        return self.transformer is not None and self.transformer.suffix == ".gguf"

    def _clashes(self) -> Iterator[str]:
        quantized = self.quantize or self.quantize_text
        if self.group_offload and quantized:
            yield "group_offload and quantize can't be combined: both replace how weights are kept"
        if self.stays and (self.offload or self.keep_host_copy):
            stays = "group_offload" if self.group_offload else self._packed
            yield f"{stays} keeps weights where they are: leave offload and keep_host_copy out"
        if self.compile and self.one_at_a_time:
            yield "compile goes with none of step_cache, group_offload and fp8: they change calls"
        if self._gguf and (self.loras or self.quantize or self.group_offload or self.compile):
            yield "a .gguf transformer goes with none of loras, quantize, group_offload and compile"
        if self.transformer and self.transformer.suffix not in {".gguf", ".safetensors"}:
            yield "transformer must be a .gguf or .safetensors file: others can run code"
        if self.one_at_a_time and (self.batch or 1) > 1:
            yield "batch must be 1 with step_cache, group_offload or fp8: their runs take turns"
        if len({re.sub(r"\W", "_", lora.name) for lora in self.loras}) < len(self.loras):
            yield "two loras have the same name"


def options_of(options: Mapping[str, Any]) -> DiffusionOptions:
    """Return a model's options, which the daemon has checked at its start."""
    return DiffusionOptions.model_validate(dict(options))

"""What every diffusion pipeline shares: many runs at once on one set of weights.

The weights don't change while they compute, but all around them does: the scheduler counts steps,
the pipeline keeps flags, tokenizers and some autoencoders keep buffers. So each run gets a shell
of its own (a copy of the pipeline object with a new scheduler, sharing the weights), and prompts
and latents are encoded and decoded by one run at a time.
"""

import copy
import threading
from typing import Any

from handlers.base import GENERATION_FAILED, Control, ModelSpec, RunError, Saving, StoppedError
from handlers.components import Components
from handlers.tiling import tiled

ENCODING = "encoding_prompt"
DECODING = "decoding"
_STEPS_FROM, _STEPS_TO = 0.02, 0.92
"""The share of a run that its steps take; the rest is for text before and pictures after."""

DECODING_FROM = 0.93


class DiffusionModel:
    """A loaded pipeline, as the runners of its families use it."""

    def __init__(self, spec: ModelSpec, pipeline: Any) -> None:
        self.name = spec.name
        self._spec = spec
        self._pipeline = pipeline
        self._pipeline.set_progress_bar_config(disable=True)
        self._alone = threading.Lock()
        self.device = pipeline.device
        """Where the pipeline computes, wherever its weights are at the moment."""
        self.components = Components(
            pipeline, self.device, keep=bool(spec.options.get("keep_host_copy"))
        )
        self._shell_kind = _computing_on(self.device, type(pipeline))

    def description(self) -> dict[str, str]:
        """Return what metadata says of the model."""
        return {"model": self._spec.model, "model_name": self.name}

    def savings(self) -> Saving:
        """Decode in tiles; on a GPU also have only the component there that computes."""
        moves = self.device.type == "cuda" and self.components.movable
        return Saving.OFFLOADED if moves else Saving.TILED

    def offloads(self) -> bool:
        """Say whether the weights may leave the device; without a GPU only where it is wanted."""
        wanted = self.device.type == "cuda" or bool(self._spec.options.get("offload"))
        return wanted and self.components.movable

    def offload(self) -> int:
        """Move all weights to the host's memory."""
        return self.components.offload()

    def restore(self) -> None:
        """Move all weights to the device."""
        self.components.restore()

    def close(self) -> None:
        """Let the weights go with the process."""

    def shell(self) -> Any:
        """Return a pipeline for one run, on the same weights."""
        shell = copy.copy(self._pipeline)
        shell.__class__ = self._shell_kind
        shell.scheduler = type(shell.scheduler).from_config(shell.scheduler.config)
        return shell

    def autoencoder(self, latents: Any, saving: int) -> Any:
        """Return what decodes these latents."""
        vae = self._pipeline.vae
        return vae if saving == Saving.NONE else tiled(vae, latents)

    def denoise(self, shell: Any, current_step: str, control: Control, **call: Any) -> Any:
        """Run the steps and return the latents.

        Raises:
            StoppedError: the run shall stop.
            RunError: GENERATION_FAILED, the model computed no numbers.
        """
        import torch

        def after_step(pipeline: Any, index: int, _: Any, values: dict[str, Any]) -> dict[str, Any]:
            total = pipeline.num_timesteps
            share = _STEPS_FROM + (_STEPS_TO - _STEPS_FROM) * (index + 1) / total
            try:
                control.step(current_step, share, index + 1, total)
            except StoppedError:
                # Not raised from here: the pipeline must still put away what it holds.
                pipeline._interrupt = True  # noqa: SLF001 -- diffusers' documented way
            return values

        latents = shell(**call, output_type="latent", callback_on_step_end=after_step)[0]
        # An interrupted pipeline returns a half-done picture as if nothing had happened.
        control.check()
        if not torch.isfinite(latents).all():
            raise RunError(
                GENERATION_FAILED,
                f"{self.name} computed values that are no numbers, which would be a black picture; "
                f"the dtype {latents.dtype} may be too small for these weights",
            )
        return latents

    def pixels(self, decoded: Any) -> Any:
        """Turn decoded values, -1 to 1 and channels first, into bytes with channels last."""
        import torch

        if not torch.isfinite(decoded).all():
            raise RunError(
                GENERATION_FAILED,
                f"the autoencoder of {self.name} computed values that are no numbers, which would "
                f"be a black picture; configure the dtype float32 or a repaired autoencoder",
            )
        levels = (decoded.float() / 2 + 0.5).clamp(0, 1).mul(255).round().to(torch.uint8)
        return levels.movedim(-3, -1).cpu().numpy()


def _computing_on(device: Any, kind: type[Any]) -> type[Any]:
    """Return a pipeline's class that computes on this device.

    By itself a pipeline computes where its first component is, which may be on the host.
    """
    return type(kind.__name__, (kind,), {"_execution_device": property(lambda _: device)})


def generator(seed: int) -> Any:
    """Return a source of noise; on the CPU, so that a seed means the same on every device."""
    import torch

    return torch.Generator("cpu").manual_seed(seed)

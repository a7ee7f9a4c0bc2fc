"""What every diffusion pipeline shares: many runs at once on one set of weights.

The weights don't change while they compute, but all around them does: the scheduler counts steps,
the pipeline keeps flags, tokenizers and some autoencoders keep buffers. So each run gets a shell
of its own (a copy of the pipeline object with a new scheduler, sharing the weights), and prompts
and latents are encoded and decoded by one run at a time.
"""

import copy
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from handlers.base import GENERATION_FAILED, Control, ModelSpec, RunError, Saving
from handlers.batching import Batching
from handlers.components import Components, Part, Use
from handlers.devices import placed_on
from handlers.diffusion_options import options_of
from handlers.drawing import Drawing
from handlers.placing import DENOISERS, denoisers_of, tuning_of
from handlers.previews import Previews, watch
from handlers.step_cache import StepCache
from handlers.tiling import decoder_for

ENCODING = "encoding_prompt"
DECODING = "decoding"
DECODING_FROM = 0.93

_LOOKS_EVERY_S = 0.1
"""How often a run that waits for its turn looks whether it shall stop."""


class DiffusionModel:
    """A loaded pipeline, as the runners of its families use it."""

    def __init__(self, spec: ModelSpec, pipeline: Any) -> None:
        self.name = spec.name
        self._spec = spec
        self._pipeline = pipeline
        self._pipeline.set_progress_bar_config(disable=True)
        self._alone = threading.Lock()
        self.options = options_of(spec.options)
        self.device = placed_on(spec)
        """Where the pipeline computes, wherever its weights are at the moment."""
        self.components = Components(
            pipeline, self.device, keep=self.options.keep_host_copy, stay=self.options.stays
        )
        self._shell_kind = _computing_on(self.device, type(pipeline))
        self.one_at_a_time = self.options.one_at_a_time
        """Whether the denoiser changes from step to step, so that runs must not mix."""
        self._tuning = tuning_of(self.options, pipeline)
        self._step_cache = StepCache(denoisers_of(pipeline), self.options.step_cache)
        self._step_cache.enable(spec)
        self._turns = threading.Lock()
        most = self.options.batch or (spec.max_concurrent if self.device.type == "cuda" else 1)
        # By default all on a GPU; on a CPU it gains nothing.
        self._batching = Batching(most, _settler(self.device))
        self.previews = Previews(self.options.previews)

    def description(self) -> dict[str, Any]:
        """Return what metadata says of the model."""
        return {"model": self._spec.model, "model_name": self.name, **self._tuning}

    def savings(self) -> Saving:
        """Decode in tiles; on a GPU also have only the component there that computes."""
        moves = self.device.type == "cuda" and self.components.movable
        return Saving.OFFLOADED if moves else Saving.TILED

    def offloads(self) -> bool:
        """Say whether the weights may leave the device; without a GPU only where it is wanted."""
        wanted = self.device.type == "cuda" or self.options.offload
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
        return decoder_for(vae, latents, saving, self.options)

    def colours(self) -> Any:
        """Return latents of a small picture of patches of any colours."""
        raise NotImplementedError

    def decoded(self, latents: Any, saving: int) -> Any:
        """Return what the autoencoder makes of latents; one run at a time may call it."""
        raise NotImplementedError

    def decode(self, latents: Any, saving: int) -> Any:
        """Return what latents were decoded to, when it is this run's turn."""
        with self._alone:
            decoded = self.decoded(latents, saving)
        self.previews.learn(latents, decoded)
        return decoded

    def teach_previews(self, use: Use, saving: int) -> None:
        """Decode patches before the first run whose steps shall be seen."""
        if self.previews.untaught and saving == Saving.NONE:
            with use.of(Part.DECODER):
                self.decode(self.colours().to(self.device), saving)

    def denoise(self, shell: Any, drawing: Drawing, saving: int, **call: Any) -> Any:
        """Run the steps and return the latents.

        Raises:
            StoppedError: the run shall stop.
            RunError: GENERATION_FAILED, the model computed no numbers.
        """
        import torch

        if self.previews.wanted:
            watch(shell.scheduler)
        with self._turn(drawing.control), self._batching.member() as member:
            self._step_cache.begin(shell)
            if saving == Saving.NONE and not self.one_at_a_time:
                for name in DENOISERS:
                    if (module := shell.__dict__.get(name)) is not None:
                        # Not by assignment: pipelines keep an account of what is assigned.
                        shell.__dict__[name] = self._batching.denoiser(module, member)
            latents = shell(**call, output_type="latent", callback_on_step_end=drawing.after_step)[
                0
            ]
        # An interrupted pipeline returns a half-done picture as if nothing had happened.
        drawing.control.check()
        if member.shared:
            drawing.notes["batched"] = True
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

    @contextmanager
    def _turn(self, control: Control) -> Iterator[None]:
        """Have the denoiser alone where runs must not mix."""
        if not self.one_at_a_time:
            yield
            return
        while not self._turns.acquire(timeout=_LOOKS_EVERY_S):
            control.check()
        try:
            yield
        finally:
            self._turns.release()


def _settler(device: Any) -> Any:
    """Return what waits until the device has computed everything."""
    import torch

    return torch.cuda.synchronize if device.type == "cuda" else lambda: None


def _computing_on(device: Any, kind: type[Any]) -> type[Any]:
    """Return a pipeline's class that computes on this device.

    By itself a pipeline computes where its first component is, which may be on the host.
    """
    return type(kind.__name__, (kind,), {"_execution_device": property(lambda _: device)})


def generator(seed: int) -> Any:
    """Return a source of noise; on the CPU, so that a seed means the same on every device."""
    import torch

    return torch.Generator("cpu").manual_seed(seed)

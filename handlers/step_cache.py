"""Steps that reuse what the last ones computed: faster, and a little less exact.

The cache lives in the denoiser, so runs take turns in the steps, and each begins with an empty
one: a seed then makes the same picture whatever ran before.
"""

from typing import Any

from handlers.base import ModelSpec
from handlers.diffusion_options import FirstBlock, Pyramid
from handlers.weights import refused


class StepCache:
    """The cache of one pipeline's denoisers; `chosen` None: none."""

    def __init__(self, denoisers: list[Any], chosen: FirstBlock | Pyramid | None) -> None:
        self._denoisers = denoisers if chosen is not None else []
        self._chosen = chosen
        self._shell: Any = None

    def enable(self, spec: ModelSpec) -> None:
        """Have the denoisers cache.

        Raises:
            RunError: MODEL_LOAD_FAILED, they can't.
        """
        for denoiser in self._denoisers:
            if not hasattr(denoiser, "enable_cache"):
                kind = type(denoiser).__name__
                raise refused(spec, f"options.step_cache is for transformers, and {kind} is none")
            denoiser.enable_cache(self._config())

    def begin(self, shell: Any) -> None:
        """Forget the run before this one, also where that one ended in an error."""
        self._shell = shell if self._denoisers else None
        for denoiser in self._denoisers:
            denoiser._reset_stateful_cache()  # noqa: SLF001 -- what diffusers calls after a run

    def _config(self) -> Any:
        from diffusers import FirstBlockCacheConfig, PyramidAttentionBroadcastConfig

        if isinstance(self._chosen, FirstBlock):
            return FirstBlockCacheConfig(threshold=self._chosen.threshold)
        if self._chosen is None:
            raise AssertionError("no cache was chosen")
        between = (self._chosen.end, self._chosen.start)
        return PyramidAttentionBroadcastConfig(
            spatial_attention_block_skip_range=self._chosen.every,
            spatial_attention_timestep_skip_range=between,
            spatial_attention_block_identifiers=("blocks",),
            cross_attention_block_skip_range=2 * self._chosen.every,
            cross_attention_timestep_skip_range=between,
            cross_attention_block_identifiers=("blocks",),
            current_timestep_callback=self._timestep,
        )

    def _timestep(self) -> int:
        return int(self._shell.current_timestep)

"""Pictures by Stable Diffusion XL."""

from typing import Any

from handlers.base import Control, ImageAnswer
from handlers.components import Part
from handlers.diffusion import (
    DECODING,
    DECODING_FROM,
    ENCODING,
    DiffusionModel,
    generator,
)
from handlers.drawing import Drawing
from handlers.long_prompts import Reading
from handlers.pictures import png
from handlers.previews import patches
from handlers.requests import ImageRequest


class SdxlModel(DiffusionModel):
    """Implements `base.ImageRunner` on a `StableDiffusionXLPipeline`."""

    def serves(self) -> frozenset[str]:
        """Return the handler of pictures."""
        return frozenset({"image"})

    def image(self, request: ImageRequest, seed: int, control: Control) -> ImageAnswer:
        """Return one picture as PNG."""
        import torch

        control.step(ENCODING, 0.0)
        drawing = Drawing("generating_image", control, self.previews)
        with torch.no_grad(), self.components.use(request.saving) as use:
            self.teach_previews(use, request.saving)
            shell = self.shell()
            with use.of(Part.TEXT):
                encoded = self._encoded(shell, request, drawing)
            with use.of(Part.DENOISER):
                latents = self.denoise(
                    shell,
                    drawing,
                    request.saving,
                    **encoded,
                    width=request.width,
                    height=request.height,
                    num_inference_steps=request.steps,
                    guidance_scale=request.guidance_scale,
                    generator=generator(seed),
                )
            control.step(DECODING, DECODING_FROM)
            with use.of(Part.DECODER):
                decoded = self.decode(latents, request.saving)
        return ImageAnswer(png(self.pixels(decoded)[0]), drawing.notes)

    def _encoded(self, shell: Any, request: ImageRequest, drawing: Drawing) -> dict[str, Any]:
        guided = request.guidance_scale > 1 and shell.unet.config.time_cond_proj_dim is None
        with self._alone:
            reading = Reading(
                shell,
                request.prompt,
                request.negative_prompt if guided else None,
                self.options.prompt_pieces,
            )
            prompt, negative, pooled, negative_pooled = reading.encode(self.device)
        drawing.notes |= reading.notes()
        return {
            "prompt_embeds": prompt,
            "negative_prompt_embeds": negative,
            "pooled_prompt_embeds": pooled,
            "negative_pooled_prompt_embeds": negative_pooled,
        }

    def colours(self) -> Any:
        """Return latents of a small picture of patches."""
        return patches(self._pipeline.vae.config.latent_channels)

    def decoded(self, latents: Any, saving: int) -> Any:
        """Decode as the pipeline does, but with an autoencoder that keeps its dtype.

        The pipeline casts it to float32 and back around each decoding, under the feet of the
        other runs; `diffusers_runner` loads it in float32 where it needs that.
        """
        import torch

        vae = self.autoencoder(latents, saving)
        latents = latents.to(vae.device, vae.dtype)
        mean, deviation = (
            getattr(vae.config, name, None) for name in ("latents_mean", "latents_std")
        )
        if mean is not None and deviation is not None:
            shape = (1, len(mean), 1, 1)
            scale = torch.tensor(deviation).view(shape).to(latents) / vae.config.scaling_factor
            latents = latents * scale + torch.tensor(mean).view(shape).to(latents)
        else:
            latents = latents / vae.config.scaling_factor
        return vae.decode(latents, return_dict=False)[0]

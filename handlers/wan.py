"""Films by Wan, and pictures as films of one frame."""

from typing import Any

from handlers.base import Control, VideoAnswer
from handlers.components import Part
from handlers.diffusion import DECODING, DECODING_FROM, ENCODING, DiffusionModel, generator
from handlers.pictures import jpeg, mp4, png
from handlers.requests import ImageRequest, VideoRequest

_PACKING = "encoding_video"
_PACKING_FROM = 0.98


class WanModel(DiffusionModel):
    """Implements `base.ImageRunner` and `base.VideoRunner` on a `WanPipeline`."""

    def serves(self) -> frozenset[str]:
        """Return the handlers of pictures and films."""
        return frozenset({"image", "video"})

    def image(self, request: ImageRequest, seed: int, control: Control) -> bytes:
        """Return a film's only frame as PNG."""
        return png(self._frames(request, 1, seed, "generating_image", control)[0])

    def video(self, request: VideoRequest, control: Control) -> VideoAnswer:
        """Return a film as MP4 (H.264), and its middle frame."""
        frames = self._frames(request, request.frames, request.seed, "generating_video", control)
        control.step(_PACKING, _PACKING_FROM)
        return VideoAnswer(mp4(frames, request.fps, control), jpeg(frames[len(frames) // 2]))

    def _frames(
        self,
        request: ImageRequest | VideoRequest,
        count: int,
        seed: int,
        current_step: str,
        control: Control,
    ) -> Any:
        import torch

        control.step(ENCODING, 0.0)
        with torch.no_grad(), self.components.use(request.saving) as use:
            shell = self.shell()
            with use.of(Part.TEXT):
                encoded = self._encoded(shell, request)
            with use.of(Part.DENOISER):
                latents = self.denoise(
                    shell,
                    current_step,
                    control,
                    **encoded,
                    width=request.width,
                    height=request.height,
                    num_frames=count,
                    num_inference_steps=request.steps,
                    guidance_scale=request.guidance_scale,
                    generator=generator(seed),
                )
            control.step(DECODING, DECODING_FROM)
            with use.of(Part.DECODER), self._alone:
                decoded = self._decoded(latents, request.saving)
        # One film: channels, frames, height, width.
        return self.pixels(decoded[0].movedim(1, 0))

    def _encoded(self, shell: Any, request: ImageRequest | VideoRequest) -> dict[str, Any]:
        with self._alone:
            prompt, negative = shell.encode_prompt(
                prompt=request.prompt,
                negative_prompt=request.negative_prompt,
                do_classifier_free_guidance=request.guidance_scale > 1,
                device=self.device,
            )
        return {"prompt_embeds": prompt, "negative_prompt_embeds": negative}

    def _decoded(self, latents: Any, saving: int) -> Any:
        """Decode as the pipeline does; the autoencoder keeps frames between its calls."""
        import torch

        vae = self.autoencoder(latents, saving)
        latents = latents.to(vae.device, vae.dtype)
        shape = (1, vae.config.z_dim, 1, 1, 1)
        mean = torch.tensor(vae.config.latents_mean).view(shape).to(latents)
        deviation = torch.tensor(vae.config.latents_std).view(shape).to(latents)
        return vae.decode(latents * deviation + mean, return_dict=False)[0]

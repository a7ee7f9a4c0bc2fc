"""Films by Wan, and pictures as films of one frame."""

from typing import Any

from handlers.base import Control, ImageAnswer, VideoAnswer
from handlers.components import Part
from handlers.diffusion import (
    DECODING,
    DECODING_FROM,
    ENCODING,
    DiffusionModel,
    generator,
)
from handlers.drawing import Drawing
from handlers.pictures import jpeg, mp4, png
from handlers.previews import patches
from handlers.requests import ImageRequest, VideoRequest

_PACKING = "encoding_video"
_PACKING_FROM = 0.98

_TOKENS = 512
"""What Wan was trained to read of a prompt."""


class WanModel(DiffusionModel):
    """Implements `base.ImageRunner` and `base.VideoRunner` on a `WanPipeline`."""

    def serves(self) -> frozenset[str]:
        """Return the handlers of pictures and films."""
        return frozenset({"image", "video"})

    def image(self, request: ImageRequest, seed: int, control: Control) -> ImageAnswer:
        """Return a film's only frame as PNG."""
        drawing = Drawing("generating_image", control, self.previews)
        frames = self._frames(request, 1, seed, drawing)
        return ImageAnswer(png(frames[0]), drawing.notes)

    def video(self, request: VideoRequest, control: Control) -> VideoAnswer:
        """Return a film as MP4 (H.264), and its middle frame."""
        drawing = Drawing("generating_video", control, self.previews)
        frames = self._frames(request, request.frames, request.seed, drawing)
        control.step(_PACKING, _PACKING_FROM)
        film = mp4(frames, request.fps, control)
        return VideoAnswer(film, jpeg(frames[len(frames) // 2]), notes=drawing.notes)

    def _frames(
        self, request: ImageRequest | VideoRequest, count: int, seed: int, drawing: Drawing
    ) -> Any:
        import torch

        drawing.control.step(ENCODING, 0.0)
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
                    num_frames=count,
                    num_inference_steps=request.steps,
                    guidance_scale=request.guidance_scale,
                    generator=generator(seed),
                )
            drawing.control.step(DECODING, DECODING_FROM)
            with use.of(Part.DECODER):
                decoded = self.decode(latents, request.saving)
        # One film: channels, frames, height, width.
        return self.pixels(decoded[0].movedim(1, 0))

    def _encoded(
        self, shell: Any, request: ImageRequest | VideoRequest, drawing: Drawing
    ) -> dict[str, Any]:
        guided = request.guidance_scale > 1
        with self._alone:
            prompt, negative = shell.encode_prompt(
                prompt=request.prompt,
                negative_prompt=request.negative_prompt,
                do_classifier_free_guidance=guided,
                # As the pipeline's own call does; by itself this method would read half of it.
                max_sequence_length=_TOKENS,
                device=self.device,
            )
            texts = (request.prompt, request.negative_prompt if guided else "")
            lengths = [_length(shell.tokenizer, text) for text in texts]
        drawing.notes["prompt_tokens"] = lengths[0]
        # One more is the mark at the end.
        drawing.notes["prompt_truncated"] = max(lengths) + 1 > _TOKENS
        return {"prompt_embeds": prompt, "negative_prompt_embeds": negative}

    def colours(self) -> Any:
        """Return latents of a small frame of patches."""
        return patches(self._pipeline.vae.config.z_dim).unsqueeze(2)

    def decoded(self, latents: Any, saving: int) -> Any:
        """Decode as the pipeline does; the autoencoder keeps frames between its calls."""
        import torch

        vae = self.autoencoder(latents, saving)
        latents = latents.to(vae.device, vae.dtype)
        shape = (1, vae.config.z_dim, 1, 1, 1)
        mean = torch.tensor(vae.config.latents_mean).view(shape).to(latents)
        deviation = torch.tensor(vae.config.latents_std).view(shape).to(latents)
        return vae.decode(latents * deviation + mean, return_dict=False)[0]


def _length(tokenizer: Any, text: str) -> int:
    """Return the tokens of a text as the pipeline tidies it."""
    from diffusers.pipelines.wan.pipeline_wan import prompt_clean

    return len(tokenizer(prompt_clean(text), add_special_tokens=False).input_ids)

"""Trains the tiny pipeline in the format of Stable Diffusion XL."""

import functools
import random
from pathlib import Path
from typing import Any

from devstack.models import tiny_sdxl
from devstack.models.training import autoencoders, captions, drawing
from devstack.models.training.learning import Course, learn

_SEED = 20
_AUTOENCODER = Course(1200, 2e-3)
_DECODER = Course(600, 1e-3)
_KINDS = {64: (12_000, 32), 128: (4000, 8)}
"""By side: how many pictures, how many at a time."""

_DENOISER = {
    "denoiser": (Course(3500, 1e-3), {64: 1.0}),
    "denoiser, large pictures too": (Course(900, 7e-4), {64: 0.4, 128: 0.6}),
}
"""Small pictures teach most in an hour; the numbers are shares of steps."""

_SAYINGS = 3
"""So many captions each picture gets."""

_WITHOUT_TEXT = 0.1
"""The share of pictures that are learned without their text, for guidance."""


def train(folder: Path) -> None:
    """Train everything, and write the pipeline to `folder` now and then."""
    import torch

    pipeline = tiny_sdxl.untrained(_SEED)
    rng = random.Random(_SEED)  # noqa: S311 -- repeatable on purpose
    vae = folder / "vae"
    if vae.is_dir():
        pipeline.register_modules(vae=type(pipeline.vae).from_pretrained(vae))
    else:
        _train_autoencoder(pipeline.vae, rng)
        _train_decoder(pipeline.vae, rng)
        pipeline.vae.save_pretrained(vae)
    lessons = _lessons(pipeline, rng)
    pipeline.unet.to(memory_format=torch.channels_last)
    for name, (course, shares) in _DENOISER.items():
        learn(
            name,
            [pipeline.unet, pipeline.text_encoder, pipeline.text_encoder_2],
            functools.partial(_denoiser_loss, pipeline, lessons, shares, rng),
            course,
            lambda: pipeline.save_pretrained(folder),
        )


def _train_autoencoder(vae: Any, rng: random.Random) -> None:
    import torch

    def loss() -> Any:
        return autoencoders.loss(vae, autoencoders.anything(rng, 32, 64))

    vae.to(memory_format=torch.channels_last)
    learn("autoencoder", [vae], loss, _AUTOENCODER, lambda: None)


def _train_decoder(vae: Any, rng: random.Random) -> None:
    """The decoder alone, on pictures as they will be asked for: small ones need the most care."""
    import torch

    def loss() -> Any:
        scenes = [captions.drawn_at_random(rng) for _ in range(32)]
        wanted = drawing.as_tensor(
            [drawing.picture(scene, drawing.pose(scene, rng), 64) for scene in scenes]
        )
        with torch.no_grad():
            latents = vae.encode(wanted).latent_dist.sample()
        off = vae.decode(latents).sample.float() - wanted
        return off.abs().mean() + off.pow(2).mean()

    learn("decoder", [vae.decoder, vae.post_quant_conv], loss, _DECODER, lambda: None)


def _lessons(pipeline: Any, rng: random.Random) -> dict[int, tuple[Any, Any]]:
    """Return latents and captions' tokens by side, and scale the autoencoder's latents."""
    import torch

    drawn: dict[int, Any] = {}
    tokens: dict[int, Any] = {}
    for side, (count, size) in _KINDS.items():
        scenes = [captions.drawn_at_random(rng) for _ in range(count)]
        drawn[side] = torch.cat(
            [
                _encoded(pipeline.vae, scenes[start : start + size], side, rng)
                for start in range(0, count, size)
            ]
        )
        sayings = [[scene.some_caption(rng) for scene in scenes] for _ in range(_SAYINGS)]
        tokens[side] = torch.stack([_tokens(pipeline.tokenizer, texts) for texts in sayings])
    every = torch.cat([latents.movedim(1, -1).flatten(0, -2) for latents in drawn.values()])
    mean, deviation = every.mean(0), every.std(0)
    autoencoders.scale(pipeline.vae, mean, deviation)
    shape = (1, -1, 1, 1)
    return {
        side: ((latents - mean.view(shape)) / deviation.view(shape), tokens[side])
        for side, latents in drawn.items()
    }


def _encoded(vae: Any, scenes: list[captions.Scene], side: int, rng: random.Random) -> Any:
    import torch

    drawn = [drawing.picture(scene, drawing.pose(scene, rng), side) for scene in scenes]
    with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
        return vae.encode(drawing.as_tensor(drawn)).latent_dist.mean.float()


def _denoiser_loss(
    pipeline: Any,
    lessons: dict[int, tuple[Any, Any]],
    shares: dict[int, float],
    rng: random.Random,
) -> Any:
    """Return how far the predicted velocity is off, for pictures of one size."""
    import torch
    from diffusers import DDPMScheduler

    noising = DDPMScheduler.from_config(pipeline.scheduler.config)
    (side,) = rng.choices(list(shares), list(shares.values()))
    latents, tokens = lessons[side]
    count = _KINDS[side][1]
    chosen = torch.randint(len(latents), (count,))
    clean = latents[chosen]
    texts, pooled = encode(pipeline, tokens[torch.randint(len(tokens), (count,)), chosen])
    with_text = (torch.rand(count) > _WITHOUT_TEXT).float()
    noise = torch.randn_like(clean)
    # Much noise more often than little: there it is decided what is drawn, and where.
    few = (1 - torch.rand(count) ** 2) * noising.config.num_train_timesteps
    times = few.long().clamp(max=noising.config.num_train_timesteps - 1)
    predicted = pipeline.unet(
        noising.add_noise(clean, noise, times).to(memory_format=torch.channels_last),
        times,
        texts * with_text.view(-1, 1, 1),
        added_cond_kwargs={
            "text_embeds": pooled * with_text.view(-1, 1),
            # As the pipeline says it: the whole picture, nothing cut off.
            "time_ids": torch.tensor([[side, side, 0, 0, side, side]] * count),
        },
    ).sample
    return (predicted.float() - noising.get_velocity(clean, noise, times)).pow(2).mean()


def encode(pipeline: Any, tokens: Any) -> tuple[Any, Any]:
    """Return texts and pooled texts as the pipeline makes them."""
    import torch

    first = pipeline.text_encoder(tokens, output_hidden_states=True)
    second = pipeline.text_encoder_2(tokens, output_hidden_states=True)
    texts = torch.cat([first.hidden_states[-2], second.hidden_states[-2]], -1)
    return texts, second.text_embeds


def _tokens(tokenizer: Any, texts: list[str]) -> Any:
    return tokenizer(
        texts, padding="max_length", max_length=tokenizer.model_max_length, return_tensors="pt"
    ).input_ids

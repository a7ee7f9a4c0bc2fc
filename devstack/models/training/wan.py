"""Trains the tiny pipeline in the format of Wan text-to-video."""

import math
import random
from pathlib import Path
from typing import Any

from devstack.models import tiny_wan
from devstack.models.training import autoencoders, captions, drawing
from devstack.models.training.learning import Course, learn

_SEED = 21
_SIDE = 64
_STILLS = Course(800, 3e-3)
_CLIPS = Course(1200, 2e-3)
_DECODER = Course(2000, 2e-3)
_DENOISER = Course(19_000, 1e-3)

_KINDS = {1: (3000, 32, 0.35), 9: (2500, 16, 0.65)}
"""By the number of frames: how many clips, how many at a time, which share of the steps."""

_FLOW_SHIFT = 5.0
"""Much noise more often than little: where things are is learned from it."""

_EVEN = 0.4
"""The share of steps with little noise as often as much: what outlines are learned from."""

_WITHOUT_TEXT = 0.1
_STILLS_OF_DECODER = 0.6
"""The share of its steps that have single frames."""

_BLUR = 0.2
"""Noise on latents, in their deviations: what the transformer makes is never quite clean."""

_TOKENS = 20
"""More than the longest caption has."""

_WHERES = (*captions.PLACES, *captions.MOVES, *captions.MOVES)


def train(folder: Path) -> None:
    """Train everything, and write the pipeline to `folder` now and then."""
    import torch

    pipeline = tiny_wan.untrained(_SEED)
    rng = random.Random(_SEED)  # noqa: S311 -- repeatable on purpose
    vae = folder / "vae"
    if vae.is_dir():
        pipeline.register_modules(vae=type(pipeline.vae).from_pretrained(vae))
    else:
        _train_autoencoder(pipeline.vae, rng)
        train_decoder(pipeline.vae, rng)
        pipeline.vae.save_pretrained(vae)
    lessons = _lessons(pipeline, rng)
    every = torch.cat([latents.movedim(1, -1).flatten(0, -2) for latents, _ in lessons.values()])
    mean, deviation = every.mean(0), every.std(0)
    pipeline.vae.register_to_config(latents_mean=mean.tolist(), latents_std=deviation.tolist())
    shape = (1, -1, 1, 1, 1)
    lessons = {
        frames: ((latents - mean.view(shape)) / deviation.view(shape), texts)
        for frames, (latents, texts) in lessons.items()
    }
    for block in pipeline.transformer.blocks:
        block.attn2.set_processor(_ManyAlike())
    learn(
        "denoiser",
        [pipeline.transformer, pipeline.text_encoder],
        lambda: _denoiser_loss(pipeline, lessons, rng),
        _DENOISER,
        lambda: pipeline.save_pretrained(folder),
    )


def _train_autoencoder(vae: Any, rng: random.Random) -> None:
    """Single frames first, for how things look; then clips, for how they move."""

    def stills(count: int = 32) -> Any:
        return autoencoders.loss(vae, autoencoders.anything(rng, count, _SIDE)[:, :, None])

    def clips() -> Any:
        scenes = [captions.drawn_at_random(rng, _WHERES) for _ in range(6)]
        frames = rng.choice([5, 5, 9])
        return autoencoders.loss(vae, _clips(scenes, frames, rng)) + 0.3 * stills(12)

    learn("autoencoder, stills", [vae], stills, _STILLS, lambda: None)
    learn("autoencoder, clips", [vae], clips, _CLIPS, lambda: None)


def train_decoder(vae: Any, rng: random.Random) -> None:
    """The decoder alone, on pictures as they will be asked for; latents stay what they are."""
    import torch

    def wanted() -> Any:
        if rng.random() < _STILLS_OF_DECODER:
            scenes = [captions.drawn_at_random(rng) for _ in range(32)]
            return _clips(scenes, 1, rng)
        scenes = [captions.drawn_at_random(rng, _WHERES) for _ in range(6)]
        return _clips(scenes, rng.choice([5, 9]), rng)

    def loss() -> Any:
        clip = wanted()
        with torch.no_grad():
            latents = vae.encode(clip).latent_dist.mean
            blur = latents.std((0, 2, 3, 4), keepdim=True) * _BLUR * rng.random()
        off = vae.decode(latents + blur * torch.randn_like(latents)).sample.float() - clip
        return off.abs().mean() + off.pow(2).mean()

    learn("decoder", [vae.decoder, vae.post_quant_conv], loss, _DECODER, lambda: None)


def _clips(scenes: list[captions.Scene], frames: int, rng: random.Random) -> Any:
    """Return clips as the autoencoder takes them: channels, frames, height, width."""
    return drawing.as_tensor(
        [drawing.clip(scene, drawing.pose(scene, rng), _SIDE, frames) for scene in scenes]
    )


def _lessons(pipeline: Any, rng: random.Random) -> dict[int, tuple[Any, list[str]]]:
    """Return latents and captions by the number of frames."""
    import torch

    lessons = {}
    for frames, (count, size, _) in _KINDS.items():
        # A single frame shows no move.
        wheres = _WHERES if frames > 1 else tuple(captions.PLACES)
        scenes = [captions.drawn_at_random(rng, wheres) for _ in range(count)]
        with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
            latents = [
                pipeline.vae.encode(
                    _clips(scenes[start : start + size], frames, rng)
                ).latent_dist.mean.float()
                for start in range(0, count, size)
            ]
        lessons[frames] = (torch.cat(latents), [scene.some_caption(rng) for scene in scenes])
    return lessons


def _denoiser_loss(
    pipeline: Any, lessons: dict[int, tuple[Any, list[str]]], rng: random.Random
) -> Any:
    """Return how far the predicted flow is off, for clips of one length."""
    import torch

    (frames,) = rng.choices(list(_KINDS), [share for _, _, share in _KINDS.values()])
    latents, captioned = lessons[frames]
    chosen = torch.randint(len(latents), (_KINDS[frames][1],))
    clean = latents[chosen]
    texts = [
        captioned[number] if rng.random() > _WITHOUT_TEXT else "" for number in chosen.tolist()
    ]
    even = torch.rand(len(clean), 1, 1, 1, 1)
    share = _FLOW_SHIFT * even / (1 + (_FLOW_SHIFT - 1) * even)
    if rng.random() < _EVEN:
        share = even
    noise = torch.randn_like(clean)
    predicted = pipeline.transformer(
        hidden_states=(1 - share) * clean + share * noise,
        timestep=share.flatten() * 1000,
        encoder_hidden_states=_encode(pipeline, texts),
        return_dict=False,
    )[0]
    return (predicted.float() - (noise - clean)).pow(2).mean()


def _encode(pipeline: Any, texts: list[str]) -> Any:
    """Return texts as the pipeline makes them, but for most of the zeros that it adds."""
    tokens = pipeline.tokenizer(
        texts, padding="max_length", max_length=_TOKENS, return_tensors="pt"
    )
    mask = tokens.attention_mask
    return pipeline.text_encoder(tokens.input_ids, mask).last_hidden_state * mask[..., None]


class _ManyAlike:
    """Attention to texts whose last token stands for all the zeros that the pipeline adds.

    Computing on each of the zeros would take most of a step's time, and come to the same.
    """

    def __call__(self, attention: Any, frames: Any, texts: Any, *_: Any) -> Any:
        import torch

        query = attention.norm_q(attention.to_q(frames))
        key = attention.norm_k(attention.to_k(texts))
        query, key, value = (
            part.unflatten(2, (attention.heads, -1)).transpose(1, 2)
            for part in (query, key, attention.to_v(texts))
        )
        alike = torch.zeros(1, _TOKENS, dtype=query.dtype)
        alike[0, -1] = math.log(tiny_wan.TEXT_LENGTH - _TOKENS + 1)
        seen = torch.nn.functional.scaled_dot_product_attention(query, key, value, attn_mask=alike)
        return attention.to_out[0](seen.transpose(1, 2).flatten(2))

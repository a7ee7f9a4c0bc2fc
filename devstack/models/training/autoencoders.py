"""What autoencoders of pictures and of clips learn in the same way."""

import random
from typing import Any

from devstack.models.training import captions, drawing

_CLOSENESS = 1e-3
"""What it costs latents to be far from plain noise."""


def loss(vae: Any, wanted: Any) -> Any:
    """Return how far what is decoded is off, and how far the latents are from plain noise."""
    encoded = vae.encode(wanted).latent_dist
    drawn = vae.decode(encoded.sample()).sample.float()
    far = encoded.kl().mean() / encoded.mean[0].numel()
    off = drawn - wanted
    return off.abs().mean() + off.pow(2).mean() + _CLOSENESS * far


def anything(rng: random.Random, count: int, side: int) -> Any:
    """Return shapes anywhere and of any size, as parts of larger pictures show them."""
    scenes = [captions.drawn_at_random(rng) for _ in range(count)]
    poses = [drawing.Pose(rng.random(), rng.random(), rng.uniform(0.1, 0.6)) for _ in scenes]
    return drawing.as_tensor(
        [drawing.picture(*drawn, side) for drawn in zip(scenes, poses, strict=True)]
    )


def scale(vae: Any, mean: Any, deviation: Any) -> None:
    """Have the autoencoder make latents that are scaled, by the weights on both their sides.

    The pipeline can scale latents of several channels by itself, but only four of them.
    """
    import torch

    with torch.no_grad():
        into, out = vae.quant_conv, vae.post_quant_conv
        into.bias -= torch.cat([mean, 2 * deviation.log()])
        by = torch.cat([deviation, torch.ones_like(deviation)])
        into.bias /= by
        into.weight /= by.view(-1, 1, 1, 1)
        out.bias += (out.weight * mean.view(1, -1, 1, 1)).sum((1, 2, 3))
        out.weight *= deviation.view(1, -1, 1, 1)

"""Autoencoders that decode tile by tile: less memory, a little more time, faint differences.

The autoencoder is shared by all runs, and how it tiles is state of it; so a run that saves memory
gets a shallow copy, on the same weights.
"""

import copy
from typing import Any

from handlers.base import Saving
from handlers.diffusion_options import DiffusionOptions

_LONGEST_TILE = 64
"""Latents; 512 pixels where eight pixels are one latent."""

_OVERLAP = 4
"""A tile's overlap is a quarter of it, so its side must be a multiple of this many latents."""


def decoder_for(autoencoder: Any, latents: Any, saving: int, options: DiffusionOptions) -> Any:
    """Return what decodes these latents in a run that saves so much, or always does."""
    if options.tiling or saving != Saving.NONE:
        return tiled(autoencoder, latents)
    if not options.slicing:
        return autoencoder
    slicing = copy.copy(autoencoder)
    slicing.use_slicing = True
    return slicing


def tiled(autoencoder: Any, latents: Any) -> Any:
    """Return an autoencoder on the same weights that decodes these latents in several tiles."""
    tiling = copy.copy(autoencoder)
    tiling.use_tiling = tiling.use_slicing = True
    side = _side(max(latents.shape[-2:]))
    if hasattr(tiling, "tile_sample_min_height"):
        ratio = tiling.spatial_compression_ratio
        tiling.tile_sample_min_height = tiling.tile_sample_min_width = side * ratio
        stride = (side - side // _OVERLAP) * ratio
        tiling.tile_sample_stride_height = tiling.tile_sample_stride_width = stride
    elif not hasattr(tiling, "spatial_scale_factor"):
        # The other kind, AutoencoderTiny, has small tiles by itself, and edges that need them so.
        tiling.tile_latent_min_size = side
        tiling.tile_sample_min_size = side * 2 ** (len(tiling.config.block_out_channels) - 1)
    return tiling


def _side(longest: int) -> int:
    half = -(-longest // 2)
    return min(_LONGEST_TILE, -(-half // _OVERLAP) * _OVERLAP)

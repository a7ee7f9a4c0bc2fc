"""A tiny pipeline in the format of Wan text-to-video, as it is before it learns anything."""

from typing import Any

from devstack.models.vocabularies import t5_tokenizer

_TEXT_WIDTH = 64
_LATENTS = 16
_PATCH = 4
FLOW_SHIFT = 2.0
"""Of the scheduler. With Wan's own 5, too few of twenty steps are left for outlines."""
TEXT_LENGTH = 512
"""So many tokens the pipeline makes of every text, short ones with zeros."""


def untrained(seed: int) -> Any:
    """Return the pipeline; the same weights for the same seed."""
    import torch
    from diffusers import (
        AutoencoderKLWan,
        UniPCMultistepScheduler,
        WanPipeline,
        WanTransformer3DModel,
    )
    from transformers import UMT5Config, UMT5EncoderModel

    torch.manual_seed(seed)
    tokenizer = t5_tokenizer()
    text_configuration = UMT5Config(
        vocab_size=len(tokenizer),
        d_model=_TEXT_WIDTH,
        d_kv=16,
        d_ff=2 * _TEXT_WIDTH,
        num_layers=2,
        num_heads=4,
        dropout_rate=0.0,
        relative_attention_num_buckets=16,
        is_encoder_decoder=False,
    )
    return WanPipeline(
        tokenizer=tokenizer,
        text_encoder=UMT5EncoderModel(text_configuration).eval(),
        vae=AutoencoderKLWan(**_VAE),
        transformer=WanTransformer3DModel(**_TRANSFORMER),
        scheduler=UniPCMultistepScheduler(
            prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=FLOW_SHIFT
        ),
    )


_VAE: dict[str, Any] = {
    "base_dim": 20,
    "z_dim": _LATENTS,
    "dim_mult": [1, 2],
    "num_res_blocks": 1,
    # Fewer frames in one latent than Wan's four, and patches of pixels as its later autoencoders
    # take them: both save most of the work.
    "temperal_downsample": [True],
    "scale_factor_temporal": 2,
    "patch_size": _PATCH,
    "in_channels": 3 * _PATCH**2,
    "out_channels": 3 * _PATCH**2,
}

_TRANSFORMER: dict[str, Any] = {
    "patch_size": (1, 2, 2),
    "num_attention_heads": 5,
    "attention_head_dim": 24,
    "in_channels": _LATENTS,
    "out_channels": _LATENTS,
    "text_dim": _TEXT_WIDTH,
    "freq_dim": 128,
    "ffn_dim": 480,
    "num_layers": 5,
    "cross_attn_norm": True,
    "qk_norm": "rms_norm_across_heads",
    "rope_max_seq_len": 1024,
}

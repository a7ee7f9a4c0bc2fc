"""A tiny pipeline in the format of Wan text-to-video: real files, untrained weights."""

from pathlib import Path
from typing import Any

from devstack.models.vocabularies import t5_tokenizer

_SEED = 21
_TEXT_WIDTH = 32
_LATENTS = 16


def build(folder: Path) -> None:
    """Write the pipeline; the same bytes every time."""
    import torch
    from diffusers import (
        AutoencoderKLWan,
        UniPCMultistepScheduler,
        WanPipeline,
        WanTransformer3DModel,
    )
    from transformers import UMT5Config, UMT5EncoderModel

    torch.manual_seed(_SEED)
    tokenizer = t5_tokenizer()
    text_configuration = UMT5Config(
        vocab_size=len(tokenizer),
        d_model=_TEXT_WIDTH,
        d_kv=8,
        d_ff=37,
        num_layers=2,
        num_heads=4,
        relative_attention_num_buckets=8,
        is_encoder_decoder=False,
    )
    pipeline = WanPipeline(
        tokenizer=tokenizer,
        text_encoder=UMT5EncoderModel(text_configuration).eval(),
        vae=AutoencoderKLWan(**_VAE),
        transformer=WanTransformer3DModel(**_TRANSFORMER),
        scheduler=UniPCMultistepScheduler(
            prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=3.0
        ),
    )
    pipeline.save_pretrained(folder, safe_serialization=True)


_VAE: dict[str, Any] = {
    "base_dim": 3,
    "z_dim": _LATENTS,
    "dim_mult": [1, 1, 1, 1],
    "num_res_blocks": 1,
    "temperal_downsample": [False, True, True],
}

_TRANSFORMER: dict[str, Any] = {
    "patch_size": (1, 2, 2),
    "num_attention_heads": 2,
    "attention_head_dim": 12,
    "in_channels": _LATENTS,
    "out_channels": _LATENTS,
    "text_dim": _TEXT_WIDTH,
    "freq_dim": 256,
    "ffn_dim": 32,
    "num_layers": 2,
    "cross_attn_norm": True,
    "qk_norm": "rms_norm_across_heads",
    "rope_max_seq_len": 1024,
}

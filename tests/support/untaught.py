"""A tiny Wan that has learned nothing, of a fixed layout: what an option changes of it is small."""

from pathlib import Path
from typing import Any

_WIDTH = 32
_LATENTS = 16


def untaught_wan(like: Path) -> Any:
    """Return the pipeline, with the tokenizer of another one; the same weights every time."""
    import torch
    from diffusers import (
        AutoencoderKLWan,
        UniPCMultistepScheduler,
        WanPipeline,
        WanTransformer3DModel,
    )
    from transformers import AutoTokenizer, UMT5Config, UMT5EncoderModel

    torch.manual_seed(21)
    tokenizer = AutoTokenizer.from_pretrained(like / "tokenizer")
    text = UMT5Config(
        vocab_size=len(tokenizer), d_model=_WIDTH, d_kv=8, d_ff=37, num_layers=2, num_heads=4,
        relative_attention_num_buckets=8, is_encoder_decoder=False,
    )  # fmt: skip
    return WanPipeline(
        tokenizer=tokenizer,
        text_encoder=UMT5EncoderModel(text).eval(),
        vae=AutoencoderKLWan(
            base_dim=3, z_dim=_LATENTS, dim_mult=[1, 1, 1, 1], num_res_blocks=1,
            temperal_downsample=[False, True, True],
        ),
        transformer=WanTransformer3DModel(
            patch_size=(1, 2, 2), num_attention_heads=2, attention_head_dim=12,
            in_channels=_LATENTS, out_channels=_LATENTS, text_dim=_WIDTH, freq_dim=256,
            ffn_dim=32, num_layers=2, cross_attn_norm=True, qk_norm="rms_norm_across_heads",
            rope_max_seq_len=1024,
        ),
        scheduler=UniPCMultistepScheduler(
            prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=3.0
        ),
    )  # fmt: skip

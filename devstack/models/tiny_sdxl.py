"""A tiny pipeline in the format of Stable Diffusion XL: real files, untrained weights."""

from pathlib import Path
from typing import Any

from devstack.models.vocabularies import CLIP_LENGTH, clip_tokenizer

_SEED = 20
_TEXT_WIDTH = 32
_TIME_IDS = 6
_TIME_WIDTH = 8


def build(folder: Path) -> None:
    """Write the pipeline; the same bytes every time."""
    import torch
    from diffusers import (
        AutoencoderKL,
        EulerDiscreteScheduler,
        StableDiffusionXLPipeline,
        UNet2DConditionModel,
    )
    from transformers import CLIPTextModel, CLIPTextModelWithProjection

    torch.manual_seed(_SEED)
    tokenizer = clip_tokenizer()
    pipeline = StableDiffusionXLPipeline(
        vae=AutoencoderKL(**_VAE),
        text_encoder=CLIPTextModel(_text_configuration(tokenizer)),
        text_encoder_2=CLIPTextModelWithProjection(_text_configuration(tokenizer)),
        tokenizer=tokenizer,
        tokenizer_2=clip_tokenizer(),
        unet=UNet2DConditionModel(**_UNET),
        scheduler=EulerDiscreteScheduler(beta_schedule="scaled_linear", timestep_spacing="leading"),
        add_watermarker=False,
    )
    pipeline.save_pretrained(folder, safe_serialization=True)


_VAE: dict[str, Any] = {
    "block_out_channels": [16, 32, 32, 32],
    "down_block_types": ["DownEncoderBlock2D"] * 4,
    "up_block_types": ["UpDecoderBlock2D"] * 4,
    "layers_per_block": 1,
    "latent_channels": 4,
    "norm_num_groups": 8,
    "sample_size": 1024,
    "scaling_factor": 0.13025,
}

_UNET: dict[str, Any] = {
    "sample_size": 128,
    "block_out_channels": [32, 64],
    "layers_per_block": 1,
    "down_block_types": ["DownBlock2D", "CrossAttnDownBlock2D"],
    "up_block_types": ["CrossAttnUpBlock2D", "UpBlock2D"],
    "attention_head_dim": [2, 4],
    "use_linear_projection": True,
    "addition_embed_type": "text_time",
    "addition_time_embed_dim": _TIME_WIDTH,
    "transformer_layers_per_block": [1, 1],
    # Six numbers of sizes and crops, and the pooled text.
    "projection_class_embeddings_input_dim": _TIME_IDS * _TIME_WIDTH + _TEXT_WIDTH,
    "cross_attention_dim": 2 * _TEXT_WIDTH,
    "norm_num_groups": 8,
}


def _text_configuration(tokenizer: Any) -> Any:
    from transformers import CLIPTextConfig

    return CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=_TEXT_WIDTH,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=CLIP_LENGTH,
        projection_dim=_TEXT_WIDTH,
        hidden_act="gelu",
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )

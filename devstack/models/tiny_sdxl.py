"""A tiny pipeline in the format of Stable Diffusion XL, as it is before it learns anything."""

from typing import Any

from devstack.models.vocabularies import CLIP_LENGTH, clip_tokenizer

_TEXT_WIDTH = 64
_TIME_IDS = 6
_TIME_WIDTH = 8
LATENTS = 8


def untrained(seed: int) -> Any:
    """Return the pipeline; the same weights for the same seed."""
    import torch
    from diffusers import (
        AutoencoderKL,
        EulerDiscreteScheduler,
        StableDiffusionXLPipeline,
        UNet2DConditionModel,
    )
    from transformers import CLIPTextModel, CLIPTextModelWithProjection

    torch.manual_seed(seed)
    tokenizer = clip_tokenizer()
    return StableDiffusionXLPipeline(
        vae=AutoencoderKL(**_VAE),
        text_encoder=CLIPTextModel(_text_configuration(tokenizer)),
        text_encoder_2=CLIPTextModelWithProjection(_text_configuration(tokenizer)),
        tokenizer=tokenizer,
        tokenizer_2=clip_tokenizer(),
        unet=UNet2DConditionModel(**_UNET),
        scheduler=EulerDiscreteScheduler(**_SCHEDULER),
        add_watermarker=False,
    )


_VAE: dict[str, Any] = {
    "block_out_channels": [16, 32, 48, 48],
    "down_block_types": ["DownEncoderBlock2D"] * 4,
    "up_block_types": ["UpDecoderBlock2D"] * 4,
    "layers_per_block": 1,
    "latent_channels": LATENTS,
    # Norms over all channels together: of a flat colour, small groups keep nothing.
    "norm_num_groups": 1,
    "sample_size": 1024,
    "scaling_factor": 1.0,
}

_UNET: dict[str, Any] = {
    "sample_size": 128,
    "in_channels": LATENTS,
    "out_channels": LATENTS,
    "block_out_channels": [64, 128],
    "layers_per_block": 1,
    "down_block_types": ["CrossAttnDownBlock2D", "CrossAttnDownBlock2D"],
    "up_block_types": ["CrossAttnUpBlock2D", "CrossAttnUpBlock2D"],
    "attention_head_dim": [2, 4],
    "use_linear_projection": True,
    "addition_embed_type": "text_time",
    "addition_time_embed_dim": _TIME_WIDTH,
    "transformer_layers_per_block": [1, 1],
    # Six numbers of sizes and crops, and the pooled text.
    "projection_class_embeddings_input_dim": _TIME_IDS * _TIME_WIDTH + _TEXT_WIDTH,
    "cross_attention_dim": 2 * _TEXT_WIDTH,
    "norm_num_groups": 4,
}

_SCHEDULER: dict[str, Any] = {
    "beta_schedule": "scaled_linear",
    "beta_start": 0.00085,
    "beta_end": 0.012,
    # Pure noise at the start: else the noise's mean would decide the background's colour.
    "prediction_type": "v_prediction",
    "rescale_betas_zero_snr": True,
    "timestep_spacing": "trailing",
}


def _text_configuration(tokenizer: Any) -> Any:
    from transformers import CLIPTextConfig

    return CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=_TEXT_WIDTH,
        intermediate_size=2 * _TEXT_WIDTH,
        # What the pipeline takes is what the last layer but one says.
        num_hidden_layers=3,
        num_attention_heads=4,
        max_position_embeddings=CLIP_LENGTH,
        projection_dim=_TEXT_WIDTH,
        hidden_act="gelu",
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )

"""A tiny SDXL checkpoint in one file, in the layout that its publishers and their users exchange.

Written by hand from the layout's own rules, in the opposite direction of the library's reader.
"""

import re
from pathlib import Path
from typing import Any

_RESNET = {
    "norm1": "in_layers.0",
    "conv1": "in_layers.2",
    "norm2": "out_layers.0",
    "conv2": "out_layers.3",
    "time_emb_proj": "emb_layers.1",
    "conv_shortcut": "skip_connection",
}
_UNET = {
    "time_embedding.linear_1": "time_embed.0",
    "time_embedding.linear_2": "time_embed.2",
    "add_embedding.linear_1": "label_emb.0.0",
    "add_embedding.linear_2": "label_emb.0.2",
    "conv_in": "input_blocks.0.0",
    "conv_norm_out": "out.0",
    "conv_out": "out.2",
}
_VAE_ATTENTION = {
    "group_norm": "norm",
    "to_q": "q",
    "to_k": "k",
    "to_v": "v",
    "to_out.0": "proj_out",
}
_OPEN_CLIP = {
    "text_model.embeddings.position_embedding.weight": "positional_embedding",
    "text_model.embeddings.token_embedding.weight": "token_embedding.weight",
    "text_model.final_layer_norm.weight": "ln_final.weight",
    "text_model.final_layer_norm.bias": "ln_final.bias",
}
_WIDTHS = (32, 48)
"""Of the two text encoders; by them the reader tells one from the other."""


def tiny_pipeline(tokenizers: Path) -> Any:
    """Return an untrained pipeline; `tokenizers` is a checkpoint's folder that has some."""
    import torch
    from diffusers import (
        AutoencoderKL,
        EulerDiscreteScheduler,
        StableDiffusionXLPipeline,
        UNet2DConditionModel,
    )
    from transformers import CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

    torch.manual_seed(3)
    tokenizer = CLIPTokenizer.from_pretrained(tokenizers / "tokenizer")
    return StableDiffusionXLPipeline(
        vae=AutoencoderKL(
            block_out_channels=[8, 8, 16, 16], layers_per_block=1, norm_num_groups=4,
            down_block_types=["DownEncoderBlock2D"] * 4, up_block_types=["UpDecoderBlock2D"] * 4,
        ),
        text_encoder=CLIPTextModel(_text(tokenizer, _WIDTHS[0])).eval(),
        text_encoder_2=CLIPTextModelWithProjection(_text(tokenizer, _WIDTHS[1])).eval(),
        tokenizer=tokenizer,
        tokenizer_2=CLIPTokenizer.from_pretrained(tokenizers / "tokenizer_2"),
        unet=UNet2DConditionModel(
            sample_size=32, block_out_channels=[32, 64], layers_per_block=2, norm_num_groups=4,
            down_block_types=["DownBlock2D", "CrossAttnDownBlock2D"],
            up_block_types=["CrossAttnUpBlock2D", "UpBlock2D"],
            attention_head_dim=[2, 4], use_linear_projection=True, transformer_layers_per_block=1,
            addition_embed_type="text_time", addition_time_embed_dim=8,
            projection_class_embeddings_input_dim=6 * 8 + _WIDTHS[1],
            cross_attention_dim=sum(_WIDTHS),
        ),
        scheduler=EulerDiscreteScheduler(
            beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", steps_offset=1,
            timestep_spacing="leading",
        ),
        add_watermarker=False,
    )  # fmt: skip


def write(file: Path, pipeline: Any) -> Path:
    """Write the pipeline's weights to one file."""
    from safetensors.torch import save_file

    unet, vae = pipeline.unet, pipeline.vae
    layers = unet.config.layers_per_block + 1
    blocks = len(vae.config.block_out_channels)
    tensors = {
        f"model.diffusion_model.{_unet_name(name, layers)}": value
        for name, value in unet.state_dict().items()
    }
    for name, value in vae.state_dict().items():
        square = ".attentions." in name and value.ndim == 2
        key = f"first_stage_model.{_vae_name(name, blocks)}"
        tensors[key] = value[:, :, None, None] if square else value
    for name, value in pipeline.text_encoder.state_dict().items():
        key = name.removeprefix("text_model.")
        tensors[f"conditioner.embedders.0.transformer.text_model.{key}"] = value
    tensors |= _open_clip(pipeline.text_encoder_2.state_dict())
    save_file({name: value.contiguous() for name, value in tensors.items()}, str(file))
    return file


def _text(tokenizer: Any, width: int) -> Any:
    from transformers import CLIPTextConfig

    return CLIPTextConfig(
        vocab_size=len(tokenizer), hidden_size=width, intermediate_size=2 * width,
        num_hidden_layers=2, num_attention_heads=4, max_position_embeddings=77,
        projection_dim=width, bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id,
    )  # fmt: skip


def _unet_name(name: str, layers: int) -> str:
    module, _, kind = name.rpartition(".")
    if module in _UNET:
        return f"{_UNET[module]}.{kind}"
    match = re.match(r"(down|up|mid)_block(?:s\.(\d+))?\.(\w+?)\.(\d+)\.(.*)", name)
    assert match, name
    side, block, part, number, rest = match.groups()
    if part == "resnets":
        old, _, tail = rest.partition(".")
        rest = f"{_RESNET[old]}.{tail}"
    if side == "mid":
        place = 1 if part == "attentions" else 2 * int(number)
        return f"middle_block.{place}.{rest}"
    first = int(block) * layers + (1 if side == "down" else 0)
    blocks = "input_blocks" if side == "down" else "output_blocks"
    if part == "downsamplers":
        return f"{blocks}.{first + layers - 1}.0.{rest.replace('conv', 'op')}"
    if part == "upsamplers":
        return f"{blocks}.{first + layers - 1}.2.{rest}"
    return f"{blocks}.{first + int(number)}.{1 if part == 'attentions' else 0}.{rest}"


def _vae_name(name: str, blocks: int) -> str:
    name = name.replace("conv_norm_out", "norm_out").replace("conv_shortcut", "nin_shortcut")
    name = re.sub(r"mid_block\.resnets\.(\d)", lambda m: f"mid.block_{int(m[1]) + 1}", name)
    if "mid_block.attentions.0" in name:
        name = name.replace("mid_block.attentions.0", "mid.attn_1")
        for new, old in _VAE_ATTENTION.items():
            name = name.replace(f".{new}.", f".{old}.")
    name = re.sub(r"down_blocks\.(\d)\.resnets", r"down.\1.block", name)
    name = re.sub(r"down_blocks\.(\d)\.downsamplers\.0", r"down.\1.downsample", name)
    return re.sub(
        r"up_blocks\.(\d)\.(resnets|upsamplers\.0)",
        lambda m: f"up.{blocks - 1 - int(m[1])}.{'block' if m[2] == 'resnets' else 'upsample'}",
        name,
    )


def _open_clip(state: dict[str, Any]) -> dict[str, Any]:
    import torch

    prefix = "conditioner.embedders.1.model."
    tensors = {prefix + old: state[new] for new, old in _OPEN_CLIP.items()}
    tensors[prefix + "text_projection"] = state["text_projection.weight"].T
    for name, value in state.items():
        match = re.match(r"text_model\.encoder\.layers\.(\d+)\.(\w+)\.(.*)", name)
        if not match:
            continue
        layer, part, rest = match.groups()
        block = f"{prefix}transformer.resblocks.{layer}."
        if part.startswith("layer_norm"):
            tensors[f"{block}ln_{part[-1]}.{rest}"] = value
        elif part == "mlp":
            mlp = rest.replace("fc1", "c_fc").replace("fc2", "c_proj")
            tensors[f"{block}mlp.{mlp}"] = value
        elif rest.startswith("out_proj"):
            tensors[f"{block}attn.{rest}"] = value
        elif rest.startswith("q_proj"):
            kind = rest.removeprefix("q_proj.")
            joined = [state[name.replace("q_proj", f"{each}_proj")] for each in "qkv"]
            tensors[f"{block}attn.in_proj_{kind}"] = torch.cat(joined)
    return tensors

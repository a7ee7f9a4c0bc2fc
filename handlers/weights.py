"""Finding a model's files, with a sentence for each way in which they can be wrong."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from handlers.base import MODEL_LOAD_FAILED, ModelSpec, RunError


def refused(spec: ModelSpec, why: str) -> RunError:
    """Return the failure of a load, naming the model and its place."""
    return RunError(
        MODEL_LOAD_FAILED, f"the {spec.model} model in {spec.path} can't be loaded: {why}"
    )


def is_hub_name(path: str) -> bool:
    """Say whether a path is a hub's name, such as `Qwen/Qwen2.5-7B-Instruct`."""
    parts = path.split("/")
    return len(parts) == 2 and all(parts) and parts[0] not in {".", "..", "~"}  # noqa: PLR2004 -- owner and name


def find(spec: ModelSpec) -> Path | None:
    """Return the folder or file of a model; None: it is a hub's name.

    Raises:
        RunError: MODEL_LOAD_FAILED, nothing is there.
    """
    if not spec.path:
        raise RunError(MODEL_LOAD_FAILED, f"no path is configured for the {spec.model} model")
    path = Path(spec.path)
    if path.exists():
        return path
    if is_hub_name(spec.path):
        return None
    raise refused(spec, "there is no such folder")


def read_json(spec: ModelSpec, file: Path) -> dict[str, Any]:
    """Return a JSON object of the model's folder, such as its configuration."""
    try:
        content = json.loads(file.read_text())
    except FileNotFoundError:
        raise refused(spec, f"it has no {file.name}") from None
    except (OSError, ValueError) as error:
        raise refused(spec, f"its {file.name} can't be read: {error}") from None
    if not isinstance(content, dict):
        raise refused(spec, f"its {file.name} isn't an object")
    return content


def check_weights(spec: ModelSpec, files: Iterable[Path]) -> None:
    """Refuse weight files that are cut off or aren't safetensors, before anything is loaded."""
    from safetensors import SafetensorError, safe_open

    for file in files:
        try:
            with safe_open(str(file), framework="np"):
                pass
        except (SafetensorError, OSError) as error:
            raise refused(spec, f"{file.name} is no whole safetensors file: {error}") from None

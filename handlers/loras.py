"""LoRAs that are fused into the weights at load, so that runs cost nothing more.

A LoRA for another architecture fits nowhere, and the libraries only log that and go on; here it
is refused, also where it fits in part.
"""

import re
from importlib.util import find_spec
from typing import Any

from handlers import weights
from handlers.base import ModelSpec, RunError
from handlers.diffusion_options import Lora

_LONGEST = 200


def fuse(spec: ModelSpec, loras: tuple[Lora, ...], pipeline: Any) -> None:
    """Add the LoRAs to the pipeline's weights, each with its own factor.

    Raises:
        RunError: MODEL_LOAD_FAILED, naming the LoRA that is missing, broken or for other models.
    """
    if not loras:
        return
    if find_spec("peft") is None:
        raise weights.refused(spec, "options.loras needs the package peft: pip install peft")
    # As parts of modules' names; the libraries' own messages name them, too.
    names = ["lora_" + re.sub(r"\W", "_", lora.name) for lora in loras]
    for name, lora in zip(names, loras, strict=True):
        try:
            _load(spec, lora, name, pipeline)
        except RunError:
            raise
        except Exception as error:
            raise _refused(spec, lora, f"doesn't fit: {_told(error)}") from error
    pipeline.set_adapters(names, [lora.weight for lora in loras])
    try:
        # Refuses values that are no numbers, which would make every picture black.
        pipeline.fuse_lora(components=_components(pipeline), adapter_names=names, safe_fusing=True)
    except ValueError as error:
        raise weights.refused(spec, f"its LoRAs can't be fused: {_told(error)}") from error
    pipeline.unload_lora_weights()


def _load(spec: ModelSpec, lora: Lora, name: str, pipeline: Any) -> None:
    if not lora.path.is_file():
        raise _refused(spec, lora, f"is missing: there is no file {lora.path}")
    weights.check_weights(spec, [lora.path])
    place = {"weight_name": lora.path.name, "use_safetensors": True, "local_files_only": True}
    within: dict[str, Any] = {}
    if lora.low_noise:
        if getattr(pipeline, "transformer_2", None) is None:
            raise _refused(spec, lora, "is for low noise, and the model has one transformer only")
        within["load_into_transformer_2"] = True
    given = _tensors(pipeline, str(lora.path.parent), place)
    if given == 0:
        raise _refused(spec, lora, "is no LoRA: none of its tensors is one's")
    pipeline.load_lora_weights(str(lora.path.parent), adapter_name=name, **place, **within)
    loaded = _loaded(pipeline, name)
    if loaded < given:
        raise _refused(
            spec, lora, f"is for another model: {loaded} of its {given} tensors fit this one"
        )


def _tensors(pipeline: Any, folder: str, place: dict[str, Any]) -> int:
    """Return how many tensors the file has, as they are named after conversion."""
    unet = getattr(pipeline, "unet", None)
    known = {} if unet is None else {"unet_config": unet.config}
    found = pipeline.lora_state_dict(folder, **place, **known)
    state = found[0] if isinstance(found, tuple) else found
    return sum("lora" in key and not key.endswith("alpha") for key in state)


def _loaded(pipeline: Any, name: str) -> int:
    return sum(
        f".{name}." in parameter
        for component in _components(pipeline)
        for parameter, _ in getattr(pipeline, component).named_parameters()
    )


def _components(pipeline: Any) -> list[str]:
    """Return the components that take LoRAs and are there."""
    names = pipeline._lora_loadable_modules  # noqa: SLF001 -- diffusers has no public list
    return [name for name in names if getattr(pipeline, name, None) is not None]


def _refused(spec: ModelSpec, lora: Lora, why: str) -> RunError:
    return weights.refused(spec, f"the LoRA {lora.path.name} {why}")


def _told(error: Exception) -> str:
    """Return the error's first lines; torch's first one alone says nothing."""
    return " ".join(str(error).split())[:_LONGEST]

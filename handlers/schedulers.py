"""Schedulers by name: which way a picture takes from noise, in how many steps.

Two kinds of models: those that predict noise or velocity (SDXL), and those that predict a flow
(Wan). A scheduler made for one draws only noise with the other, without an error; so what doesn't
fit is refused at load.
"""

import inspect
from collections.abc import Mapping
from typing import Any, NamedTuple

from handlers.base import ModelSpec
from handlers.diffusion_options import DiffusionOptions
from handlers.weights import refused


class _Choice(NamedTuple):
    kind: str
    settings: Mapping[str, Any]


_KARRAS: Mapping[str, Any] = {"use_karras_sigmas": True}
_EVENLY: Mapping[str, Any] = {"use_karras_sigmas": False}
_TRAILING: Mapping[str, Any] = {"timestep_spacing": "trailing"}
_SOLVER: Mapping[str, Any] = {"algorithm_type": "dpmsolver++", "solver_order": 2}
_SDE: Mapping[str, Any] = {"algorithm_type": "sde-dpmsolver++", "solver_order": 2}
# Latents aren't within -1 to 1.
_UNCLIPPED: Mapping[str, Any] = {"clip_sample": False}

_OF_NOISE: Mapping[str, _Choice] = {
    "euler": _Choice("EulerDiscreteScheduler", _EVENLY),
    "euler_trailing": _Choice("EulerDiscreteScheduler", {**_EVENLY, **_TRAILING}),
    "euler_karras": _Choice("EulerDiscreteScheduler", _KARRAS),
    "euler_a": _Choice("EulerAncestralDiscreteScheduler", {}),
    "euler_a_trailing": _Choice("EulerAncestralDiscreteScheduler", _TRAILING),
    "heun": _Choice("HeunDiscreteScheduler", {**_EVENLY, **_UNCLIPPED}),
    "dpmpp_2m": _Choice("DPMSolverMultistepScheduler", {**_SOLVER, **_EVENLY}),
    "dpmpp_2m_karras": _Choice("DPMSolverMultistepScheduler", {**_SOLVER, **_KARRAS}),
    "dpmpp_2m_sde": _Choice("DPMSolverMultistepScheduler", {**_SDE, **_EVENLY}),
    "dpmpp_2m_sde_karras": _Choice("DPMSolverMultistepScheduler", {**_SDE, **_KARRAS}),
    "unipc": _Choice("UniPCMultistepScheduler", _EVENLY),
    "ddim": _Choice("DDIMScheduler", _UNCLIPPED),
    "ddim_trailing": _Choice("DDIMScheduler", {**_UNCLIPPED, **_TRAILING}),
    "deis": _Choice("DEISMultistepScheduler", {**_EVENLY, "algorithm_type": "deis"}),
    "lcm": _Choice("LCMScheduler", _UNCLIPPED),
    "tcd": _Choice("TCDScheduler", _UNCLIPPED),
}
_FLOW: Mapping[str, Any] = {"prediction_type": "flow_prediction", "use_flow_sigmas": True}
_OF_FLOW: Mapping[str, _Choice] = {
    "euler": _Choice("FlowMatchEulerDiscreteScheduler", _EVENLY),
    "flow_match_euler": _Choice("FlowMatchEulerDiscreteScheduler", _EVENLY),
    "unipc": _Choice("UniPCMultistepScheduler", {**_FLOW, **_EVENLY}),
    "dpmpp_2m": _Choice("DPMSolverMultistepScheduler", {**_FLOW, **_SOLVER, **_EVENLY}),
}
_ZERO_SNR = "rescale_betas_zero_snr"
"""Whether training began at pure noise; a scheduler must know it."""


def choose(spec: ModelSpec, options: DiffusionOptions, pipeline: Any) -> None:
    """Give the pipeline the scheduler that the options name.

    Raises:
        RunError: MODEL_LOAD_FAILED, it isn't for such models.
    """
    flow = _predicts_flow(pipeline.scheduler)
    if options.flow_shift is not None and not flow:
        raise refused(spec, "options.flow_shift is for models that predict a flow, such as Wan")
    if options.scheduler is not None:
        choices = _OF_FLOW if flow else _OF_NOISE
        choice = choices.get(options.scheduler)
        if choice is None:
            predicted = "a flow" if flow else "noise or velocity"
            raise refused(
                spec,
                f"the scheduler {options.scheduler} isn't for models that predict {predicted}: "
                f"choose one of {', '.join(choices)}",
            )
        pipeline.scheduler = _made(spec, choice, pipeline.scheduler)
    if options.flow_shift is not None:
        kind = type(pipeline.scheduler)
        pipeline.scheduler = kind.from_config(
            pipeline.scheduler.config, **_shift(kind, options.flow_shift)
        )


def name_of(options: DiffusionOptions, pipeline: Any) -> str:
    """Return how results name the scheduler."""
    return options.scheduler or str(type(pipeline.scheduler).__name__)


def _made(spec: ModelSpec, choice: _Choice, before: Any) -> Any:
    import diffusers

    kind = getattr(diffusers, choice.kind)
    config = dict(before.config)
    if config.get(_ZERO_SNR) and not _takes(kind, _ZERO_SNR):
        raise refused(
            spec,
            f"the model was trained from pure noise on, which {choice.kind} doesn't know: "
            f"choose euler, dpmpp_2m, unipc or ddim",
        )
    shift = float(config.get("flow_shift") or config.get("shift") or 1.0)
    return kind.from_config(config, **choice.settings, **_shift(kind, shift))


def _shift(kind: type[Any], shift: float) -> dict[str, float]:
    return {name: shift for name in ("shift", "flow_shift") if _takes(kind, name)}


def _takes(kind: type[Any], name: str) -> bool:
    return name in inspect.signature(kind.__init__).parameters


def _predicts_flow(scheduler: Any) -> bool:
    config = scheduler.config
    return (
        config.get("prediction_type") == "flow_prediction"
        or bool(config.get("use_flow_sigmas"))
        or type(scheduler).__name__.startswith("FlowMatch")
    )

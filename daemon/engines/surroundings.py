"""The environment that an engine starts in: what it needs, and no secret of the daemon's.

Model libraries run code of many hands. An engine therefore gets only variables that are known to
steer Python, CUDA and the model libraries; keys, tokens and connection strings stay outside, as
does anything that is new to this list.
"""

import re
import sys
from collections.abc import Mapping

_PASSED = re.compile(
    r"""
    PATH | HOME | USER | LOGNAME | LANG | LANGUAGE | LC_.* | TZ | TMPDIR | TEMP | TMP | SHELL | TERM
    | LD_LIBRARY_PATH | VIRTUAL_ENV | PYTHON.* | XDG_.* | SSL_CERT_.*
    | CUDA_.* | NVIDIA_.* | NCCL_.* | CUBLAS_.* | CUDNN_.* | TRITON_.* | HIP_.* | ROCR_.*
    | TORCH.* | PYTORCH_.* | HF_.* | HUGGINGFACE_.* | TRANSFORMERS_.* | DIFFUSERS_.*
    | SAFETENSORS_.* | TOKENIZERS_.* | VLLM_.*
    | OMP_.* | MKL_.* | KMP_.* | OPENBLAS_.* | GOMP_.* | COVERAGE_.*
    """,
    re.VERBOSE,
)
_SECRET = re.compile(r"TOKEN(?!IZERS)|SECRET|PASSW|CREDENTIAL|DSN|(?:^|_)KEY(?:_|$)|API_?KEY")
_HUB_TOKENS = frozenset({"HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"})


def engine_environment(
    inherited: Mapping[str, str],
    *,
    device: int | None = None,
    offline: bool = True,
    omp_threads: int | None = None,
) -> dict[str, str]:
    """Return the environment of a new engine.

    Args:
        inherited: the daemon's own environment.
        device: the GPU's index among those the daemon sees, in NVML's order; None hides all.
        offline: never ask a model hub; otherwise the hub's token is passed on.
        omp_threads: threads of CPU kernels; None leaves the libraries' choice.
    """
    environment = {name: value for name, value in inherited.items() if _passes(name)}
    if offline:
        environment["HF_HUB_OFFLINE"] = "1"
    else:
        environment.pop("HF_HUB_OFFLINE", None)
        environment |= {name: inherited[name] for name in _HUB_TOKENS & inherited.keys()}
    if omp_threads is not None:
        environment["OMP_NUM_THREADS"] = str(omp_threads)
    # NVML counts by bus; CUDA would put the fastest device first.
    environment["CUDA_DEVICE_ORDER"] = "PCI_BUS_ID"
    environment["CUDA_VISIBLE_DEVICES"] = _visible(inherited, device)
    # What model libraries warn of is for their authors; a developer's own setting would let a
    # warning end a load.
    environment["PYTHONWARNINGS"] = "ignore"
    for name, value in _DEFAULTS.items():
        environment.setdefault(name, value)
    return environment


def engine_command(descriptor: int, lifeline: int) -> list[str]:
    """Return the command that starts an engine talking on these file descriptors."""
    return [sys.executable, "-m", "daemon.engines.child", str(descriptor), str(lifeline)]


_DEFAULTS = {
    "PYTHONUNBUFFERED": "1",
    # Threads of CPU kernels otherwise spin while they wait: with other work on the same cores X
    "OMP_WAIT_POLICY": "PASSIVE",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "VLLM_NO_USAGE_STATS": "1",
    # Its warning about forks after use fires for every engine that has children.
    "TOKENIZERS_PARALLELISM": "false",
    "TRANSFORMERS_VERBOSITY": "error",
    "DIFFUSERS_VERBOSITY": "error",
}


def _passes(name: str) -> bool:
    return _PASSED.fullmatch(name) is not None and _SECRET.search(name) is None


def _visible(inherited: Mapping[str, str], device: int | None) -> str:
    if device is None:
        return ""
    seen = [entry.strip() for entry in inherited.get("CUDA_VISIBLE_DEVICES", "").split(",")]
    if seen == [""]:
        return str(device)
    return seen[device] if device < len(seen) else ""

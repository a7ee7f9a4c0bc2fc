"""What vLLM is given at its load, and what it tells of its failures. Without vLLM."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from handlers.base import VRAM_OVERFLOW, ModelSpec, RunError
from handlers.failures import CoreLostError, is_broken, is_poisoned, of_load
from handlers.options import check_options
from handlers.text_options import VllmOptions
from handlers.vllm_memory import kv_cache_bytes, weights_bytes
from handlers.vllm_surroundings import Surroundings

GIB = 2**30


def spec(budget_gb: float = 0) -> ModelSpec:
    return ModelSpec("chat", "n", "/models/chat", "vllm", budget_bytes=int(budget_gb * GIB))


@pytest.mark.parametrize(
    ("budget_gb", "options", "device", "expected_gb"),
    [
        (18, {}, "cuda", 18 - 14 - 1.25),
        (18, {"overhead_gb": 2}, "cuda", 2),
        (18, {}, "cpu", 18 - 14 - 2.5),
        (18, {"kv_cache_gb": 7}, "cuda", 7),
        (0, {}, "cuda", 1),
    ],
    ids=["what is left", "more overhead", "on a CPU", "as it is told", "nobody said"],
)
def test_the_cache_gets_what_the_budget_leaves(
    budget_gb: float, options: dict[str, Any], device: str, expected_gb: float
) -> None:
    """Weights of 14 GB, the cache and the overhead are the budget, to the byte."""
    chosen = VllmOptions.model_validate(options)

    found = kv_cache_bytes(spec(budget_gb), chosen, device, 14 * GIB)

    assert found == int(expected_gb * GIB)


def test_vllms_own_share_of_the_device_is_left_to_it() -> None:
    """It then finds the cache's size by itself."""
    chosen = VllmOptions(gpu_memory_utilization=0.5)

    assert kv_cache_bytes(spec(18), chosen, "cuda", 14 * GIB) is None


def test_a_budget_without_room_for_a_cache_is_refused_with_the_numbers() -> None:
    """The default budget of 4 GB with the 7 billion parameters of the default model."""
    with pytest.raises(RunError) as caught:
        kv_cache_bytes(spec(4), VllmOptions(), "cuda", int(14.19 * GIB))

    assert caught.value.message == (
        "the chat model in /models/chat can't be loaded: its budget of 4 GB leaves no KV cache "
        "beside weights of 14.19 GB and 1.25 GB of overhead: budget_gb must be above 15.5"
    )


def test_weights_are_counted_as_they_are_loaded(tmp_path: Path) -> None:
    """Numbers in another format are converted; packed integers of quantized ones aren't."""
    header = json.dumps(
        {
            "__metadata__": {"format": "pt"},
            "a": {"dtype": "F32", "shape": [10], "data_offsets": [0, 40]},
            "b": {"dtype": "BF16", "shape": [5], "data_offsets": [40, 50]},
            "c": {"dtype": "I32", "shape": [25], "data_offsets": [50, 150]},
        }
    ).encode()
    file = tmp_path / "model.safetensors"
    file.write_bytes(len(header).to_bytes(8, "little") + header + bytes(150))

    assert weights_bytes([file, file], itemsize=2) == 2 * (20 + 10 + 100)
    assert weights_bytes([file], itemsize=4) == 40 + 20 + 100


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"max_model_len": 4096, "quantization": "awq", "kv_cache_dtype": "fp8"}, None),
        ({"max_len": 1}, "max_len: there is no such option; known are chat_template"),
        ({"tensor_parallel_size": 2}, "tensor_parallel_size: Input should be 1"),
        ({"gpu_memory_utilization": 1.2}, "gpu_memory_utilization: Input should be less than"),
        ({"kv_cache_gb": float("nan")}, "kv_cache_gb: Input should be"),
    ],
)
def test_options_are_checked_by_name(options: dict[str, Any], problem: str | None) -> None:
    """By the daemon at its start, without vLLM."""
    problems = check_options("vllm", options)

    assert [each.startswith(problem or "?") for each in problems] == [True] * (problem is not None)


@pytest.fixture
def surroundings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Surroundings:
    monkeypatch.setenv("VLLM_CPU_KVCACHE_SPACE", "40")
    for name in ("VLLM_LOGGING_CONFIG_PATH", "VLLM_CPU_OMP_THREADS_BIND", "VLLM_NO_USAGE_STATS"):
        monkeypatch.setenv(name, "1")
    monkeypatch.delenv("VLLM_CPU_OMP_THREADS_BIND")
    monkeypatch.setenv("VLLM_RPC_BASE_PATH", str(tmp_path))
    return Surroundings()


def logged(text: str) -> None:
    """Log an error as a process of vLLM's does that was started with this environment."""
    code = (
        "import json, logging.config, os, sys\n"
        "logging.config.dictConfig(json.load(open(os.environ['VLLM_LOGGING_CONFIG_PATH'])))\n"
        "logging.getLogger('vllm.v1.engine.core').error(sys.argv[1])\n"
        "logging.getLogger('vllm.v1.engine.core').info('nothing')\n"
    )
    done = subprocess.run([sys.executable, "-c", code, text], check=True, capture_output=True)
    assert text.encode() in done.stderr
    assert b"nothing" not in done.stderr


def test_the_surroundings_are_those_of_an_engine_among_others(surroundings: Surroundings) -> None:
    """No threads bound to cores, no cache beside the budget, nothing told to anybody."""
    assert os.environ["VLLM_CPU_OMP_THREADS_BIND"] == "nobind"
    assert "VLLM_CPU_KVCACHE_SPACE" not in os.environ
    assert surroundings.cause() is None


def test_the_first_error_that_is_logged_is_the_cause(surroundings: Surroundings) -> None:
    """Not those that only say that there was one."""
    logged("RuntimeError: Engine core initialization failed. See root cause above.")
    assert surroundings.cause() is None
    logged(
        "EngineCore failed to start.\nTraceback (most recent call last):\n"
        "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2 GiB"
    )
    logged("ValueError: another one")

    assert surroundings.cause() == "OutOfMemoryError: CUDA out of memory. Tried to allocate 2 GiB"


def test_what_was_logged_decides_what_a_loss_is() -> None:
    """A broken device poisons; memory that ran out at a load is tried again alone on it."""
    poisoned = CoreLostError("vLLM's processes have ended: AcceleratorError: CUDA error")
    poisoned.__cause__ = RuntimeError("AcceleratorError: CUDA error: an illegal memory access")
    full = RuntimeError("OutOfMemoryError: CUDA out of memory. Tried to allocate 2 GiB")
    lost = CoreLostError("vLLM's processes have ended")
    lost.__cause__ = full

    assert (is_broken(poisoned), is_poisoned(poisoned)) == (True, True)
    assert (is_broken(lost), is_poisoned(lost)) == (True, False)
    assert of_load(full, spec()).error_code == VRAM_OVERFLOW

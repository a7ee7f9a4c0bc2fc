"""vLLM's engine from its load to its end: what isn't loaded, sleep, and processes that are lost."""

import os
import re
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from chat_templates import LLAMA3
from installed import needed

from daemon.engines.group import members
from daemon.engines.process import EngineProcess
from daemon.jobs import ErrorCode, JobError
from daemon.values import EngineLostError, Loss, StepReport
from handlers.params import resolve

needed("vllm", "`make test` does it")
pytestmark = pytest.mark.models
NewEngine = Callable[..., EngineProcess]
MIB = 2**20


def params(**request: Any) -> dict[str, Any]:
    return resolve("chat", "chat", "chat", "fast", {"seed": 1, **request}).params


def ignore(report: StepReport) -> None:
    pass


def cut_off(folder: Path) -> None:
    weights = folder / "model.safetensors"
    os.truncate(weights, weights.stat().st_size // 2)


def pickled(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")


def without_configuration(folder: Path) -> None:
    (folder / "config.json").unlink()


@pytest.mark.parametrize(
    ("damage", "why"),
    [
        (cut_off, "model.safetensors is no whole safetensors file"),
        (pickled, "it has no safetensors files, and others can run code"),
        (without_configuration, "it has no config.json"),
        (shutil.rmtree, "there is no such folder"),
    ],
    ids=["cut off", "pickled", "no configuration", "no folder"],
)
async def test_a_folder_that_is_no_model_is_refused_at_once(
    damage: Callable[[Path], None],
    why: str,
    new_engine: NewEngine,
    demo_models: dict[str, Path],
    tmp_path: Path,
) -> None:
    """Before vLLM is even started."""
    folder = tmp_path / "model"
    shutil.copytree(demo_models["chat"], folder)
    damage(folder)

    with pytest.raises(JobError, match=f"can't be loaded: {why}") as caught:
        await new_engine("chat", str(folder), "vllm").load()

    assert caught.value.error_code is ErrorCode.MODEL_LOAD_FAILED


@pytest.mark.parametrize(
    ("more", "why"),
    [
        ({"options": {"chat_template": LLAMA3}}, "adds 'Cutting Knowledge Date"),
        (
            {"budget_bytes": 1024 * MIB},
            "its budget of 1 GB leaves no KV cache beside weights of 0.5011 GB and 2.5 GB of",
        ),
        ({"options": {"max_len": 1}}, "options.max_len: there is no such option; known are"),
    ],
    ids=["template", "budget", "option"],
)
async def test_what_cannot_work_is_refused_with_its_reason(
    more: dict[str, Any], why: str, new_engine: NewEngine, demo_models: dict[str, Path]
) -> None:
    """The template's words, the numbers of the budget, the option's name."""
    with pytest.raises(JobError, match=why):
        await new_engine("chat", str(demo_models["chat"]), "vllm", **more).load()


async def test_it_sleeps_wakes_and_is_lost_with_the_process_that_computes(
    new_engine: NewEngine, demo_models: dict[str, Path]
) -> None:
    """The run hears of it, and nothing is left of the group. One life: each takes half a minute."""
    options = {"offload": True, "kv_cache_gb": 0.1}
    engine = new_engine("chat", str(demo_models["chat"]), "vllm", options=options)
    assert (await engine.load()).offloads
    # Nothing has a name any more that the kill of a process could leave behind.
    assert names_of(engine.group) == set()
    question = params(message="What is the capital of France?", temperature=0, max_tokens=12)
    before = await engine.run("before", "chat", question, ignore)
    away = await engine.offload()
    # On a CPU nothing has moved, and it doesn't claim that anything has.
    assert away.host_bytes == 0
    assert away.left_bytes > 500 * MIB
    await engine.restore()
    after = await engine.run("after", "chat", question, ignore)
    assert after.fields["response"] == before.fields["response"]
    # A cache too small for the model's own 8,192 tokens shortens the context, and that is told.
    with pytest.raises(JobError, match=r"and the model's context of 2,\d\d\d leaves no room"):
        await engine.run("long", "chat", params(message="one two three " * 1_500), ignore)
    group = engine.group
    assert group is not None

    cores = [core_of(group)]

    def kill_core(report: StepReport) -> None:
        # Of steps that come faster than they are taken only the latest is told.
        if (report.step or 0) >= 3 and cores:
            os.kill(cores.pop(), signal.SIGKILL)

    with pytest.raises(EngineLostError) as caught:
        await engine.run("lost", "chat", params(message="Go on.", max_tokens=400), kill_core)

    assert (await engine.ended()).loss is Loss.CRASHED
    assert "vLLM's processes have ended" in caught.value.reason
    assert members(group) == []


def names_of(group: int | None) -> set[str]:
    """Return the files by which the processes of a group find one another."""
    assert group is not None
    found: set[str] = set()
    for process in members(group):
        maps = Path(f"/proc/{process}/maps").read_text()
        found |= {line.split(maxsplit=5)[5] for line in maps.splitlines() if "/dev/shm/" in line}
    sockets = re.search(
        rb"VLLM_RPC_BASE_PATH=([^\0]+)", Path(f"/proc/{core_of(group)}/environ").read_bytes()
    )
    assert sockets is not None
    names = [Path(os.fsdecode(sockets[1]))]
    names += [Path(name) for name in found if not name.endswith("(deleted)")]
    assert found
    return {str(name) for name in names if name.exists()}


def core_of(group: int) -> int:
    """Return the process of the group that is vLLM's engine core."""
    (core,) = [
        process
        for process in members(group)
        if b"EngineCore" in Path(f"/proc/{process}/cmdline").read_bytes()
    ]
    return core

"""Chat on vLLM in a real engine process: the answers of transformers, many at once."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from installed import needed

from daemon.engines.process import EngineProcess
from daemon.jobs import ErrorCode, JobError
from daemon.values import Loaded, RunCancelledError, StepReport
from handlers.params import resolve

needed("vllm", "`make test` does it")
pytestmark = [pytest.mark.models, pytest.mark.asyncio(loop_scope="module")]
ENDLESS = "Write a very long story about a river. Do not stop."
AT_ONCE = 8


def params(handler: str = "chat", **request: Any) -> dict[str, Any]:
    return resolve(handler, handler, "chat", "fast", {"seed": 1, **request}).params


def ignore(report: StepReport) -> None:
    pass


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def loaded(
    module_new_engine: Callable[..., EngineProcess], demo_models: dict[str, Path]
) -> tuple[EngineProcess, Loaded]:
    """One for all, since it takes half a minute; nothing of a run may stay in it."""
    engine = module_new_engine(
        "chat",
        str(demo_models["chat"]),
        "vllm",
        name="SmolLM2-135M-Instruct",
        max_concurrent=AT_ONCE,
        budget_bytes=4 * 2**30,
    )
    return engine, await engine.load()


@pytest.fixture(scope="module")
def engine(loaded: tuple[EngineProcess, Loaded]) -> EngineProcess:
    return loaded[0]


async def test_it_knows_the_capital_of_france(engine: EngineProcess) -> None:
    """Every field of the documented result, the proof among them, and the pieces of the answer."""
    steps: list[StepReport] = []
    request = params(
        message="What is the capital of France?", system_prompt="Be brief.", temperature=0
    )

    output = await engine.run("run", "chat", request, steps.append)

    fields = output.fields
    assert "Paris" in fields["response"]
    assert fields["messages_used"] == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "What is the capital of France?"},
    ]
    assert fields["no_override_detected"] is True
    assert fields["system_prompt_used"] == "Be brief."
    assert fields["model_info"]["model_name"] == "SmolLM2-135M-Instruct"
    assert fields["finish_reason"] == "stop"
    assert fields["usage"]["completion_tokens"] == steps[-1].step
    assert fields["response"] == "".join(report.text for report in steps)
    assert len(steps) > 3


async def test_it_takes_its_memory_at_the_load(loaded: tuple[EngineProcess, Loaded]) -> None:
    """Its processes together, and within what it was granted; a CPU gains nothing by sleep."""
    engine, told = loaded
    output = await engine.run("run", "chat", params(message="Hi", max_tokens=2), ignore)

    assert 1.5 * 2**30 < told.weights_bytes < 4 * 2**30
    assert output.peak_bytes is not None
    assert output.peak_bytes < 4 * 2**30
    assert not told.offloads


async def test_many_at_once_are_computed_together(engine: EngineProcess) -> None:
    """Each has begun before any has ended: none waits for a turn."""
    order: list[tuple[str, int]] = []
    runs = [
        engine.run(
            f"{number}",
            "chat",
            params(message=f"Tell me a story about {number} cats.", max_tokens=24),
            lambda report, number=number: order.append((f"{number}", report.step or 0)),
        )
        for number in range(AT_ONCE)
    ]

    outputs = await asyncio.gather(*runs)

    first = {run: at for at, (run, step) in reversed(list(enumerate(order))) if step == 1}
    last = {run: at for at, (run, _) in enumerate(order)}
    assert {output.fields["usage"]["completion_tokens"] for output in outputs} == {24}
    assert max(first.values()) < min(last.values())


async def test_a_seed_reproduces_the_answer(engine: EngineProcess) -> None:
    """Another one draws another answer."""
    request = params(message="Tell me a story.", temperature=1, max_tokens=16)
    other = params(message="Tell me a story.", temperature=1, max_tokens=16, seed=2)

    texts = [
        (await engine.run("run", "chat", each, ignore)).fields["response"]
        for each in (request, other, request)
    ]

    assert texts[0] == texts[2] != texts[1]


async def test_the_prompt_is_that_of_transformers(
    engine: EngineProcess,
    module_new_engine: Callable[..., EngineProcess],
    demo_models: dict[str, Path],
) -> None:
    """Token by token: counts of prompts and the likeliest answer are the same."""
    other = module_new_engine("chat", str(demo_models["chat"]), "transformers")
    await other.load()
    conversations = [
        [("user", "What is the capital of France?")],
        [("system", "Be brief."), ("user", "Name a colour."), ("assistant", "Red."), ("user", "?")],
    ]

    for conversation in conversations:
        messages = [{"role": role, "content": content} for role, content in conversation]
        request = params(messages=messages, temperature=0, max_tokens=8)
        ours, theirs = [
            (await each.run("run", "chat", request, ignore)).fields for each in (engine, other)
        ]
        assert ours["usage"] == theirs["usage"]
        assert ours["response"] == theirs["response"]
        assert ours["finish_reason"] == theirs["finish_reason"]


async def test_the_answer_ends_at_its_limit(engine: EngineProcess) -> None:
    """With the tokens that were asked for, or before a stop string of which nothing is said."""
    steps: list[StepReport] = []
    question = {"message": "What is the capital of France?", "temperature": 0}
    limited = await engine.run("limit", "chat", params(**question, max_tokens=3), ignore)
    stopped = await engine.run(
        "stop", "chat", params(**question, stop=["nothing", " France is"]), steps.append
    )

    assert limited.fields["finish_reason"] == "length"
    assert limited.fields["usage"]["completion_tokens"] == 3
    assert stopped.fields["finish_reason"] == "stop"
    assert stopped.fields["response"] == "The capital of" == "".join(each.text for each in steps)


async def test_a_cancelled_run_gives_its_place_back(engine: EngineProcess) -> None:
    """Long before its end; then as many as before are computed together."""
    steps: list[StepReport] = []

    def progress(report: StepReport) -> None:
        steps.append(report)
        if (report.step or 0) >= 2:
            engine.cancel("run")

    with pytest.raises(RunCancelledError):
        await engine.run("run", "chat", params(message=ENDLESS, max_tokens=4096), progress)
    assert (steps[-1].step or 0) < 1000
    await test_many_at_once_are_computed_together(engine)


async def test_too_long_a_conversation_is_refused_with_its_tokens(engine: EngineProcess) -> None:
    """In the sentence of the other runner; the engine lives on."""
    request = params(message="one two three four " * 2_500)

    with pytest.raises(JobError, match=r"tokens long, and the model's context of 8,192") as caught:
        await engine.run("run", "chat", request, ignore)

    assert caught.value.error_code is ErrorCode.INVALID_PROMPT
    assert await engine.run("next", "chat", params(message="Hi", max_tokens=2), ignore)

"""Chat on a real model in a real engine process: exact prompts, seeds, cancellation."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from daemon.engines.process import EngineProcess
from daemon.jobs import ErrorCode, JobError
from daemon.values import RunCancelledError, StepReport
from handlers.params import resolve

pytestmark = [pytest.mark.models, pytest.mark.asyncio(loop_scope="module")]
ENDLESS = "Write a very long story about a river. Do not stop."


def params(handler: str = "chat", **request: Any) -> dict[str, Any]:
    return resolve(handler, handler, "chat", "fast", {"seed": 1, **request}).params


def ignore(report: StepReport) -> None:
    pass


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def engine(
    module_new_engine: Callable[..., EngineProcess], demo_models: dict[str, Path]
) -> EngineProcess:
    """One for all: nothing of a run may stay in it, which the tests prove by the way."""
    engine = module_new_engine(
        "chat",
        str(demo_models["chat"]),
        "transformers",
        name="SmolLM2-135M-Instruct",
        max_concurrent=3,
    )
    await engine.load()
    return engine


async def test_it_knows_the_capital_of_france(engine: EngineProcess) -> None:
    """A real answer with every field of the documented result, and a step per token."""
    steps: list[StepReport] = []
    request = params(message="What is the capital of France?", temperature=0)

    output = await engine.run("run", "chat", request, steps.append)

    fields = output.fields
    assert "Paris" in fields["response"]
    assert fields["messages_used"] == [
        {"role": "user", "content": "What is the capital of France?"}
    ]
    assert fields["model_info"] == {
        "model_name": "SmolLM2-135M-Instruct",
        "model_loaded": True,
        "architecture": "pure_inference_engine",
    }
    assert fields["system_prompt_used"] == ""
    assert fields["finish_reason"] == "stop"
    assert fields["usage"]["completion_tokens"] == steps[-1].step
    assert {"generating_text"} == {report.current_step for report in steps}
    assert output.peak_bytes is not None
    assert output.peak_bytes > 100_000_000


async def test_a_prompt_holds_exactly_the_given_messages(engine: EngineProcess) -> None:
    """The token counts of a rendered prompt: the default system text of the template is missing.

    Each message costs its words and the same marks; one without a system message costs just one
    message's marks.
    """

    async def prompt_tokens(*messages: tuple[str, str]) -> int:
        given = [{"role": role, "content": content} for role, content in messages]
        output = await engine.run("run", "chat", params(messages=given, max_tokens=1), ignore)
        return int(output.fields["usage"]["prompt_tokens"])

    one = await prompt_tokens(("user", "Hi"))
    two = await prompt_tokens(("user", "Hi"), ("user", "Hi"))
    opened = await prompt_tokens(("system", "Hi"), ("user", "Hi"))

    assert two == opened
    # Six tokens a message (two marks, role, two line ends, "Hi"), four to open the answer.
    assert (one, two) == (10, 16)


async def test_a_system_prompt_is_used_as_it_is(engine: EngineProcess) -> None:
    """What the caller wrote comes back, unchanged, as what was used."""
    request = params(message="Hi", system_prompt="  Answer in one word. ", max_tokens=5)

    fields = (await engine.run("run", "chat", request, ignore)).fields

    assert fields["system_prompt_used"] == "  Answer in one word. "
    assert fields["messages_used"][0] == {"role": "system", "content": "  Answer in one word. "}
    assert fields["finish_reason"] == "length"


async def test_a_seed_reproduces_the_answer_also_among_others(engine: EngineProcess) -> None:
    """Runs at the same time draw from generators of their own."""
    request = params(message="Tell me a story.", temperature=1, max_tokens=24)
    other = params(message="Tell me a story.", temperature=1, max_tokens=24, seed=2)

    alone = await engine.run("alone", "chat", request, ignore)
    together = await asyncio.gather(
        engine.run("same", "chat", request, ignore),
        engine.run("other", "chat", other, ignore),
        engine.run("again", "chat", request, ignore),
    )

    texts = [output.fields["response"] for output in together]
    assert [alone.fields["response"]] * 2 == [texts[0], texts[2]]
    assert texts[1] != texts[0]


async def test_the_pieces_of_an_answer_are_its_text(engine: EngineProcess) -> None:
    """Each as soon as it is whole; characters of several tokens aren't cut."""
    steps: list[StepReport] = []
    request = params(message="Say only: \U0001f600 caf\u00e9", temperature=0, max_tokens=40)

    fields = (await engine.run("run", "chat", request, steps.append)).fields

    assert "".join(report.text for report in steps) == fields["response"]
    assert sum(bool(report.text) for report in steps) > 3
    assert not any("\ufffd" in report.text for report in steps)
    assert fields["no_override_detected"]


async def test_a_stop_string_ends_the_answer_before_it(engine: EngineProcess) -> None:
    """Nothing of it is said."""
    steps: list[StepReport] = []
    request = params(message="What is the capital of France?", temperature=0, stop=[" France is"])

    fields = (await engine.run("run", "chat", request, steps.append)).fields

    assert fields["response"] == "The capital of" == "".join(report.text for report in steps)
    assert fields["finish_reason"] == "stop"
    assert fields["parameters"]["stop"] == [" France is"]


async def test_enhance_and_generate_answer_in_their_own_fields(engine: EngineProcess) -> None:
    """As `worker-api.md` names them."""
    enhanced = await engine.run(
        "e", "enhance", params("enhance", prompt="a cat", max_tokens=4), ignore
    )
    generated = await engine.run(
        "g", "generate", params("generate", prompt="a cat", max_tokens=4), ignore
    )

    assert enhanced.fields["enhanced_prompt"]
    assert generated.fields["response"] == generated.fields["generated_text"]


async def test_cancel_stops_at_the_next_token(engine: EngineProcess) -> None:
    """Long before the thousands of tokens that were asked for."""
    reached = asyncio.Event()
    steps: list[StepReport] = []

    def progress(report: StepReport) -> None:
        steps.append(report)
        if (report.step or 0) >= 2:
            engine.cancel("run")
            reached.set()

    request = params(message=ENDLESS, max_tokens=4096)
    run = asyncio.create_task(engine.run("run", "chat", request, progress))
    await reached.wait()

    with pytest.raises(RunCancelledError):
        await run
    # Tokens may have been on their way, and the engine loses none of its places.
    assert (steps[-1].step or 0) < 1000
    assert await engine.run("next", "chat", params(message="Hi", max_tokens=2), ignore)


async def test_too_long_a_conversation_is_refused_with_its_tokens(engine: EngineProcess) -> None:
    """The model's context is the limit; the engine lives on."""
    request = params(message="one two three four " * 2_500)

    with pytest.raises(JobError, match=r"tokens long, and the model's context of 8,192") as caught:
        await engine.run("run", "chat", request, ignore)

    assert caught.value.error_code is ErrorCode.INVALID_PROMPT

"""Jobs whose prompt is rewritten: the picture is what was asked for, and it comes in any case."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import pytest
from execution_bench import PICTURE, Bench
from scripted import OpenAdmissions, ScriptedEngine

from daemon.enhancement import Preparing
from daemon.jobs import Completed, ErrorCode, Failed, JobError, Released
from daemon.values import Demand, EngineLostError, RunOutput, StepReport

ENHANCED = "image7b_high_enhanced"


class Models:
    """A chat model that answers or fails as a test says, and one of pictures."""

    def __init__(self, answer: str | Exception) -> None:
        self.answer = answer
        self.drawn: list[str] = []
        self.asked: list[Mapping[str, Any]] = []

    async def __call__(
        self, run_id: str, params: Mapping[str, Any], progress: Callable[[StepReport], None]
    ) -> RunOutput:
        if "messages" not in params:
            self.drawn.append(params["prompt"])
            return PICTURE
        self.asked.append(params)
        if isinstance(self.answer, Exception):
            raise self.answer
        progress(StepReport("generating_text", 1.0, text=self.answer))
        return RunOutput({"enhanced_prompt": self.answer}, [], None, {"text": 1.5})


async def carried(models: Models, *, chat: bool = True, **changes: Any) -> tuple[Bench, Any]:
    bench = Bench(models, chat=chat)
    return bench, await bench.carry(**{"job_type": ENHANCED, **changes})


async def test_the_picture_is_of_the_rewritten_prompt() -> None:
    """The chat model is asked first, each in its own admission; the result names both prompts."""
    models = Models("hello in the morning sun")

    bench, outcome = await carried(models)

    assert models.drawn == ["hello in the morning sun"]
    assert models.asked[0]["messages"][-1]["content"] == "hello"
    assert [(str(each.model), each.quality) for each in bench.admissions.requests] == [
        ("chat", "fast"),
        ("wan", "high"),
    ]
    assert isinstance(outcome, Completed)
    assert outcome.result["metadata"] == {
        "seed": 1,
        "original_prompt": "hello",
        "enhanced_prompt": "hello in the morning sun",
        "enhancement": {"used": True, "reason": None},
    }


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ("", "answered nothing"),
        ("I'm sorry, I can't.", "refused"),
        (JobError(ErrorCode.MODEL_LOAD_FAILED, "no such folder"), "no such folder"),
    ],
)
async def test_what_keeps_it_from_being_rewritten_costs_only_that(
    answer: str | Exception, reason: str
) -> None:
    """The picture is of the original prompt, and the result says why."""
    models = Models(answer)

    _, outcome = await carried(models)

    assert models.drawn == ["hello"]
    assert isinstance(outcome, Completed)
    assert outcome.result["metadata"]["enhancement"]["used"] is False
    assert reason in outcome.result["metadata"]["enhancement"]["reason"]


async def test_a_prompt_that_was_rewritten_before_stays() -> None:
    """Edge functions enhance, too."""
    models = Models("unheard")

    _, outcome = await carried(models, request={"prompt": "a", "enhanced_prompt": "hello"})

    assert (models.asked, models.drawn) == ([], ["hello"])
    assert "came with an enhanced prompt" in outcome.result["metadata"]["enhancement"]["reason"]


async def test_a_worker_without_a_chat_model_draws_the_original() -> None:
    """As one that serves videos alone."""
    models = Models("unheard")

    _, outcome = await carried(models, chat=False)

    assert (models.asked, models.drawn) == ([], ["hello"])
    assert "no chat model" in outcome.result["metadata"]["enhancement"]["reason"]


async def test_other_jobs_are_drawn_as_they_are() -> None:
    """Only the types that say so are rewritten."""
    models = Models("unheard")

    _, outcome = await carried(models, job_type="image_high")

    assert (models.asked, models.drawn) == ([], ["hello"])
    assert "enhancement" not in outcome.result["metadata"]


async def test_a_lost_engine_sends_the_job_back_once() -> None:
    """The second time it goes without the rewriting: the picture must not be lost for it."""
    models = Models(EngineLostError("signal 9"))

    _, first = await carried(models)
    _, second = await carried(models, engine_losses=1)

    assert isinstance(first, Released)
    assert first.engine_lost
    assert isinstance(second, Completed)
    assert models.drawn == ["hello"]


async def test_a_broken_picture_model_still_fails_the_job() -> None:
    """Only the rewriting is optional."""

    async def runs(run_id: str, params: Mapping[str, Any], progress: Any) -> RunOutput:
        if "messages" in params:
            return RunOutput({"enhanced_prompt": "better"}, [], None, {})
        raise JobError(ErrorCode.GENERATION_FAILED, "black picture")

    outcome = await Bench(runs).carry(job_type=ENHANCED)

    assert outcome == Failed("black picture", ErrorCode.GENERATION_FAILED)


async def test_its_text_is_not_the_jobs_answer() -> None:
    """Onlookers see that the prompt is rewritten, as the first small part of the job."""
    bench = Bench(Models("better"))
    seen: list[StepReport] = []
    bench.stepped = lambda run, report: seen.append(report)  # type: ignore[method-assign]

    await bench.carry(job_type=ENHANCED)

    [step] = [report for report in seen if report.current_step == "enhancing_prompt"]
    assert (step.text, step.fraction) == ("", 0.05)


async def test_a_job_that_is_being_rewritten_fills_a_slot_of_its_own_model() -> None:
    """Or jobs would be claimed for that slot as long as the rewriting takes."""
    admissions = OpenAdmissions(ScriptedEngine(Models("")))
    wan = Demand(("wan_image_high", ENHANCED), 2)
    admissions.demand = lambda: [Demand(("chat",), 1), wan]  # type: ignore[method-assign]
    preparing = Preparing(admissions)

    with preparing.hold(ENHANCED):
        assert preparing.demand() == [Demand(("chat",), 1), replace(wan, count=1)]
        with preparing.hold(ENHANCED), preparing.hold(ENHANCED):
            assert preparing.demand() == [Demand(("chat",), 1)]

    assert preparing.demand() == [Demand(("chat",), 1), wan]

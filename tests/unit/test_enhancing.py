"""What is taken of a chat model's rewriting, and what isn't."""

import pytest

from handlers.enhancing import Enhanced, judged, question


@pytest.mark.parametrize(
    ("answer", "prompt"),
    [
        ("A lake at dawn, mist, oil painting", "A lake at dawn, mist, oil painting"),
        ("  a lake\n", "a lake"),
        ('"a lake at dawn"', "a lake at dawn"),
        ("\u201ca lake at dawn\u201d", "a lake at dawn"),
        ('a "lake"', 'a "lake"'),
        ("Here is the rewritten prompt: a lake", "a lake"),
        ("Here\u2019s an improved version:\n\na lake", "a lake"),
        ("Enhanced prompt: a lake", "a lake"),
        ("prompt: a lake: deep", "a lake: deep"),
        ("Sorrow over a lake", "Sorrow over a lake"),
        ("I cannon fire over a lake", "I cannon fire over a lake"),
    ],
)
def test_a_rewritten_prompt_is_taken_without_its_wrapping(answer: str, prompt: str) -> None:
    """Models put labels before it and quotation marks around it."""
    assert judged(answer, "lake") == Enhanced(prompt)


@pytest.mark.parametrize("answer", ["", " \n", '""', "Prompt:", "Here is the prompt: ''"])
def test_an_empty_answer_leaves_the_original(answer: str) -> None:
    """Also one that is empty but for its wrapping."""
    assert judged(answer, "lake") == Enhanced("lake", "the chat model answered nothing")


@pytest.mark.parametrize(
    "answer",
    [
        "I'm sorry, but I can't help with that.",
        "I\u2019m really sorry, I can\u2019t.",
        "Sorry, that isn't possible.",
        "I cannot rewrite this prompt.",
        "I can't create that.",
        "As an AI language model, I must not",
        "as a language model I",
        "Unfortunately, I",
        "I apologize, but",
        "I am unable to",
        "I will not write this.",
        '"I won\'t do that."',
    ],
)
def test_a_refusal_leaves_the_original(answer: str) -> None:
    """A picture of a refusal is what nobody asked for."""
    assert judged(answer, "lake").prompt == "lake"
    assert "refused" in str(judged(answer, "lake").reason)


def test_the_notes_say_what_was_done() -> None:
    """The result names both prompts, or why there is only one."""
    assert Enhanced("a deep lake").notes("lake") == {
        "original_prompt": "lake",
        "enhanced_prompt": "a deep lake",
        "enhancement": {"used": True, "reason": None},
    }
    assert Enhanced("lake", "why").notes("lake") == {
        "enhancement": {"used": False, "reason": "why"}
    }


def test_the_question_is_the_instruction_and_the_prompt() -> None:
    """With the job's seed, so that the same job is rewritten alike."""
    asked = question("lake", 5, instruction="Rewrite.", max_tokens=9, temperature=0)

    assert [(each["role"], each["content"]) for each in asked["messages"]] == [
        ("system", "Rewrite."),
        ("user", "lake"),
    ]
    assert (asked["seed"], asked["max_tokens"], asked["temperature"]) == (5, 9, 0)

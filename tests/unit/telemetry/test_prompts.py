"""What users wrote is in no line of the log, whatever quotes it."""

import json
from typing import Any

import pytest

from daemon.telemetry.prompts import Prompts, Shown

PROMPT = 'Ein See im Nebel, "leise" und\nüberall Möwen darüber, im Stil von Turner'


def hidden(line: str, *requests: Any, shown: Shown = "false", key: str | None = None) -> str:
    prompts = Prompts(shown)
    for number, request in enumerate(requests):
        prompts.hold(f"c-{number}", request)
    return prompts.hide(line, key)


@pytest.mark.parametrize(
    "request_",
    [
        {"prompt": PROMPT},
        {"negative_prompt": PROMPT},
        {"messages": [{"role": "system", "content": PROMPT}]},
        {"conversation_history": [{"sender": "user", "content": PROMPT}]},
        {"anything": {"else": ["", PROMPT]}},
        PROMPT,
    ],
    ids=["prompt", "negative", "messages", "history", "unknown field", "no object"],
)
@pytest.mark.parametrize(
    "spelt",
    [
        str,
        repr,
        json.dumps,
        lambda text: json.dumps(text, ensure_ascii=False),
        lambda text: text[10:40],
        lambda text: f"{text[:17]}…",
    ],
    ids=["plain", "repr", "ascii", "json", "middle", "cut off"],
)
def test_a_quoted_prompt_is_hidden(request_: Any, spelt: Any) -> None:
    """However it is spelt, whole or in part, and wherever the request has it."""
    line = hidden(f"can't read <{spelt(PROMPT)}> here", request_)

    assert line.startswith("can't read <")
    assert line.endswith("> here")
    assert not any(word in line for word in ("See", "Nebel", "leise", "wen dar"))


def test_what_is_no_prompt_stays() -> None:
    """The rest of a line is what operators need; ids of a request are no prompts."""
    id_ = "7c9e6679-7425-40de-944b-e07fc1f90ae7"
    line = f"CUDA error in job {id_}: illegal memory access"

    assert hidden(line, {"prompt": PROMPT, "project_id": id_}) == line


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [
        ("cat", "no cat, nor concatenation"),
        ("cats", "no cat, nor concatenation"),
        ("no cat", "[prompt], nor concatenation"),
        ("conc", "no cat, nor concatenation"),
    ],
    ids=["too short", "another word", "whole", "part of a word"],
)
def test_a_short_prompt_is_hidden_as_a_word(prompt: str, expected: str) -> None:
    """Within words it would make holes in every line."""
    assert hidden("no cat, nor concatenation", {"prompt": prompt}) == expected


@pytest.mark.parametrize(
    ("shown", "expected"),
    [
        ("false", "got [prompt]"),
        ("length", f"got [prompt of {len(PROMPT)} characters]"),
        ("full", f"got {PROMPT}"),
    ],
)
def test_what_is_shown_is_a_choice(shown: Shown, expected: str) -> None:
    """Nothing, the length of the whole, or all of it."""
    assert hidden(f"got {PROMPT}", {"prompt": PROMPT}, shown=shown) == expected


def test_late_lines_are_watched_too() -> None:
    """An engine's last words come when its job has ended; after 64 others, no more."""
    prompts = Prompts()
    prompts.hold("c-1", {"prompt": PROMPT})
    prompts.ended("c-1")
    prompts.ended("unknown")

    assert prompts.hide(PROMPT) == "[prompt]"
    for number in range(64):
        prompts.hold(f"d-{number}", {})
        prompts.ended(f"d-{number}")
    assert prompts.hide(PROMPT) == PROMPT


def test_a_rewritten_prompt_is_a_prompt() -> None:
    """Also when its job's texts have been looked at before."""
    prompts = Prompts()
    prompts.hold("c-1", {"prompt": "a lake"})
    assert prompts.hide("a lake at dawn in mist") == "[prompt] at dawn in mist"

    prompts.also("c-1", "a lake at dawn in mist")

    assert prompts.hide("<a lake at dawn in mist>") == "<[prompt]>"


def test_a_request_that_is_no_job_yet_is_watched_in_its_own_lines() -> None:
    """A body may be refused, or be too much for the code that checks it."""
    prompts = Prompts()
    prompts.here({"message": PROMPT})

    assert prompts.hide(f"bad body: {PROMPT}") == "bad body: [prompt]"
    prompts.here(None)
    assert prompts.hide(f"bad body: {PROMPT}") != "bad body: [prompt]"


def test_a_very_long_request_is_searched_in_its_own_lines() -> None:
    """And in those that say of no job; another job's line needn't wait for that."""
    long = {"prompt": "".join(f"{number:05d} sheep, " for number in range(10_000))}
    line = "at 04711 sheep, 04712 sheep, it broke"

    assert hidden(line, long, key="c-0") == "at[prompt]it broke"
    assert hidden(line, long) == "at[prompt]it broke"
    assert hidden(line, long, {}, key="c-1") == line


@pytest.mark.parametrize(
    ("line", "prompt"),
    [("x" * 8000, "x" * 60_000), ("12345678X" * 900, "12345678Y" * 7000)],
    ids=["one letter", "never long enough"],
)
def test_hostile_texts_are_hidden_at_once(line: str, prompt: str) -> None:
    """Texts that agree everywhere are no way to stop the worker."""
    assert "[" in hidden(line, {"prompt": prompt})
